"""Interning: equal values are stored once, and identified by a number."""

import pickle
from typing import Any


class InternTable:
    """Interned values and their numbers; unhashable values are compared by their pickles."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number_of(self, value: Any) -> int:
        try:
            number = self._numbers.setdefault(value, len(self.values))
        except TypeError:
            number = self._numbers.setdefault(pickle.dumps(value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

"""Values and their numbers: what is equal is kept once, and known by a number from then on."""

import pickle
from typing import Any


class Numbered:
    """Values and their numbers; what cannot be hashed goes by its pickle."""

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

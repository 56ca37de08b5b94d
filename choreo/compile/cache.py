"""Cache of compiled sagas, bounded in size.

Laws: the bound is in bytes, including those of the names. The oldest entry is evicted first. An entry larger than the
bound is not cached.
"""

from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Any, Protocol, TypeVar

from choreo.compile.table import Style, Table
from choreo.saga.definition import Saga
from choreo.saga.plan import Itinerary
from choreo.saga.raised import shown
from choreo.saga.service import ServiceOf
from choreo.saga.spelling import suggestion

WIRED_BYTES_MAX = 128 * 1024 * 1024
"""Upper bound of all cached wirings together, in bytes as measured by `size_of`."""

ROW_BYTES, WIRING_BYTES = 650, 8_000
"""Estimated bytes of a subscription with its share of the rest except names, and of a wiring without subscriptions."""

Key = tuple[str, Itinerary | str]
"""Cache key: the name of a style, and the step names, or the name of a saga that the owner knows."""


class Compiled(Protocol):
    """An object built from a style's table."""

    @property
    def table(self) -> Table: ...


W = TypeVar("W", bound=Compiled)


class Wirings(dict[Key, W]):
    """Cache of wirings; a lookup of a missing key creates the entry.

    `row_bytes` is the size of a subscription without names. `name_copies` is the number of copies of its topic's name
    that a wiring holds for each subscription.
    """

    def __init__(self, make: Callable[[str, Any], W], row_bytes: int = ROW_BYTES, name_copies: int = 1) -> None:
        super().__init__()
        self._make = make
        self._row_bytes = row_bytes
        self._name_copies = name_copies
        self._sizes: dict[Key, int] = {}
        self._size = 0

    def of(self, style: str, steps: Itinerary | str) -> W:
        """Return the wiring of a saga.

        Raises `TypeError` for steps that are not an itinerary, `ValueError` for an unknown style, and `PlanTooLarge`.
        """
        try:
            return self[style, steps]
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            raise TypeError(f"steps: expected a tuple of step names and groups, got {shown(steps)}") from None

    def __missing__(self, key: Key) -> W:
        wiring = self._make(*key)
        size = self.size_of(key[1], wiring.table)
        if size <= WIRED_BYTES_MAX:
            self._size += size
            while self._size > WIRED_BYTES_MAX:
                oldest = next(iter(self))
                del self[oldest]
                self._size -= self._sizes.pop(oldest)
            self[key], self._sizes[key] = wiring, size
        return wiring

    def size_of(self, steps: Itinerary | str, table: Table) -> int:
        """Estimate the bytes of a wiring with that table, and of its key; the estimate errs on the high side."""
        rows = table.subscriptions
        names = sum(getsizeof(row.topic.name) for row in rows)
        groups = sum(getsizeof(group) for group in steps if group and isinstance(group, tuple))
        key = getsizeof(steps) + groups + sum(map(getsizeof, table.plan.steps))
        return WIRING_BYTES + key + len(rows) * self._row_bytes + names * self._name_copies


def saga_of(steps: Itinerary | str, sagas: Mapping[str, Saga]) -> Saga:
    """Return the saga of that name, or of these step names. Raises `TypeError` for anything else."""
    if isinstance(steps, str):
        if steps not in sagas:
            raise TypeError(f"steps: expected a tuple of step names and groups, got {shown(steps)}")
        return sagas[steps]
    return Saga.of(steps)


def compiled(styles: Mapping[str, Style], style: str, saga: Saga, service_of: ServiceOf) -> Table:
    """Compile a saga in the style of that name. Raises `ValueError` for an unknown style, and `PlanTooLarge`."""
    if style not in styles:
        near = suggestion(style, styles) if isinstance(style, str) else ""
        raise ValueError(f"style: expected {' or '.join(styles)}, got {shown(style)}{near}")
    return styles[style](saga, service_of)

"""What was compiled for an itinerary is kept for the next run of it, within a bound.

Laws: what goes first is what came first; what is larger than the bound is not kept at all.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from choreo.domain.plan import Itinerary, plan
from choreo.domain.service import ServiceOf
from choreo.styles.table import Style, Table

WIRED_SUBSCRIPTIONS_MAX = 200_000
"""Wirings are remembered up to so many subscriptions in all, which is a good 100 MB; with more, the oldest go."""

Key = tuple[str, Itinerary]
"""The name of a style, and the steps."""


class Compiled(Protocol):
    """Anything that was made of a style's table."""

    @property
    def table(self) -> Table: ...


W = TypeVar("W", bound=Compiled)


class Wirings(dict[Key, W]):
    """Looking up what is not there makes it."""

    def __init__(self, make: Callable[[str, Itinerary], W]) -> None:
        super().__init__()
        self._make = make
        self._size = 0

    def of(self, style: str, steps: Itinerary) -> W:
        """Raises `TypeError` for steps that are no itinerary, `ValueError` for an unknown style, and `PlanTooLarge`."""
        try:
            return self[style, steps]
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            raise TypeError(f"steps: expected a tuple of step names and groups, got {steps!r}") from None

    def __missing__(self, key: Key) -> W:
        wiring = self._make(*key)
        size = len(wiring.table.subscriptions)
        if size <= WIRED_SUBSCRIPTIONS_MAX:
            self._size += size
            while self._size > WIRED_SUBSCRIPTIONS_MAX:
                self._size -= len(self.pop(next(iter(self))).table.subscriptions)
            self[key] = wiring
        return wiring


def compiled(styles: Mapping[str, Style], style: str, steps: Itinerary, service_of: ServiceOf) -> Table:
    """The table of an itinerary in the style of that name. Raises `ValueError` where there is none, `PlanTooLarge`."""
    if style not in styles:
        raise ValueError(f"style: expected {' or '.join(styles)}, got {style!r}")
    return styles[style](plan(steps), service_of)

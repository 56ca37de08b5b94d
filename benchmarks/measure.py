"""Measuring: two things in turn, and what is said about them.

Laws: what is compared is measured in pairs, A B A B, and its ratio is taken pair by pair, so that a noisy neighbour
slows both halves of a pair and not one side of the comparison. A verdict goes by the median.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

Tell = Callable[[str], None]
"""Told how far a benchmark has come."""


class Failed(Exception):
    """A benchmark could not measure what it was meant to measure."""


@dataclass(frozen=True)
class Target:
    """A limit that the median is to keep to: from below (`at_least`) or from above."""

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    def missed_by(self, value: float) -> float:
        """How far the value is beyond the limit; 0 where the target is met."""
        return max(0.0, self.limit - value if self.at_least else value - self.limit)


@dataclass(frozen=True)
class Figure:
    """One number that a benchmark came to, with every sample of it."""

    name: str
    unit: str
    samples: list[float] = field(repr=False)
    target: Target | None = None

    @property
    def median(self) -> float:
        return median(self.samples)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the file of results."""
        target, missed_by = self.target, self.target and self.target.missed_by(self.median)
        return {
            "name": self.name,
            "unit": self.unit,
            "min": min(self.samples),
            "median": self.median,
            "max": max(self.samples),
            "target": target and str(target),
            "met": None if missed_by is None else not missed_by,
            "missed_by": missed_by,
            "samples": self.samples,
        }


@dataclass(frozen=True)
class Pairs:
    """What two things measured, A B A B."""

    a: list[float]
    b: list[float]

    def ratios(self) -> list[float]:
        """A over B, pair by pair."""
        return [a / b for a, b in zip(self.a, self.b, strict=True)]


def in_pairs(
    count: int, a: Callable[[], float], b: Callable[[], float], tell: Tell, does_warm_up: bool = True
) -> Pairs:
    """Measure A and B in turn, `count` times each, after one time each that does not count."""
    if does_warm_up:
        a(), b()
    pairs = Pairs([], [])
    for number in range(1, count + 1):
        tell(f"pair {number} of {count}")
        pairs.a.append(a())
        pairs.b.append(b())
    return pairs


def seconds(action: Callable[[], object]) -> float:
    """How long it takes, by the wall clock."""
    start = perf_counter()
    action()
    return perf_counter() - start


def rates(amount: int, times: list[float]) -> list[float]:
    """How many a second."""
    return [amount / time for time in times]


@contextmanager
def settled() -> Iterator[None]:
    """Garbage is gone, and what is there stays out of the collections to come, as in the node once it has started."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

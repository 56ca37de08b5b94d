"""Delta debugging: a minimal set of faults that still causes the failure.

Laws: pure; knows no saga. Source: A. Zeller, R. Hildebrandt, *Simplifying and isolating failure-inducing input*, IEEE
Transactions on Software Engineering 28(2), 2002 (delta debugging: ddmin).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def ddmin(parts: Sequence[Part], is_enough: Callable[[Sequence[Part]], bool]) -> list[Part]:
    """Return a 1-minimal sufficient subsequence of the parts: without any single one of them it is not sufficient.

    `is_enough` must hold for all the parts together.
    """
    if is_enough([]):
        return []
    parts, pieces = list(parts), 2
    while len(parts) > 1:
        size = -(-len(parts) // pieces)
        starts = range(0, len(parts), size)
        smaller = next((s for start in starts if is_enough(s := parts[start : start + size])), None)
        if smaller is not None:
            parts, pieces = smaller, 2
            continue
        smaller = next((s for start in starts if is_enough(s := [*parts[:start], *parts[start + size :]])), None)
        if smaller is not None:
            parts, pieces = smaller, max(pieces - 1, 2)
        elif size == 1:
            break
        else:
            pieces = min(len(parts), pieces * 2)
    return parts

"""Actions of an exploration on a delivery, encoded as numbers, and described in words.

Laws: pure; the encoding is one-to-one.
"""

from typing import NamedTuple

from choreo.lab.model.world import Delivery
from choreo.saga.definition import CrashPoint, FaultKind


class Action(NamedTuple):
    """One transition, decoded: the delivery and its fault. `fault` is None for a plain arrival."""

    number: int
    alternative: int
    fault: FaultKind | None
    point: CrashPoint | None


HAPPENINGS: tuple[tuple[FaultKind | None, CrashPoint | None], ...] = (
    (None, None),
    (FaultKind.DROP, None),
    (FaultKind.DUPLICATE, None),
    (FaultKind.POISON, None),
    (FaultKind.PARTITION, None),
    *((FaultKind.CRASH, point) for point in CrashPoint),
)
NAMES = [str(kind) for kind, _ in HAPPENINGS]
DUPLICATED, POISONED = 2, 3
LOST = {FaultKind.DROP: 1, FaultKind.PARTITION: 4}
CRASHED = {point: 5 + index for index, point in enumerate(CrashPoint)}


def encoded(number: int, alternative: int = 0, happening: int = 0) -> int:
    """Encode an action as a number, as stored with each state."""
    return number << 16 | alternative << 8 | happening


NEXT_ALTERNATIVE = encoded(0, 1)
"""Difference between the numbers of consecutive alternatives of an action."""


def decoded(act: int) -> Action:
    return Action(act >> 16, act >> 8 & 0xFF, *HAPPENINGS[act & 0xFF])


def in_words(kind: FaultKind, delivery: Delivery, point: CrashPoint | None = None) -> str:
    """Describe a fault for people."""
    what, who = delivery.event.id, delivery.route.subscriber
    match kind:
        case FaultKind.CRASH:
            return f"{who} crashes {POINTS[point or CrashPoint.BEFORE]} while it handles {what}"
        case FaultKind.POISON:
            return f"{what} cannot be read by {who}"
        case FaultKind.PARTITION:
            return f"nothing passes between {delivery.event.topic.source} and {who}: {what} is lost"
        case _:
            return f"{kind} {what} on its way to {who}"


POINTS = {
    CrashPoint.BEFORE: "before the local transaction",
    CrashPoint.UNPUBLISHED: "between commit and publish",
    CrashPoint.UNCOMMITTED: "between publish and commit",
    CrashPoint.AFTER: "after commit and publish",
}

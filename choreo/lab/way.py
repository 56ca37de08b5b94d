"""Way: the deliveries and faults of one history, in order, by the ids of events and the names of subscribers.

Laws: plain values without internal numbers, so that a way can be kept in a file and followed by a later version.
"""

from collections.abc import Sequence

from msgspec import Struct

from choreo.lab.model.actions import in_words
from choreo.lab.model.world import Delivery
from choreo.saga.definition import CrashPoint, FaultKind


class Move(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One delivery of an event to a subscriber; with a fault, that fault instead. `words` describe the fault.

    `attempt`: the number of attempts to read the event that have failed; 0: it is readable.
    """

    event: str
    subscriber: str
    fault: FaultKind | None = None
    point: CrashPoint | None = None
    attempt: int = 0
    words: str | None = None

    def __str__(self) -> str:
        return f"{self.event} on its way to {self.subscriber}"


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a free choice: whether a call of a step with `fails = "may"` fails."""

    call: str
    fails: bool


class Way(Struct, frozen=True):
    """Moves from the start, and the answers to the free choices, in order."""

    moves: tuple[Move, ...]
    choices: tuple[Choice, ...] = ()


def move_of(delivery: Delivery, fault: FaultKind | None = None, point: CrashPoint | None = None) -> Move:
    """Return the move of a delivery."""
    words = None if fault is None else in_words(fault, delivery, point)
    return Move(delivery.event.id, delivery.route.subscriber, fault, point, delivery.poison, words)


def choices_of(chosen: Sequence[tuple[str, bool]]) -> tuple[Choice, ...]:
    return tuple(Choice(call.removesuffix(":"), fails) for call, fails in chosen)

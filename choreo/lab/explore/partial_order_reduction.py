"""Partial-order reduction of the explorer: deliveries that can never have an effect any more.

Laws: read from the table, and from `next_phases`, which a test compares with real runs. A delivery is dead if its
subscriber has no reaction to it, neither in its present phase nor in any later phase. A dead delivery commutes with
every transition, so one order represents all; and its possible faults are those of a delivery without effect.
"""

from collections.abc import Mapping

from choreo.protocol.reaction import (
    ABORTED,
    CANCELLED,
    COMPENSATED,
    FAILED,
    IN_DOUBT,
    PHASES,
    RESUMED,
    RUNNING,
    STUCK,
    SUCCEEDED,
    TIMED_OUT,
    UNDOING,
    UNDOING_LATE,
    WAITING,
    Held,
    Moves,
    Phase,
)
from choreo.saga.guarantees import Guarantees

BEGUN: tuple[Phase, ...] = tuple(phase for phase in PHASES if phase not in (WAITING, RESUMED))
"""Every phase of a local transaction that has begun. An operator's resumption is not part of the lab."""

NEXT: dict[Phase, tuple[Phase, ...]] = {
    WAITING: PHASES,
    RUNNING: BEGUN,
    TIMED_OUT: (FAILED, CANCELLED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE, IN_DOUBT),
    ABORTED: (TIMED_OUT, FAILED, CANCELLED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE, IN_DOUBT),
    SUCCEEDED: (SUCCEEDED, RUNNING, FAILED, TIMED_OUT, ABORTED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE),
    UNDOING: (COMPENSATED, STUCK),
    UNDOING_LATE: (COMPENSATED, STUCK),
    IN_DOUBT: (FAILED, STUCK),
    FAILED: (CANCELLED, COMPENSATED, STUCK),
    CANCELLED: (COMPENSATED, STUCK),
    COMPENSATED: (STUCK, UNDOING),
    STUCK: (),
    RESUMED: (),
}
"""Next phases of a subscriber, including the collectors' phases. An over-approximation is harmless."""

NEXT_WITHOUT_INBOX = {phase: BEGUN if phase not in (WAITING, CANCELLED) else after for phase, after in NEXT.items()}
"""The same without an inbox: handled events may be handled again."""


def next_phases(guarantees: Guarantees) -> Mapping[Phase, tuple[Phase, ...]]:
    """Return the next phases of each phase under these guarantees."""
    return NEXT if guarantees.inbox else NEXT_WITHOUT_INBOX


def _closed(after: Mapping[Phase, tuple[Phase, ...]]) -> tuple[int, ...]:
    """Return the reflexive transitive closure, as bits, one for each phase (Warshall's algorithm)."""
    later = [sum(1 << phase for phase in {start, *after[start]}) for start in PHASES]
    for between in PHASES:
        later = [mask | later[between] if mask >> between & 1 else mask for mask in later]
    return tuple(later)


LATER, LATER_WITHOUT_INBOX = _closed(NEXT), _closed(NEXT_WITHOUT_INBOX)


def later_phases(guarantees: Guarantees) -> tuple[int, ...]:
    """Return, for each phase, the bits of that phase and of all later phases."""
    return LATER if guarantees.inbox else LATER_WITHOUT_INBOX


def living_phases(rows: list[Moves], guarantees: Guarantees) -> tuple[bool, ...]:
    """Return, for each phase, whether one of the rows may still react, then or later."""
    reacting = 0
    for moves in rows:
        for phase, reaction in enumerate(moves.reactions if isinstance(moves, Held) else moves):
            if reaction is not None:
                reacting |= 1 << phase
    return tuple([mask & reacting != 0 for mask in later_phases(guarantees)])

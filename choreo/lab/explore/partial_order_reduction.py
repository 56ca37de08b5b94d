"""Deliveries that can never have an effect any more: the partial-order reduction of the explorer.

Laws: read from the table, and from `next_phases`, which a test holds against what happens. A delivery is dead where its
hearer has no reaction to it, neither in the phase that it is in nor in any phase that it may still come to. A dead
delivery commutes with everything, so one order of it stands for all; and the faults that might befall it are those of a
delivery that does nothing.
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
"""Where a hearer may come to from a phase, the collectors' phases among them. More than is possible does no harm."""

NEXT_WITHOUT_INBOX = {phase: BEGUN if phase not in (WAITING, CANCELLED) else after for phase, after in NEXT.items()}
"""The same where whatever was handled may be handled again."""


def next_phases(guarantees: Guarantees) -> Mapping[Phase, tuple[Phase, ...]]:
    """Where a hearer may come to from each phase under these guarantees."""
    return NEXT if guarantees.inbox else NEXT_WITHOUT_INBOX


def _closed(after: Mapping[Phase, tuple[Phase, ...]]) -> tuple[int, ...]:
    """For each phase a bit for itself and for every phase that may be come to from it; Warshall's algorithm."""
    later = [sum(1 << phase for phase in {start, *after[start]}) for start in PHASES]
    for between in PHASES:
        later = [mask | later[between] if mask >> between & 1 else mask for mask in later]
    return tuple(later)


LATER, LATER_WITHOUT_INBOX = _closed(NEXT), _closed(NEXT_WITHOUT_INBOX)


def later_phases(guarantees: Guarantees) -> tuple[int, ...]:
    """For each phase, the bits of the phases in which a hearer may be then or at any time later."""
    return LATER if guarantees.inbox else LATER_WITHOUT_INBOX


def living_phases(rows: list[Moves], guarantees: Guarantees) -> tuple[bool, ...]:
    """For each phase, whether one of the rows may still react to something, then or later."""
    reacting = 0
    for moves in rows:
        for phase, reaction in enumerate(moves.reactions if isinstance(moves, Held) else moves):
            if reaction is not None:
                reacting |= 1 << phase
    return tuple([mask & reacting != 0 for mask in later_phases(guarantees)])

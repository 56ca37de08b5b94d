"""Deliveries that can never have an effect any more: the partial-order reduction of the explorer.

Laws: read from the table, and from `NEXT`, which a test holds against what happens. A delivery is dead where its hearer
has no reaction to it, neither in the phase that it is in nor in any phase that it may still come to. A dead delivery
commutes with everything, so one order of it stands for all; and the faults that might befall it are those of a delivery
that does nothing.
"""

from choreo.domain.reaction import (
    ABORTED,
    CANCELLED,
    COMPENSATED,
    FAILED,
    PHASES,
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

NEXT: dict[Phase, tuple[Phase, ...]] = {
    WAITING: PHASES,
    RUNNING: tuple(phase for phase in PHASES if phase is not WAITING),
    TIMED_OUT: (FAILED, CANCELLED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE),
    ABORTED: (FAILED, CANCELLED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE),
    SUCCEEDED: (SUCCEEDED, RUNNING, FAILED, TIMED_OUT, ABORTED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE),
    UNDOING: (COMPENSATED, STUCK),
    UNDOING_LATE: (COMPENSATED, STUCK),
    FAILED: (CANCELLED, COMPENSATED, STUCK),
    CANCELLED: (COMPENSATED, STUCK),
    COMPENSATED: (STUCK, UNDOING),
    STUCK: (),
}
"""Where a hearer may come to from a phase, the collectors' phases among them. More than is possible does no harm."""


def living_phases(rows: list[Moves]) -> tuple[bool, ...]:
    """For each phase, whether one of the rows may still react to something, then or later."""
    behind = [moves.reactions if isinstance(moves, Held) else moves for moves in rows]
    reacts = [any(moves[phase] is not None for moves in behind) for phase in PHASES]
    return tuple(any(reacts[later] for later in _reachable(phase)) for phase in PHASES)


def _reachable(phase: Phase) -> dict[Phase, None]:
    reached = {phase: None}
    queue = [phase]
    for each in queue:
        new = [later for later in NEXT[each] if later not in reached]
        reached.update(dict.fromkeys(new))
        queue += new
    return reached

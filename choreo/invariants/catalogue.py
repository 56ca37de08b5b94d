"""Catalogue of the invariants: the definition of a correct execution."""

from choreo.invariants.invariant import Invariant
from choreo.invariants.liveness import (
    every_run_ends,
    everyone_is_answered,
    everything_is_undone,
    forward_recovery,
    locks_are_released,
    no_early_surrender,
)
from choreo.invariants.safety import (
    all_or_nothing,
    at_most_once,
    bounded,
    conservation,
    half_done,
    honest_reply,
    isolation,
    no_return,
    no_undo_without_cause,
    no_zombie,
    nothing_from_nowhere,
    one_outcome,
    reverse_order,
)
from choreo.trace.vocabulary import (
    CALLS,
    COMPENSATE,
    DELIVER,
    EXECUTE,
    LOCK,
    PUBLISH,
    READ,
    REPLY,
    RESUME,
    TIMER,
    WRITE,
)

INVARIANTS = (
    Invariant("S1", "all or nothing", (PUBLISH,), all_or_nothing, half_done),
    Invariant("S2", "at most once", CALLS, at_most_once),
    Invariant("S3", "no undo without a do and a cause", (COMPENSATE,), no_undo_without_cause),
    Invariant("S4", "no zombie", (EXECUTE,), no_zombie),
    Invariant("S5", "reverse order", (COMPENSATE,), reverse_order),
    Invariant("S6", "no return past the pivot", (COMPENSATE,), no_return),
    Invariant("S7", "one outcome", (EXECUTE, PUBLISH, REPLY, RESUME), one_outcome),
    Invariant("S8", "honest reply", (*CALLS, PUBLISH, REPLY), honest_reply),
    Invariant("S9", "nothing from nowhere", (PUBLISH, DELIVER, TIMER), nothing_from_nowhere),
    Invariant("S10", "conservation", (WRITE,), conservation),
    Invariant("S11", "isolation", (LOCK, READ, WRITE), isolation),
    Invariant("S12", "bounded", (PUBLISH,), bounded),
    Invariant("L5", "locks are released", at_rest=locks_are_released),
    Invariant("L2", "everything is undone", at_rest=everything_is_undone),
    Invariant("L3", "forward recovery", (PUBLISH,), no_early_surrender, forward_recovery),
    Invariant("L4", "everyone is answered", at_rest=everyone_is_answered),
    Invariant("L1", "every run ends", at_rest=every_run_ends),
)
"""The more specific liveness properties come first: the first violation reported is the most informative."""

"""How a run ended, as the coordinator or the orchestrator observed it."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """The three ways in which a run can end."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


class Outcome(Struct, frozen=True, gc=False):
    """The end of a run.

    `completed_steps` counts the steps of a completed run, and is 0 otherwise. `compensated_steps` lists what was in
    fact compensated, in the order in which it happened. `stuck_step` is the first step whose compensation kept
    failing; that step and whatever came before it are still in force. `reason` is that of the failure, or, where the
    run is stuck, of the compensation. Where a service raised something other than `Refused`, `failed_step` is its step
    and `defect` the exception in one line; where several did, those of the stuck step. `in_doubt_steps` are the steps
    whose local transaction raised such a thing: where the run is compensated, those that were undone for it, and where
    it is stuck, those that were not, and may be in force.
    """

    state: State
    completed_steps: int = 0
    compensated_steps: tuple[str, ...] = ()
    stuck_step: str | None = None
    reason: str | None = None
    defect: str | None = None
    failed_step: str | None = None
    in_doubt_steps: tuple[str, ...] = ()

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
    run is stuck, of the compensation. `defect` is `<step>: <exception>`, where a service raised something other than
    `Refused`.
    """

    state: State
    completed_steps: int = 0
    compensated_steps: tuple[str, ...] = ()
    stuck_step: str | None = None
    reason: str | None = None
    defect: str | None = None

"""How a run ended, as the coordinator observed it."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


class Outcome(Struct, frozen=True, gc=False):
    """The end of a run.

    `compensated_steps` lists what was in fact compensated, in the order in which it happened. A stuck run names the
    step whose compensation kept failing; whatever came before that step is still in force. `defect` is set when a
    service raised something other than `Refused`, so that nobody can say what its local transaction did.
    """

    state: State
    completed_steps: int = 0
    compensated_steps: tuple[str, ...] = ()
    stuck_step: str | None = None
    reason: str | None = None
    defect: str | None = None

"""Outcome of a run, as the coordinator or the orchestrator observed it."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """The three possible outcomes."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


class Outcome(Struct, frozen=True, gc=False):
    """Outcome of a run.

    `completed_steps` counts the steps of a completed run, and is 0 otherwise. `compensated_steps` lists the compensated
    steps in the order of their compensation. `stuck_step` is the first step whose compensation kept failing; it and the
    steps before it are still in force. `reason` is the reason of the failure, or, in a stuck run, of the failed
    compensation.

    If a service raised an exception other than `Refused`, `failed_step` is its step and `defect` that exception in one
    line; if several did, those of the stuck step. `in_doubt_steps` are the steps whose local transaction raised such an
    exception: in a compensated run, those that were compensated for it; in a stuck run, those that were not, and may be
    in force.

    `result` has the results of a completed run by step name, as JSON text, where the request asked for them.
    """

    state: State
    completed_steps: int = 0
    compensated_steps: tuple[str, ...] = ()
    stuck_step: str | None = None
    reason: str | None = None
    defect: str | None = None
    failed_step: str | None = None
    in_doubt_steps: tuple[str, ...] = ()
    result: str | None = None

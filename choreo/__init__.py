"""choreo: sagas by choreography and by orchestration.

These are the public names; docs/reference/python.md describes each. A name is imported when it is first used, so that
the node, which needs few of them, starts without the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from choreo.version import __version__

if TYPE_CHECKING:
    from choreo.api import NoServices
    from choreo.checking import check
    from choreo.invariants.own import always, eventually, sometimes
    from choreo.laboratory import Findings, NotSafe, explore, lint, simulate
    from choreo.running import SagaRun, compare, run
    from choreo.runtime.in_memory import NoOutcome
    from choreo.saga.calls.call import Call
    from choreo.saga.calls.steps import step
    from choreo.saga.definition import Saga, Step
    from choreo.saga.outcome import Outcome, State
    from choreo.saga.service import Refused
    from choreo.saga.table import parallel, pivot, retriable

__all__ = [
    "Call",
    "Findings",
    "NoOutcome",
    "NoServices",
    "NotSafe",
    "Outcome",
    "Refused",
    "Saga",
    "SagaRun",
    "State",
    "Step",
    "__version__",
    "always",
    "check",
    "compare",
    "eventually",
    "explore",
    "lint",
    "parallel",
    "pivot",
    "retriable",
    "run",
    "simulate",
    "sometimes",
    "step",
]

_HOMES = {
    "NoServices": "choreo.api",
    "check": "choreo.checking",
    **dict.fromkeys(("always", "eventually", "sometimes"), "choreo.invariants.own"),
    **dict.fromkeys(("Findings", "NotSafe", "explore", "lint", "simulate"), "choreo.laboratory"),
    **dict.fromkeys(("SagaRun", "compare", "run"), "choreo.running"),
    "NoOutcome": "choreo.runtime.in_memory",
    "Call": "choreo.saga.calls.call",
    **dict.fromkeys(("Saga", "Step"), "choreo.saga.definition"),
    **dict.fromkeys(("Outcome", "State"), "choreo.saga.outcome"),
    "Refused": "choreo.saga.service",
    "step": "choreo.saga.calls.steps",
    **dict.fromkeys(("parallel", "pivot", "retriable"), "choreo.saga.table"),
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'choreo' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

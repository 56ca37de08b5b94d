"""choreo: sagas by choreography and by orchestration.

These are the public names; README.md describes them.
"""

from choreo.compile import STYLES, Style, Table, choreography, orchestration
from choreo.invariants.own import always, eventually, sometimes
from choreo.laboratory import Findings, NotSafe, explore, lint, simulate
from choreo.protocol.event import Command, Event, Fact, Run, Topic
from choreo.running import SagaRun, compare, run
from choreo.runtime.in_memory import InProcessRunner, NoOutcome
from choreo.saga.call import Call
from choreo.saga.definition import Saga, Step
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary, Plan, PlanTooLarge, plan
from choreo.saga.raised import Defect
from choreo.saga.service import Refused, Service, ServiceOf
from choreo.saga.steps import step
from choreo.saga.table import parallel, pivot, retriable
from choreo.version import __version__

__all__ = [
    "STYLES",
    "Call",
    "Command",
    "Defect",
    "Event",
    "Fact",
    "Findings",
    "InProcessRunner",
    "Itinerary",
    "NoOutcome",
    "NotSafe",
    "Outcome",
    "Plan",
    "PlanTooLarge",
    "Refused",
    "Run",
    "Saga",
    "SagaRun",
    "Service",
    "ServiceOf",
    "State",
    "Step",
    "Style",
    "Table",
    "Topic",
    "__version__",
    "always",
    "choreography",
    "compare",
    "eventually",
    "explore",
    "lint",
    "orchestration",
    "parallel",
    "pivot",
    "plan",
    "retriable",
    "run",
    "simulate",
    "sometimes",
    "step",
]

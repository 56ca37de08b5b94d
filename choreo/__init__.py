"""choreo: sagas by choreography and by orchestration.

The public names; README.md tells what they are for.
"""

from choreo.domain.event import Command, Defect, Event, Fact, Run, Topic
from choreo.domain.outcome import Outcome, State
from choreo.domain.plan import Itinerary, Plan, PlanTooLarge, plan
from choreo.domain.service import Refused, Service, ServiceOf
from choreo.runners.in_process import InProcessRunner, NoOutcome
from choreo.styles import STYLES, Style, Table, choreography, orchestration
from choreo.version import __version__

__all__ = [
    "STYLES",
    "Command",
    "Defect",
    "Event",
    "Fact",
    "InProcessRunner",
    "Itinerary",
    "NoOutcome",
    "Outcome",
    "Plan",
    "PlanTooLarge",
    "Refused",
    "Run",
    "Service",
    "ServiceOf",
    "State",
    "Style",
    "Table",
    "Topic",
    "__version__",
    "choreography",
    "orchestration",
    "plan",
]

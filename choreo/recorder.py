"""Recorder of one saga's runs.

Laws: it observes the table and changes no row's result. Every recording has its own runner, and so its own idempotency
keys.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from choreo.analysis.recording import Delivery, Recording, differing
from choreo.api import compose_rewritten
from choreo.compile import STYLES, Style
from choreo.compile.watched import observed, with_down
from choreo.protocol.event import Event, Events
from choreo.protocol.reaction import Subscription
from choreo.render.served import simulated_of
from choreo.runtime.in_memory import NoOutcome
from choreo.runtime.origins import new_origin
from choreo.saga.definition import Saga
from choreo.saga.plan import Plan
from choreo.saga.service import ServiceOf

SAGA_ID = "saga-1"

Seen = Callable[[int, Event], None]
"""Callback for every published event, with its number."""


class Scenario(NamedTuple):
    """Input of a recording: the saga to run, its plan, and the faults to inject."""

    saga: Saga
    plan: Plan
    fail_step: str | None = None
    fail_compensation: str | None = None
    service_names: Mapping[str, str] = MappingProxyType({})
    """For a definition, the service that each step names, or `SIMULATED`."""
    input: Any = None


def record(
    scenario: Scenario, style: str, service_of: ServiceOf, down: str | None = None, seen: Seen | None = None
) -> Recording:
    """Run the saga once and record it; `down` names a participant that receives no event."""
    services = {step: service_of(step) for step in scenario.plan.steps}
    table = STYLES[style](scenario.saga, services.__getitem__)
    nothing: list[dict[str, None]] = [{} for _ in table.cells]
    recording = Recording(style, table, services, [], [], nothing, [{} for _ in table.cells], origin=new_origin())
    recording.simulated = simulated_of(service_of)

    def publish(event: Event) -> None:
        recording.events.append(event)
        if seen is not None:
            seen(len(recording.events), event)

    def react(event: Event, row: Subscription, before: Any, after: Any, events: Events) -> None:
        reacted = bool(events) or any(True for _ in differing(before, after))
        recording.deliveries.append(Delivery(len(recording.events), row.seat, reacted))
        recording.holds[row.seat] = fields = dict.fromkeys(differing(table.cells[row.seat], after))
        recording.held[row.seat].update(fields)

    def rewrite(style: Style) -> Style:
        return observed(style if down is None else with_down(style, down), react)

    runner = compose_rewritten(services.__getitem__, rewrite, publish, recording.origin)
    with suppress(NoOutcome):  # without an outcome event, the recording reports that there is none
        recording.outcome = runner.execute(
            SAGA_ID, scenario.saga, scenario.fail_step, scenario.fail_compensation, style, scenario.input
        )
    return recording

"""Runs from Python: execute a saga in memory and look at it, or compare both styles.

Laws: light to import; what draws and records is imported by the first call. Each run has services of its own where they
can be made afresh, so that no run sees the effects of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from choreo.saga.calls.steps import owner_of
from choreo.saga.data import ancestors_of
from choreo.saga.definition import Saga
from choreo.saga.roles import CLIENT
from choreo.saga.spelling import suggestion

if TYPE_CHECKING:
    from choreo.analysis.recording import Recording
    from choreo.comparison import Comparison
    from choreo.recorder import Scenario
    from choreo.saga.outcome import Outcome
    from choreo.saga.service import ServiceOf
    from choreo.trace.record import Record

WIDTH = 100
"""Columns of a diagram."""


class SagaRun:
    """One run of a saga in memory: its outcome, its results, and every event."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @property
    def style(self) -> str:
        """`choreography` or `orchestration`."""
        return self._recording.style

    @property
    def outcome(self) -> Outcome:
        """The outcome. Raises `NoOutcome` if none was reported: a participant failed to react."""
        if self._recording.outcome is None:
            from choreo.runtime.in_memory import NoOutcome

            raise NoOutcome(f"the run in {self.style} came to rest without an outcome")
        return self._recording.outcome

    @property
    def result(self) -> dict[str, Any]:
        """The results of a completed run, by step name; empty for any other outcome."""
        from choreo.saga.codec import decode

        results = {} if self.outcome.result is None else json.loads(self.outcome.result)
        return {step: decode(json.dumps(result)) for step, result in results.items()}

    @property
    def events(self) -> list[str]:
        """The events of the steps, in order, as `charge failed`."""
        return [
            f"{event.topic.step} {event.topic.fact}"
            for event in self._recording.events
            if event.topic.step is not None and event.topic.source == event.topic.step
        ]

    @property
    def trace(self) -> list[Record]:
        """The trace: a record of each published event, and of the reply; without times."""
        from choreo.trace.records import event_record, published_record
        from choreo.trace.vocabulary import REPLY

        events = self._recording.events
        records = [published_record(event, number) for number, event in enumerate(events, start=1)]
        if self._recording.outcome is not None:
            records.append(event_record(events[-1], REPLY, CLIENT, len(events) + 1))
        return records

    def service(self, which: type | str) -> Any:
        """Return the object of that class, or the one that serves the step of that name, as it is after the run.

        Raises `LookupError` if there is none, or several of the class.
        """
        if isinstance(which, str):
            if which not in self._recording.services:
                near = suggestion(which, self._recording.services)
                raise LookupError(f"service: expected a step of the saga, got {which!r}{near}")
            return owner_of(self._recording.services[which])
        owners = {id(owner): owner for owner in map(owner_of, self._recording.services.values())}
        found = [owner for owner in owners.values() if isinstance(owner, which)]
        if len(found) != 1:
            names = ", ".join(sorted({type(owner).__name__ for owner in owners.values()}))
            raise LookupError(f"service: expected one {which.__name__} among {names}, got {len(found)}")
        return found[0]

    def are_ordered(self, one: str, other: str) -> bool:
        """Return whether one of two steps depends on the other, or they are the same."""
        plan = self._recording.plan
        positions = plan.position_of(one), plan.position_of(other)
        if None in positions or one == other:
            return one == other
        return one in ancestors_of(plan, positions[1] or 0) or other in ancestors_of(plan, positions[0] or 0)

    def diagram(self, width: int = WIDTH) -> str:
        """Return the sequence diagram as text, at most `width` columns wide."""
        from choreo.render.diagram import diagram
        from choreo.render.screen import Screen

        screen = Screen()
        screen.width = width
        with screen.capture() as captured:
            screen.lines(diagram(self._recording, screen, width))
        return captured.get()


def run(
    saga: Saga | Sequence[Any],
    input: Any = None,
    *,
    services: Any,
    style: str = "choreography",
    fail: str | None = None,
    fail_compensation: str | None = None,
) -> SagaRun:
    """Run a saga to its end, in memory.

    `saga`: a `Saga`, or step names. `input` is handed to every call. `services`: an object with steps, a list of such
    objects, services by step name, a function that makes these or that finds a service by step name, or the name of a
    module with `catalogue()`. `fail` names a step whose local transaction is to refuse, `fail_compensation` the steps
    whose compensation is to keep failing. Raises `NoServices`, `UnknownService`, `NotObeyed` and `ValueError`.
    """
    from choreo.recorder import record

    scenario = _scenario(saga, input, fail, fail_compensation)
    _expect_style(style)
    service_of = opened(services)
    expect_served(scenario.saga, service_of)
    return SagaRun(record(scenario, style, service_of))


def compare(
    saga: Saga | Sequence[Any],
    input: Any = None,
    *,
    services: Any,
    fail: str | None = None,
    fail_compensation: str | None = None,
) -> Comparison:
    """Run a saga in both styles and compare: the outcome, the state of the services, and what differs in numbers.

    The arguments are those of `run`. Where `services` are not a function that makes them, each run gets copies.
    """
    from choreo.comparison import compare as compare_styles

    scenario = _scenario(saga, input, fail, fail_compensation)
    sets = [opened(services) for _ in range(4)]
    for service_of in sets:
        expect_served(scenario.saga, service_of)
    return compare_styles(scenario, sets)


def opened(services: Any) -> ServiceOf:
    """Return the lookup of the services of a single run; objects are copied for it. Raises `NoServices`."""
    from choreo.api import services_from

    is_given_as_objects = services is not None and not callable(services) and not isinstance(services, str)
    return services_from(deepcopy(services) if is_given_as_objects else services)


def expect_served(saga: Saga, service_of: Callable[[str], Any]) -> None:
    """Check that a service serves every step, and that each compensatable step has a compensation.

    Raises `UnknownService` with the nearest name, and `ValueError` for a step without a compensation.
    """
    from choreo.saga.calls.steps import StepService, needs_compensation

    kinds = {step.name: step.kind for step in saga.steps}
    for step in dict.fromkeys(saga.plan.steps):
        service = service_of(step)
        is_without = isinstance(service, StepService) and not service.has_compensation
        if is_without and (step not in kinds or needs_compensation(kinds[step])):
            owner = type(service.owner).__name__
            raise ValueError(
                f"step {step!r}: expected a compensation, since it may have to be undone, got none; write one below "
                f"{owner}.{step} with @{step}.compensation, or make the step a pivot(...) or retriable(...)"
            )


def _scenario(saga: Any, given: Any, fail: str | None, fail_compensation: str | None) -> Scenario:
    from choreo.recorder import Scenario
    from choreo.saga.file import checked_saga

    value = saga if isinstance(saga, Saga) else Saga("saga", *saga)
    if value.itinerary is None:
        value = checked_saga(value)
    plan = value.plan
    for name, where in ((fail, "fail"), (fail_compensation, "fail_compensation")):
        if name is not None and name not in plan.steps:
            raise ValueError(f"{where}: expected a step of the saga, got {name!r}{suggestion(name, plan.steps)}")
    return Scenario(value, plan, fail, fail_compensation, input=given)


def _expect_style(style: str) -> None:
    from choreo.compile import STYLES

    if style not in STYLES:
        raise ValueError(f"style: expected {' or '.join(STYLES)}, got {style!r}{suggestion(str(style), STYLES)}")

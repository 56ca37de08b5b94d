"""Required subscriptions of each participant, derived from the plan alone.

Laws: derived from the neighbour protocol (docs/explanation/protocol.md), independently of the compilers of the styles,
so it finds a row that any of them left out. Runs no step.
"""

from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct

from choreo.compile.choreography import must_be_stopped, tellers
from choreo.compile.table import STARTED
from choreo.protocol.coordinator import Coordinator
from choreo.protocol.dead_letter import UNREADABLE
from choreo.protocol.event import Command, Fact, Timer, Topic
from choreo.protocol.orchestrator import Orchestrator
from choreo.protocol.participant import step_topic
from choreo.protocol.report import OutcomeTopics
from choreo.protocol.timed import PLAIN, StepPolicy
from choreo.saga.definition import Kind, Step
from choreo.saga.plan import Plan
from choreo.saga.roles import CLIENT


class What(Enum):
    """Actions that a participant cannot take without the event."""

    BEGIN = "run its local transaction"
    STOP = "be cancelled, for those that wait to hear of it"
    UNDO = "run its compensation"
    COLLECT = "know how the run ends"
    ANSWER = "know the outcome"
    WAKE = "go on after a while"


class Need(Struct, frozen=True):
    """A required subscription: the participant at a seat needs a topic."""

    seat: int
    subscriber: str
    topic: Topic
    what: What


def needs_of(plan: Plan, steps: Sequence[Step], collector: str) -> list[Need]:
    """Return the required subscriptions in the style with this collector; `steps` are the plan's, by position."""
    outcomes = OutcomeTopics(collector)
    of_style = _in_choreography(plan, steps) if collector == Coordinator.NAME else _in_orchestration(plan)
    seat = len(plan.steps)
    return [
        *of_style,
        *_of_timers(plan, steps),
        Need(seat, collector, UNREADABLE, What.COLLECT),
        *(
            Need(seat + 1, CLIENT, topic, What.ANSWER)
            for topic in (outcomes.completed, outcomes.compensated, outcomes.stuck)
        ),
    ]


def _in_choreography(plan: Plan, steps: Sequence[Step]) -> Iterator[Need]:
    tells = tellers(plan)
    ends = [[*_ends(plan, position, tells[position])] for position in range(len(plan.steps))]
    for position, name in enumerate(plan.steps):
        before, after = plan.predecessors[position], plan.successors[position]
        for topic in [step_topic(plan, p, Fact.SUCCEEDED) for p in before] or [STARTED]:
            yield Need(position, name, topic, What.BEGIN)
        stops = before if must_be_stopped(plan, position, tells[position]) else ()
        for topic in (topic for p in stops for topic in ends[p]):
            if topic.fact is not Fact.COMPENSATED or steps[topic.position].timeout_ms is not None:
                yield Need(position, name, topic, What.STOP)
        for p in stops:  # a step that is too late or in doubt may stay in force
            yield Need(position, name, step_topic(plan, p, Fact.COMPENSATION_FAILED), What.STOP)
        for topic in (topic for p in after for topic in ends[p]):
            yield Need(position, name, topic, What.UNDO)
        if not after and len(plan.last) > 1:
            yield Need(position, name, Topic("saga/cancelled", Fact.CANCELLED, Coordinator.NAME), What.UNDO)
    yield from _of_coordinator(plan, ends)


def _of_coordinator(plan: Plan, ends: Sequence[Sequence[Topic]]) -> Iterator[Need]:
    seat = len(plan.steps)
    for position in range(seat):
        if position in plan.last:
            yield Need(seat, Coordinator.NAME, step_topic(plan, position, Fact.SUCCEEDED), What.COLLECT)
        for topic in (*ends[position], step_topic(plan, position, Fact.COMPENSATION_FAILED)):
            yield Need(seat, Coordinator.NAME, topic, What.COLLECT)


def _ends(plan: Plan, position: int, tells: bool) -> Iterator[Topic]:
    """Yield the topics under which a step publishes that it ended backward."""
    for fact in (Fact.FAILED, Fact.CANCELLED, Fact.COMPENSATED):
        if tells or fact is not Fact.CANCELLED:
            yield step_topic(plan, position, fact)


def _in_orchestration(plan: Plan) -> Iterator[Need]:
    seat, name = len(plan.steps), Orchestrator.NAME
    yield Need(seat, name, STARTED, What.COLLECT)
    for position, step in enumerate(plan.steps):
        for command, what in ((Command.EXECUTE, What.BEGIN), (Command.COMPENSATE, What.UNDO)):
            yield Need(position, step, step_topic(plan, position, command, name), what)
        for fact in (Fact.SUCCEEDED, Fact.FAILED, Fact.COMPENSATED, Fact.COMPENSATION_FAILED):
            yield Need(seat, name, step_topic(plan, position, fact), What.COLLECT)


def _of_timers(plan: Plan, steps: Sequence[Step]) -> Iterator[Need]:
    """Yield the subscriptions of the steps to their own timers."""
    for position, step in enumerate(steps):
        timers = [] if StepPolicy.of(step) == PLAIN else [Timer.RETRY]
        if StepPolicy.of(step).latency_ms is not None or (step.kind is Kind.RETRIABLE and step.attempts > 1):
            timers.append(Timer.ATTEMPT)
        if step.timeout_ms is not None:
            timers.append(Timer.TIMED_OUT)
        for timer in timers:
            yield Need(position, step.name, step_topic(plan, position, timer), What.WAKE)

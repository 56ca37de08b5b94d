"""Comparison of the styles in numbers.

Laws: pure. Every number is counted from a recorded run or from a compiled table; none is known beforehand.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Recording, publisher
from choreo.analysis.service_state import Record, differing_records
from choreo.compile import STYLES, Table
from choreo.protocol.event import Command, Fact
from choreo.recorder import Scenario, record
from choreo.saga.definition import Saga, Step
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Plan
from choreo.saga.service import ServiceOf

NEW_STEP = "new_step"

Longer = tuple[Saga, int]
"""Saga with one more step, and the position of that step."""


class NoService:
    """Placeholder for a service in a table that is read and never run."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


NO_SERVICE = NoService()


class Coupling(Struct, frozen=True):
    """Coupling of one subscriber: the topics that it subscribes to, and their publishers."""

    subscriber: str
    topics: tuple[str, ...]
    publishers: tuple[str, ...]


class Memory(Struct, frozen=True):
    """Fields of one subscriber's cell that were set during the run, and those set after it, by name."""

    subscriber: str
    during: tuple[str, ...]
    after: tuple[str, ...]


class StepImpact(Struct, frozen=True):
    """Impact of one more step: the participants whose subscriptions change, and the number of its own subscriptions."""

    touched: tuple[str, ...]
    subscriptions: int


class Outage(Struct, frozen=True):
    """Effects of a run while the coordinator or the orchestrator received no event."""

    subscriber: str
    executed: tuple[str, ...]
    compensated: tuple[str, ...]
    left_in_force: tuple[str, ...]
    has_outcome: bool


class Figures(Struct, frozen=True):
    """Metrics of one style. `hops` is the number of messages on the causal path from the start to the outcome."""

    events: int
    commands: int
    deliveries: int
    ignored: int
    hops: int
    subscriptions: int
    acquaintances: tuple[Coupling, ...]
    memories: tuple[Memory, ...]
    held_by_reporter_alone: tuple[str, ...]
    step_in_the_middle: StepImpact
    step_at_the_end: StepImpact
    reporter_down: Outage

    @property
    def messages(self) -> int:
        return self.events + self.commands

    @property
    def keepers(self) -> tuple[str, ...]:
        """Participants that stored state of the run during the run; without the client, which stores its reply only."""
        return tuple(memory.subscriber for memory in self.memories[:-1] if memory.during)


class Comparison(Struct, frozen=True):
    """One saga in two styles: both runs, the metrics of each, and the steps whose service records differ."""

    recordings: tuple[Recording, Recording]
    figures: tuple[Figures, Figures]
    differing: dict[str, tuple[Record, Record]]

    @property
    def is_same_outcome(self) -> bool:
        one, other = self.recordings
        return is_same_outcome(one.outcome, other.outcome)

    @property
    def is_same(self) -> bool:
        return self.is_same_outcome and not self.differing


def compare(saga: Scenario, separate_services: Sequence[ServiceOf]) -> Comparison:
    """Run the saga in both styles, each with separate services, and measure. Raises `PlanTooLarge`.

    The saga must have room for one more step. The first two sets of services are for the runs. The other two are for
    the same runs with the coordinator or orchestrator down.
    """
    longer = [longer_by_one(saga, is_at_the_end) for is_at_the_end in (False, True)]
    for_runs, for_absences = separate_services[:2], separate_services[2:]
    one, other = (record(saga, style, services) for style, services in zip(STYLES, for_runs, strict=True))
    absences = [record_absent(saga, style, services) for style, services in zip(STYLES, for_absences, strict=True)]
    first, second = (figures(*pair, longer) for pair in zip((one, other), absences, strict=True))
    differing = differing_records(one.services, other.services, (one.origin, other.origin))
    return Comparison((one, other), (first, second), differing)


def figures(recording: Recording, absent: Recording, longer: Sequence[Longer]) -> Figures:
    """Compute the metrics. `absent` is the run with the reporter down; `longer` has the plans with one more step."""
    commands = sum(isinstance(event.topic.fact, Command) for event in recording.events)
    return Figures(
        events=len(recording.events) - commands,
        commands=commands,
        deliveries=len(recording.deliveries),
        ignored=sum(not delivery.reacted for delivery in recording.deliveries),
        hops=hops(recording),
        subscriptions=len(recording.table.subscriptions),
        acquaintances=acquaintances(recording.table),
        memories=_memories(recording),
        held_by_reporter_alone=_held_alone(recording),
        step_in_the_middle=addition(recording, longer[0]),
        step_at_the_end=addition(recording, longer[1]),
        reporter_down=_absence(absent),
    )


def record_absent(saga: Scenario, style: str, service_of: ServiceOf) -> Recording:
    """Record the saga while the style's coordinator or orchestrator is down."""
    return record(saga, style, service_of, down=compiled(saga.saga, style).subscribers[-2])


def is_same_outcome(one: Outcome | None, other: Outcome | None) -> bool:
    """Return whether a client would receive the same outcome. The reason is in the trace only, not in the reply."""
    return one is not None and other is not None and _told(one) == _told(other)


def hops(recording: Recording) -> int:
    """Return the number of messages on the causal path from the start of the saga to its outcome, both included."""
    depth: dict[str, int] = {}
    deepest = 0
    for event in recording.events:
        depth[event.id] = depth.get(event.causation_id or "", 0) + 1
        if isinstance(event.detail, Outcome):
            deepest = max(deepest, depth[event.id])
    return deepest


def compiled(saga: Saga, style: str) -> Table:
    """Compile the style's table for a saga; for reading only, not for a run."""
    return STYLES[style](saga, lambda step: NO_SERVICE)


def acquaintances(table: Table) -> tuple[Coupling, ...]:
    """Return the coupling of each subscriber, seat by seat."""
    names = numbered(table.subscribers)
    topics: list[dict[str, str]] = [{} for _ in table.cells]
    for row in table.subscriptions:
        topics[row.seat][row.topic.name] = names[publisher(table, row.topic)]
    return tuple(
        Coupling(subscriber, tuple(heard), tuple(dict.fromkeys(heard.values())))
        for subscriber, heard in zip(names, topics, strict=True)
    )


def longer_by_one(scenario: Scenario, is_at_the_end: bool) -> Longer:
    """Return the saga with one more step, in the middle or at the end, and the position of the new step."""
    saga, name = scenario.saga, NEW_STEP
    while name in scenario.plan.steps:
        name += "_"
    if saga.itinerary is None:
        return _longer_graph(saga, scenario.plan, name, is_at_the_end)
    place = len(saga.itinerary) if is_at_the_end else len(saga.itinerary) // 2
    longer = Saga.of((*saga.itinerary[:place], name, *saga.itinerary[place:]))
    return longer, longer.plan.steps.index(name)


def _longer_graph(saga: Saga, plan: Plan, name: str, is_at_the_end: bool) -> Longer:
    """Return the saga with a new step before all steps of the middle depth, or after all last steps."""
    steps, names = saga.with_after(), plan.steps
    if is_at_the_end:
        last = Step(name, after=tuple(names[position] for position in plan.last))
        return replace(saga, steps=(*steps, last)), len(steps)
    depth = (max(plan.depths) + 1) // 2
    behind = [position for position, each in enumerate(plan.depths) if each == depth]
    before = sorted({p for position in behind for p in plan.predecessors[position]})
    new = Step(name, after=tuple(names[p] for p in before))
    moved = [replace(step, after=(name,)) if p in behind else step for p, step in enumerate(steps)]
    return replace(saga, steps=(*moved[: behind[0]], new, *moved[behind[0] :])), behind[0]


def addition(recording: Recording, longer: Longer) -> StepImpact:
    """Return the participants whose subscriptions a new step would change."""
    longer_saga, position = longer
    before = acquaintances(recording.table)
    after = list(acquaintances(compiled(longer_saga, recording.style)))
    new = after.pop(position)
    touched = [
        old.subscriber for old, now in zip(before, after, strict=True) if sorted(old.topics) != sorted(now.topics)
    ]
    return StepImpact(tuple(touched), len(new.topics))


def _told(outcome: Outcome) -> object:
    return outcome.state, outcome.completed_steps, outcome.compensated_steps, outcome.stuck_step, outcome.in_doubt_steps


def _memories(recording: Recording) -> tuple[Memory, ...]:
    cells = zip(numbered(recording.table.subscribers), recording.held, recording.holds, strict=True)
    return tuple(Memory(subscriber, tuple(held), tuple(holds)) for subscriber, held, holds in cells)


def _held_alone(recording: Recording) -> tuple[str, ...]:
    """Return the fields that were set in the reporter's cell, and in no step's cell."""
    among_steps = [field for held in recording.held[: recording.reporter] for field in held]
    return tuple(field for field in recording.held[recording.reporter] if field not in among_steps)


def _absence(recording: Recording) -> Outage:
    names = numbered(recording.table.subscribers)
    return Outage(
        names[recording.reporter],
        tuple(names[event.topic.position] for event in recording.having(Fact.SUCCEEDED)),
        tuple(names[event.topic.position] for event in recording.having(Fact.COMPENSATED)),
        tuple(names[position] for position in recording.in_force()),
        recording.outcome is not None,
    )

"""What differs between the styles, in numbers.

Laws: pure. Every number is counted from a recorded run or from a compiled table; nothing is known beforehand.
"""

from collections.abc import Sequence

from msgspec import Struct

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Recording, publisher
from choreo.compile import STYLES, Table
from choreo.protocol.event import Command, Fact
from choreo.recorder import Scenario, record
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Plan, plan
from choreo.saga.service import ServiceOf
from choreo.terminal.views.records import Record, differing_records

NEW_STEP = "new_step"

Longer = tuple[Plan, int]
"""A plan with a step more, and the position of that step."""


class NoService:
    """Stands where a service would, in a table that is read and never run."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


NO_SERVICE = NoService()


class Acquaintance(Struct, frozen=True):
    """What one hearer must know: the topics that it hears, and who publishes them."""

    hearer: str
    topics: tuple[str, ...]
    publishers: tuple[str, ...]


class Memory(Struct, frozen=True):
    """What one hearer's cell held during the run, and what it holds after it, by the names of the fields."""

    hearer: str
    during: tuple[str, ...]
    after: tuple[str, ...]


class Addition(Struct, frozen=True):
    """What one step more would change: whose subscriptions, and how many the new step has itself."""

    touched: tuple[str, ...]
    subscriptions: int


class Absence(Struct, frozen=True):
    """What still happened while the coordinator or the orchestrator heard nothing."""

    hearer: str
    executed: tuple[str, ...]
    compensated: tuple[str, ...]
    left_in_force: tuple[str, ...]
    has_outcome: bool


class Figures(Struct, frozen=True):
    """One style of a comparison. `hops` counts the messages one after the other from the start to the outcome."""

    events: int
    commands: int
    deliveries: int
    ignored: int
    hops: int
    subscriptions: int
    acquaintances: tuple[Acquaintance, ...]
    memories: tuple[Memory, ...]
    held_by_reporter_alone: tuple[str, ...]
    step_in_the_middle: Addition
    step_at_the_end: Addition
    reporter_down: Absence

    @property
    def messages(self) -> int:
        return self.events + self.commands

    @property
    def keepers(self) -> tuple[str, ...]:
        """Who kept something of the run while it went on; the client keeps its answer only, and is left out."""
        return tuple(memory.hearer for memory in self.memories[:-1] if memory.during)


class Comparison(Struct, frozen=True):
    """One saga in two styles: both runs, what was counted of each, and in which steps' records they differ."""

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
    """Run the saga in both styles, each with services of its own, and count. Raises `PlanTooLarge`.

    The saga must have room for one step more. The first two sets of services are for the runs, the other two for the
    same again with somebody down.
    """
    longer = [longer_by_one(saga, place) for place in (len(saga.itinerary) // 2, len(saga.itinerary))]
    for_runs, for_absences = separate_services[:2], separate_services[2:]
    one, other = (record(saga, style, services) for style, services in zip(STYLES, for_runs, strict=True))
    absences = [record_absent(saga, style, services) for style, services in zip(STYLES, for_absences, strict=True)]
    first, second = (figures(*pair, longer) for pair in zip((one, other), absences, strict=True))
    differing = differing_records(one.services, other.services, (one.origin, other.origin))
    return Comparison((one, other), (first, second), differing)


def figures(recording: Recording, absent: Recording, longer: Sequence[Longer]) -> Figures:
    """Count. `absent` is the same saga while the reporter was down; `longer` has the plans with a step more."""
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
    """The saga while the style's coordinator or orchestrator is down."""
    return record(saga, style, service_of, down=compiled(saga.plan, style).hearers[-2])


def is_same_outcome(one: Outcome | None, other: Outcome | None) -> bool:
    """Whether a client would be told the same. A reason is told in the trace, not to the client."""
    return one is not None and other is not None and _told(one) == _told(other)


def hops(recording: Recording) -> int:
    """How many messages follow on one another from the start of the saga to its outcome, both included."""
    depth: dict[str, int] = {}
    deepest = 0
    for event in recording.events:
        depth[event.id] = depth.get(event.causation_id or "", 0) + 1
        if isinstance(event.detail, Outcome):
            deepest = max(deepest, depth[event.id])
    return deepest


def compiled(plan: Plan, style: str) -> Table:
    """The style's table for a plan, to be read and not to be run."""
    return STYLES[style](plan, lambda step: NO_SERVICE)


def acquaintances(table: Table) -> tuple[Acquaintance, ...]:
    """Who hears what of whom, seat by seat."""
    names = numbered(table.hearers)
    topics: list[dict[str, str]] = [{} for _ in table.cells]
    for row in table.subscriptions:
        topics[row.seat][row.topic.name] = names[publisher(table, row.topic)]
    return tuple(
        Acquaintance(hearer, tuple(heard), tuple(dict.fromkeys(heard.values())))
        for hearer, heard in zip(names, topics, strict=True)
    )


def longer_by_one(saga: Scenario, place: int) -> Longer:
    """The plan with a step more at that place of the itinerary, and the position of the new step."""
    name = NEW_STEP
    while name in saga.plan.steps:
        name += "_"
    longer = plan((*saga.itinerary[:place], name, *saga.itinerary[place:]))
    return longer, longer.steps.index(name)


def addition(recording: Recording, longer: Longer) -> Addition:
    """Whose subscriptions a new step would change."""
    longer_plan, position = longer
    before = acquaintances(recording.table)
    after = list(acquaintances(compiled(longer_plan, recording.style)))
    new = after.pop(position)
    touched = [old.hearer for old, now in zip(before, after, strict=True) if sorted(old.topics) != sorted(now.topics)]
    return Addition(tuple(touched), len(new.topics))


def _told(outcome: Outcome) -> object:
    return outcome.state, outcome.completed_steps, outcome.compensated_steps, outcome.stuck_step, outcome.in_doubt_steps


def _memories(recording: Recording) -> tuple[Memory, ...]:
    cells = zip(numbered(recording.table.hearers), recording.held, recording.holds, strict=True)
    return tuple(Memory(hearer, tuple(held), tuple(holds)) for hearer, held, holds in cells)


def _held_alone(recording: Recording) -> tuple[str, ...]:
    """The fields that the reporter's cell held, and no step's."""
    among_steps = [field for held in recording.held[: recording.reporter] for field in held]
    return tuple(field for field in recording.held[recording.reporter] if field not in among_steps)


def _absence(recording: Recording) -> Absence:
    names = numbered(recording.table.hearers)
    return Absence(
        names[recording.reporter],
        tuple(names[event.topic.position] for event in recording.having(Fact.SUCCEEDED)),
        tuple(names[event.topic.position] for event in recording.having(Fact.COMPENSATED)),
        tuple(names[position] for position in recording.in_force()),
        recording.outcome is not None,
    )

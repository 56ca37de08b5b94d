"""The check of a trace: violations of the invariants with their places, and missing events.

Laws: pure. Each run is checked on its own, and resources, which runs share, separately; so the time grows with the
trace and not with the number of runs in it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from choreo.conformance.parsed_trace import Line, ParsedTrace, RunTold
from choreo.conformance.plans import Defined, inferred
from choreo.invariants.checkers import INVARIANTS, Broken
from choreo.invariants.history import History, RunFacts, StepFacts
from choreo.invariants.known import Known, RunModel, minima_of
from choreo.invariants.monitor import Monitor
from choreo.saga.definition import Definition, Kind
from choreo.trace.vocabulary import SAGA_STUCK

NO_FACTS: Mapping[str, RunFacts] = MappingProxyType({})
OF_RESOURCES = [invariant for invariant in INVARIANTS if invariant.code in ("S10", "S11", "L5")]


class Deviation(Struct, frozen=True):
    """A violation of an invariant. A missing event, found at rest, has no line and no event."""

    code: str
    title: str
    sentence: str
    run: str
    saga_id: str | int
    line: int | None = None
    event: str | None = None
    step: str | None = None


class MissingEvents(Struct, frozen=True):
    """The missing events of a run."""

    run: str
    saga_id: str | int
    expected: tuple[str, ...]


class CheckReport(Struct, frozen=True):
    """The report on a whole trace. `outcomes` counts the runs by outcome; `deviations` are in the order of their lines.

    For a journal, they are in the order of the runs, and `line` is the number of a delivery. `deviating` counts the
    runs with violations, and `unlisted` the violations beyond those that are listed.
    """

    runs: int
    outcomes: dict[str, int]
    deviations: tuple[Deviation, ...]
    due: tuple[MissingEvents, ...]
    deviating: int = 0
    unlisted: int = 0

    @property
    def holds(self) -> bool:
        return not self.deviations


def check(told: ParsedTrace, definition: Definition | None = None) -> CheckReport:
    """Check a trace against every invariant. Raises `NotOfThisSaga` if it mentions a step that is not defined."""
    plan_of = inferred if definition is None else Defined(definition)
    known = Known(
        {name: plan_of(run, told.name) for name, run in told.runs.items()},
        {} if definition is None else minima_of(definition),
        told.has_deliveries,
        told.has_effects,
        told.has_replies,
        told.has_causes,
    )
    monitor = Monitor(known)
    deviations: list[Deviation] = []
    facts: dict[str, RunFacts] = {}
    for name, run in told.runs.items():
        facts[name] = judge_run(monitor, name, run.lines, deviations, facts)
    locked = list(_judge_resources(told, known, facts, deviations))
    deviations.sort(key=lambda deviation: (deviation.line is None, deviation.line or 0))
    due = [due_of(each, name, known, locked) for name, each in facts.items()]
    deviating = len({deviation.run for deviation in deviations})
    ends = _outcomes(facts.values())
    return CheckReport(len(facts), ends, tuple(deviations), tuple(d for d in due if d.expected), deviating)


def judge_run(
    monitor: Monitor,
    name: str,
    lines: Iterable[Line],
    deviations: list[Deviation],
    others: Mapping[str, RunFacts] = NO_FACTS,
    is_at_rest: bool = True,
) -> RunFacts:
    """Check one run, after the runs in `others`; return its final facts, and add its violations.

    Missing events are reported only if the run is at rest.
    """
    history = _observed(monitor, _begin(name, monitor.known.runs[name], others), lines, deviations)
    facts = history.run(name)
    if is_at_rest:
        deviations += _at_rest(monitor, History(((name, facts),)), name)
    return facts


class Growing(set[Any]):
    """A set with a single owner, a history: `|` adds in place instead of copying."""

    def __or__(self, other: Iterable[Any]) -> "Growing":
        self.update(other)
        return self


def _begin(name: str, run: RunModel, facts: Mapping[str, RunFacts]) -> History:
    """Return the history before a run; it contains the other run of the same request if that was checked already."""
    own = RunFacts((StepFacts(),) * len(run.steps), published=Growing(), delivered=Growing())
    twin = facts.get(run.twin or "")
    return History(((name, own),) if twin is None or run.twin is None else ((name, own), (run.twin, twin)))


def _observed(monitor: Monitor, history: History, lines: Iterable[Line], deviations: list[Deviation]) -> History:
    observe, runs = monitor.observe, monitor.known.runs
    for line in lines:
        history, broken = observe(history, line.record)
        for each in broken:
            record = line.record
            run = str(record.run)
            where = (run, runs[run].saga_id, line.number, record.event, record.step)
            deviations.append(Deviation(each.code, each.title, each.sentence, *where))
    return history


def _at_rest(monitor: Monitor, history: History, run: str) -> Iterator[Deviation]:
    for each in monitor.at_rest(history):
        yield _without_line(each, run, monitor.known)


def _without_line(broken: Broken, run: str, known: Known) -> Deviation:
    saga_id = known.runs[run].saga_id if run in known.runs else run
    return Deviation(broken.code, broken.title, broken.sentence, run, saga_id)


# Resources


def _judge_resources(
    told: ParsedTrace, known: Known, facts: dict[str, RunFacts], deviations: list[Deviation]
) -> Iterator[tuple[str, str]]:
    """Add the violations; yield each resource that is locked at the end, and the run that locks it."""
    monitor = Monitor(known, OF_RESOURCES)
    touching: dict[int, list[RunTold]] = {}
    for run in told.runs.values():
        if run.resources:
            touching.setdefault(run.process, []).append(run)
    for runs in touching.values():
        ends = tuple((run.name, facts[run.name]) for run in runs)
        lines = sorted((line for run in runs for line in run.resources), key=lambda line: line.number)
        history = _observed(monitor, History(ends), lines, deviations)
        for name, resource in history.resources:
            if resource.locked_by is not None:
                deviations += _at_rest(monitor, History(ends, ((name, resource),)), resource.locked_by)
                yield name, resource.locked_by


# Missing events


def due_of(facts: RunFacts, name: str, known: Known, locked: Sequence[tuple[str, str]] = ()) -> MissingEvents:
    """Return the missing events of a run, the next expected ones first."""
    return MissingEvents(name, known.runs[name].saga_id, tuple(_due(facts, name, known, locked)))


def _due(facts: RunFacts, name: str, known: Known, locked: Sequence[tuple[str, str]]) -> Iterator[str]:
    run = known.runs[name]
    if facts.events and facts.outcome is None:
        yield from _due_of_steps(facts, run)
        yield "its outcome"
    if known.has_replies and facts.events and not facts.replies:
        yield "the reply to its client"
    if facts.outcome != SAGA_STUCK:
        yield from (f"the release of {resource}" for resource, owner in locked if owner == name)


def _due_of_steps(facts: RunFacts, run: RunModel) -> Iterator[str]:
    untold = [n for n, step in zip(run.steps, facts.steps, strict=True) if step.stands and not step.said_succeeded]
    yield from (f"{step} saying that it succeeded" for step in untold)
    if facts.has_failed:
        for position in reversed(range(len(run.steps))):
            if facts.steps[position].stands and run.kinds[position] is Kind.COMPENSATABLE:
                yield f"the compensation of {run.steps[position]}"
        return
    for position, step in enumerate(facts.steps):
        begins = all(facts.steps[before].executed for before in run.ancestors[position])
        if begins and not step.executed and not step.is_cancelled:
            yield f"the success or the failure of {run.steps[position]}"


def _outcomes(all_facts: Iterable[RunFacts]) -> dict[str, int]:
    counts = dict.fromkeys(("completed", "compensated", "stuck", "none"), 0)
    for facts in all_facts:
        counts["none" if facts.outcome is None else facts.outcome.removeprefix("saga.")] += 1
    return {name: count for name, count in counts.items() if count}

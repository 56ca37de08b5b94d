"""The check of a trace: violations of the invariants with their places, and missing events.

Laws: pure. Each run is checked on its own, and resources, which runs share, separately; so the time grows with the
trace and not with the number of runs in it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.conformance.parsed_trace import Line, ParsedRun, ParsedTrace
from choreo.conformance.plans import Defined, inferred
from choreo.invariants.catalogue import INVARIANTS
from choreo.invariants.history import History, RunFacts, StepFacts
from choreo.invariants.known import Known, RunModel, minima_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.violation import Violation
from choreo.saga.definition import Kind, Saga
from choreo.trace.vocabulary import SAGA_STUCK, fact_of

NO_FACTS: Mapping[str, RunFacts] = MappingProxyType({})
OF_RESOURCES = [invariant for invariant in INVARIANTS if invariant.code in ("S10", "S11", "L5")]


class MissingEvents(Struct, frozen=True):
    """The missing events of a run."""

    run: str
    saga_id: str | int
    expected: tuple[str, ...]


class CheckReport(Struct, frozen=True):
    """The report on a whole trace. `outcomes` counts the runs by outcome; `violations` are in the order of their lines.

    For a journal, they are in the order of the runs, and `line` is the number of a delivery. `violated_runs` counts the
    runs with violations, and `unlisted` the violations beyond those that are listed.
    """

    runs: int
    outcomes: dict[str, int]
    violations: tuple[Violation, ...]
    due: tuple[MissingEvents, ...]
    violated_runs: int = 0
    unlisted: int = 0

    @property
    def holds(self) -> bool:
        return not self.violations


def check(trace: ParsedTrace, definition: Saga | None = None) -> CheckReport:
    """Check a trace against every invariant. Raises `NotOfThisSaga` if it mentions a step that is not defined."""
    plan_of = inferred if definition is None else Defined(definition)
    known = Known(
        {name: plan_of(run, trace.name) for name, run in trace.runs.items()},
        {} if definition is None else minima_of(definition),
        trace.has_deliveries,
        trace.has_effects,
        trace.has_replies,
        trace.has_causes,
    )
    monitor = Monitor(known)
    violations: list[Violation] = []
    facts: dict[str, RunFacts] = {}
    for name, run in trace.runs.items():
        facts[name] = check_run(monitor, name, run.lines, violations, facts)
    locked = list(_check_resources(trace, known, facts, violations))
    violations.sort(key=lambda violation: (violation.line is None, violation.line or 0))
    due = [missing_events(each, name, known, locked) for name, each in facts.items()]
    violated_runs = len({violation.run for violation in violations})
    ends = _outcomes(facts.values())
    return CheckReport(len(facts), ends, tuple(violations), tuple(d for d in due if d.expected), violated_runs)


def check_run(
    monitor: Monitor,
    name: str,
    lines: Iterable[Line],
    violations: list[Violation],
    others: Mapping[str, RunFacts] = NO_FACTS,
    is_at_rest: bool = True,
) -> RunFacts:
    """Check one run, after the runs in `others`; return its final facts, and add its violations.

    Missing events are reported only if the run is at rest.
    """
    history = _observed(monitor, _begin(name, monitor.known.runs[name], others), lines, violations)
    facts = history.run(name)
    if is_at_rest:
        violations += _at_rest(monitor, History(((name, facts),)), name)
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


def _observed(monitor: Monitor, history: History, lines: Iterable[Line], violations: list[Violation]) -> History:
    observe, runs = monitor.observe, monitor.known.runs
    for line in lines:
        record = line.record
        history, found = observe(history, record)
        run = str(record.run)
        violations += (
            replace(each, run=run, saga_id=runs[run].saga_id, line=line.number, event=record.event, step=record.step)
            for each in found
        )
    return history


def _at_rest(monitor: Monitor, history: History, run: str) -> Iterator[Violation]:
    for each in monitor.at_rest(history):
        runs = monitor.known.runs
        yield replace(each, run=run, saga_id=runs[run].saga_id if run in runs else run)


# Resources


def _check_resources(
    trace: ParsedTrace, known: Known, facts: dict[str, RunFacts], violations: list[Violation]
) -> Iterator[tuple[str, str]]:
    """Add the violations; yield each resource that is locked at the end, and the run that locks it."""
    monitor = Monitor(known, OF_RESOURCES)
    touching: dict[int, list[ParsedRun]] = {}
    for run in trace.runs.values():
        if run.resources:
            touching.setdefault(run.process, []).append(run)
    for runs in touching.values():
        ends = tuple((run.name, facts[run.name]) for run in runs)
        lines = sorted((line for run in runs for line in run.resources), key=lambda line: line.number)
        history = _observed(monitor, History(ends), lines, violations)
        for name, resource in history.resources:
            if resource.locked_by is not None:
                violations += _at_rest(monitor, History(ends, ((name, resource),)), resource.locked_by)
                yield name, resource.locked_by


# Missing events


def missing_events(facts: RunFacts, name: str, known: Known, locked: Sequence[tuple[str, str]] = ()) -> MissingEvents:
    """Return the missing events of a run, the next expected ones first."""
    return MissingEvents(name, known.runs[name].saga_id, tuple(_missing(facts, name, known, locked)))


def _missing(facts: RunFacts, name: str, known: Known, locked: Sequence[tuple[str, str]]) -> Iterator[str]:
    run = known.runs[name]
    if facts.events and facts.outcome is None:
        yield from _missing_of_steps(facts, run)
        yield "its outcome"
    if known.has_replies and facts.events and not facts.replies:
        yield "the reply to its client"
    if facts.outcome != SAGA_STUCK:
        yield from (f"the release of {resource}" for resource, owner in locked if owner == name)


def _missing_of_steps(facts: RunFacts, run: RunModel) -> Iterator[str]:
    unpublished = [n for n, step in zip(run.steps, facts.steps, strict=True) if step.stands and not step.said_succeeded]
    yield from (f"{step} saying that it succeeded" for step in unpublished)
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
        counts["none" if facts.outcome is None else fact_of(facts.outcome)] += 1
    return {name: count for name, count in counts.items() if count}

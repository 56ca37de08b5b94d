"""Fold of trace records into the facts that the invariants need.

Laws: a small value. It forgets any order of events on which no invariant depends, so the explorer can store one with
each state. Knows no invariant.
"""

from collections.abc import Iterator, Set

from msgspec import Struct
from msgspec.structs import replace

from choreo.invariants.known import Known, RunModel
from choreo.saga.definition import Kind
from choreo.saga.roles import IDEMPOTENT_RECEIVER
from choreo.trace import vocabulary
from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    COMPENSATE,
    EXECUTE,
    OUTCOMES,
    SAGA_STARTED,
    SAGA_UNREADABLE,
    STEP_CANCELLED,
    STEP_COMPENSATED,
    STEP_COMPENSATION_FAILED,
    STEP_FAILED,
    STEP_SUCCEEDED,
    STEP_TIMED_OUT,
    fact_of,
)

FAILURES = (STEP_FAILED, STEP_COMPENSATION_FAILED, SAGA_UNREADABLE)


class StepFacts(Struct, frozen=True, gc=False):
    """Facts of one step: the events it published, and how often its transaction and its compensation took effect."""

    executed: int = 0
    compensated: int = 0
    is_cancelled: bool = False
    said_succeeded: bool = False
    said_compensated: bool = False

    tries: int = 0
    """Refusals of a retriable step so far."""
    is_in_doubt: bool = False
    """The answer of the step is unknown, and it has not been compensated."""
    was_in_doubt: bool = False
    """The step was in doubt, and was compensated."""

    @property
    def stands(self) -> bool:
        """True if the step is, or may be, in force."""
        return self.executed > self.compensated or self.is_in_doubt


class RunFacts(Struct, frozen=True):
    """Facts of one run. `published` has the ids of its events, `delivered` the pairs of id and subscriber.

    `events` counts its events, `events_before` those before its last resume.
    """

    steps: tuple[StepFacts, ...] = ()
    is_started: bool = False
    has_failed: bool = False
    outcome: str | None = None
    replies: tuple[str, ...] = ()
    published: Set[str] = frozenset()
    delivered: Set[tuple[str, str]] = frozenset()
    events: int = 0
    events_before: int = 0


class ResourceFacts(Struct, frozen=True, gc=False):
    """Facts of one resource: last reported value and version, the run that locked it, and the version each run read."""

    value: int | str | None = None
    version: int = 0
    locked_by: str | None = None
    reads: tuple[tuple[str, int], ...] = ()


class History(Struct, frozen=True):
    """History of a trace: runs by id, resources by name."""

    runs: tuple[tuple[str, RunFacts], ...] = ()
    resources: tuple[tuple[str, ResourceFacts], ...] = ()

    def run(self, run: str | None) -> RunFacts:
        return next((facts for name, facts in self.runs if name == run), RunFacts())

    def resource(self, name: str | None) -> ResourceFacts:
        return next((facts for each, facts in self.resources if each == name), ResourceFacts())


def begin(known: Known) -> History:
    return History(tuple((name, RunFacts((StepFacts(),) * len(run.steps))) for name, run in known.runs.items()))


def advance(history: History, record: Record, known: Known) -> History:
    """Return the history extended by one record."""
    if record.resource is not None:
        return _with_resource(history, record)
    run = known.runs.get(record.run or "")
    if run is None or record.run is None:
        return history
    before = history.run(record.run)
    after = _advanced(before, record, run, known)
    if after is before:
        return history
    return replace(history, runs=tuple((n, after if n == record.run else f) for n, f in history.runs))


def _advanced(facts: RunFacts, record: Record, run: RunModel, known: Known) -> RunFacts:
    match record.action:
        case vocabulary.PUBLISH:
            return _published(facts, record, known)
        case vocabulary.DELIVER | vocabulary.TIMER:
            if record.event == STEP_TIMED_OUT and _is_running(facts, record.position):
                facts = replace(facts, has_failed=True)
            return replace(facts, delivered=facts.delivered | {(str(record.id), str(record.source))})
        case vocabulary.REPLY:
            return replace(facts, replies=(*facts.replies, record.event))
        case vocabulary.EXECUTE | vocabulary.COMPENSATE if record.reason is None and record.position is not None:
            return _with_effect(facts, record.position, record.action)
        case vocabulary.EXECUTE if record.in_doubt and record.position is not None:
            return _in_doubt(facts, record.position)
        case vocabulary.EXECUTE if record.position is not None and run.kinds[record.position] is Kind.RETRIABLE:
            step = facts.steps[record.position]
            return _with_step(facts, record.position, replace(step, tries=step.tries + 1))
        case vocabulary.RESUME:
            return replace(facts, outcome=None, events_before=facts.events)
        case vocabulary.OTHER:
            return replace(facts, published=facts.published | {str(record.id)})
    return facts


def _is_running(facts: RunFacts, position: int | None) -> bool:
    """True if the step has not committed: a timer after the commit has no effect."""
    return position is not None and not facts.steps[position].executed


def _published(facts: RunFacts, record: Record, known: Known) -> RunFacts:
    position, event = record.position, record.event
    if not known.has_effects and position is not None and event in EFFECTS:
        facts = _with_effect(facts, position, EFFECTS[event])
    if position is not None and event in SAID:
        facts = _with_step(facts, position, replace(facts.steps[position], **{SAID[event]: True}))
    is_outcome = event in OUTCOMES and record.source != IDEMPOTENT_RECEIVER
    return replace(
        facts,
        is_started=facts.is_started or event == SAGA_STARTED,
        has_failed=facts.has_failed or event in FAILURES,
        outcome=event if is_outcome and facts.outcome is None else facts.outcome,
        published=facts.published | {str(record.id)},
        events=facts.events + 1,
    )


SAID = {
    STEP_CANCELLED: "is_cancelled",
    STEP_SUCCEEDED: "said_succeeded",
    STEP_COMPENSATED: "said_compensated",
}
"""The fields that record the events a step has published."""

EFFECTS = {STEP_SUCCEEDED: EXECUTE, STEP_COMPENSATED: COMPENSATE}
"""The effects inferred from a step's events, for traces without records of effects."""


def _with_effect(facts: RunFacts, position: int, action: str) -> RunFacts:
    step = facts.steps[position]
    if action == EXECUTE:
        return _with_step(facts, position, replace(step, executed=step.executed + 1, is_in_doubt=False))
    if step.is_in_doubt:
        return _with_step(facts, position, replace(step, is_in_doubt=False, was_in_doubt=True))
    return _with_step(facts, position, replace(step, compensated=step.compensated + 1))


def _in_doubt(facts: RunFacts, position: int) -> RunFacts:
    """Mark the step as in doubt, until a retry succeeds or it is compensated."""
    step = facts.steps[position]
    return _with_step(replace(facts, has_failed=True), position, replace(step, tries=step.tries + 1, is_in_doubt=True))


def _with_step(facts: RunFacts, position: int, step: StepFacts) -> RunFacts:
    return replace(facts, steps=(*facts.steps[:position], step, *facts.steps[position + 1 :]))


def _with_resource(history: History, record: Record) -> History:
    name, run = str(record.resource), str(record.run)
    facts = history.resource(name)
    match record.action:
        case vocabulary.LOCK:
            facts = replace(facts, locked_by=run)
        case vocabulary.RELEASE if facts.locked_by == run:
            facts = replace(facts, locked_by=None)
        case vocabulary.READ:
            facts = replace(facts, value=record.value, reads=_with_read(facts, run, record.version or 0))
        case vocabulary.WRITE:
            version = record.version or 0
            knows = dict(facts.reads).get(run) == version - 1
            reads = _with_read(facts, run, version) if knows else facts.reads
            facts = replace(facts, value=record.value, version=version, reads=reads)
    return replace(history, resources=tuple(sorted([*(r for r in history.resources if r[0] != name), (name, facts)])))


def _with_read(facts: ResourceFacts, run: str, version: int) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((dict(facts.reads) | {run: version}).items()))


def pivot_of(run: RunModel) -> int | None:
    """Return the position of the pivot, or None."""
    return run.kinds.index(Kind.PIVOT) if Kind.PIVOT in run.kinds else None


def outcomes_of(history: History) -> Iterator[str]:
    """Yield the outcome of each started run: `completed`, `compensated`, `stuck` or `none`."""
    for _, facts in history.runs:
        if facts.is_started:
            yield "none" if facts.outcome is None else fact_of(facts.outcome)

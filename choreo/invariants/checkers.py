"""The invariants, one function each: S1 to S12 are safety properties, L1 to L5 are liveness properties.

Laws: pure. A safety checker gets the history before a record, and the record. A liveness checker gets the history once
no further event can occur. Each returns the violation in a sentence, or None. Sources: docs/reference/invariants.md.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from choreo.invariants.history import History, RunFacts, pivot_of
from choreo.invariants.known import Known, RunModel
from choreo.saga.definition import Kind
from choreo.saga.roles import IDEMPOTENT_RECEIVER
from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    CALLS,
    COMPENSATE,
    DELIVER,
    EXECUTE,
    LOCK,
    OUTCOMES,
    PUBLISH,
    READ,
    REPLY,
    RESUME,
    SAGA_ASK,
    SAGA_COMPENSATED,
    SAGA_COMPLETED,
    SAGA_STARTED,
    SAGA_STUCK,
    SAGA_UNREADABLE,
    STEP_FAILED,
    STEP_SUCCEEDED,
    TIMER,
    WRITE,
)

CLIENTS_OWN = (SAGA_STARTED, SAGA_ASK)
"""Events that a client publishes without a cause."""

AtRecord = Callable[[History, Record, RunModel, Known], str | None]
AtRest = Callable[[History, Known], str | None]


class Invariant(Struct, frozen=True):
    """One invariant: checked at every record of some actions, or at rest, or both."""

    code: str
    title: str
    actions: tuple[str, ...] = ()
    at_record: AtRecord | None = None
    at_rest: AtRest | None = None


class Broken(Struct, frozen=True):
    """A violation of an invariant, with an explanation in one sentence."""

    code: str
    title: str
    sentence: str


def all_or_nothing(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S1: in a completed run, every step took effect once; in a compensated run, each took no effect or was undone."""
    if record.event not in (SAGA_COMPLETED, SAGA_COMPENSATED) or record.source == IDEMPOTENT_RECEIVER:
        return None
    steps = history.run(record.run).steps
    for position, (name, step) in enumerate(zip(run.steps, steps, strict=True)):
        if record.event == SAGA_COMPLETED and (step.executed, step.compensated) != (1, 0):
            return f"completed, but {name} {_did(step.executed, step.compensated)}"
        if record.event == SAGA_COMPENSATED:
            if step.is_in_doubt:
                return f"compensated, but {name} may have taken effect: its answer is unknown"
            if step.executed != step.compensated or step.executed > 1:
                return f"compensated, but {name} {_did(step.executed, step.compensated)}"
            if step.executed and not _may_be_undone(run, position):
                return f"compensated, but {name} took effect, and it is the pivot or comes after it"
    return None


def half_done(history: History, known: Known) -> str | None:
    """S1 at rest: no run without an outcome has both a compensated step and a step in force."""
    for name, facts in history.runs:
        run = known.runs[name]
        undone = [n for n, s in zip(run.steps, facts.steps, strict=True) if s.compensated]
        standing = [n for n, s in zip(run.steps, facts.steps, strict=True) if s.stands]
        if undone and standing and facts.outcome is None:
            return f"{', '.join(undone)} undone, yet {', '.join(standing)} in force: neither all nor nothing"
    return None


def at_most_once(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S2: neither the local transaction nor the compensation of a step takes effect twice."""
    if not _is_effect(record):
        return None
    step = history.run(record.run).steps[_position(record)]
    if record.action == EXECUTE and step.executed:
        return f"{record.step} took effect twice"
    if record.action == COMPENSATE and step.compensated:
        return f"{record.step} was undone twice"
    return None


def no_undo_without_cause(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S3: only a step that took effect is compensated, and only after a failure."""
    if not _is_effect(record):
        return None
    facts = history.run(record.run)
    step = facts.steps[_position(record)]
    if not step.executed and not step.is_in_doubt:
        return f"{record.step} was undone before it was done"
    return None if facts.has_failed else f"{record.step} was undone, and nothing had failed"


def no_zombie(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S4: a step that was compensated or cancelled takes no further effect."""
    if not _is_effect(record):
        return None
    step = history.run(record.run).steps[_position(record)]
    if step.is_cancelled:
        return f"{record.step} took effect after it was cancelled"
    is_undone = step.compensated or step.was_in_doubt
    return f"{record.step} took effect after it was compensated" if is_undone else None


def reverse_order(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S5: of two compensated steps, the one that depends on the other is compensated first."""
    if not _is_effect(record):
        return None
    facts = history.run(record.run)
    for before in sorted(run.ancestors[_position(record)]):
        if facts.steps[before].compensated:
            return f"{record.step} depends on {run.steps[before]}, and was undone after it"
    return None


def no_return(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S6: no step is compensated after the pivot has committed."""
    pivot = pivot_of(run)
    if not _is_effect(record) or pivot is None:
        return None
    if history.run(record.run).steps[pivot].executed:
        return f"{record.step} was undone after the point of no return: {run.steps[pivot]} had committed"
    return None


def one_outcome(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S7: a run has one outcome, a request is executed once, and every retry gets the same reply.

    Only a stuck run may be resumed; it then has one more outcome.
    """
    facts = history.run(record.run)
    if record.action == RESUME:
        return None if facts.outcome == SAGA_STUCK else f"the run was resumed, and it {_stood(facts.outcome)}"
    if run.twin is not None and record.action == EXECUTE and _is_effect(record):
        return executed_in_both(history.run(run.twin), run, _position(record))
    if record.action == PUBLISH and record.event in OUTCOMES and facts.outcome is not None:
        if record.source != IDEMPOTENT_RECEIVER:
            return f"the run had ended as {_word(facts.outcome)}, and ended again as {_word(record.event)}"
        if record.event != facts.outcome:
            return (
                f"the run had ended as {_word(facts.outcome)}, and whoever asked again was told {_word(record.event)}"
            )
    if record.action == REPLY and facts.replies and record.event not in facts.replies:
        return f"the client was told {_word(facts.replies[0])}, and then {_word(record.event)}"
    return None


def executed_in_both(twin: RunFacts, run: RunModel, position: int) -> str | None:
    """Return the violation if the step took effect in both runs of the same request, or None."""
    if not twin.steps or not twin.steps[position].executed:
        return None
    return f"{run.saga_id} was asked for once, and {run.steps[position]} took effect in two runs"


def honest_reply(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S8: a reply to the client is true, and remains true."""
    facts = history.run(record.run)
    if _is_effect(record) and facts.outcome in (SAGA_COMPLETED, SAGA_COMPENSATED):
        return f"the outcome was {_word(facts.outcome)}, and after it {record.step} {_effect(record)}"
    if record.action == REPLY and record.event in OUTCOMES and facts.outcome != record.event:
        return f"the client was told {_word(record.event)}, and the outcome is {_word(facts.outcome)}"
    if record.action == PUBLISH and record.event == SAGA_COMPENSATED and record.source != IDEMPOTENT_RECEIVER:
        standing = [n for n, s in zip(run.steps, facts.steps, strict=True) if s.stands]
        if standing:
            is_known = not any(s.is_in_doubt for s in facts.steps)
            return f"compensated was said, and {', '.join(standing)} {'is' if is_known else 'may be'} in force"
        undone = [n for n, s in zip(run.steps, facts.steps, strict=True) if s.compensated]
        if record.undone is not None and sorted(record.undone) != sorted(undone):
            return f"{_names(record.undone)} was said to be undone, and it was {_names(undone)}"
        return None
    if record.action == PUBLISH and record.event == SAGA_COMPLETED and record.source != IDEMPOTENT_RECEIVER:
        lacking = [n for n, s in zip(run.steps, facts.steps, strict=True) if not s.stands]
        return f"completed was said, and {', '.join(lacking)} is not in force" if lacking else None
    return None


def nothing_from_nowhere(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S9: each event has a cause that its publisher had received, and reports an effect that has happened."""
    facts = history.run(record.run)
    if record.action != PUBLISH:
        is_known = record.id in facts.published
        return None if is_known else f"{record.source} heard {record.id}, which nobody had published"
    if record.event == STEP_SUCCEEDED and known.has_effects and not facts.steps[_position(record)].executed:
        return f"{record.step} said that it had succeeded, and had not committed"
    if record.causation_id is None:
        is_first = record.event in CLIENTS_OWN or not (facts.published or known.has_deliveries)
        return None if is_first or not known.has_causes else f"{record.id} has no cause"
    if known.has_deliveries and record.event != SAGA_UNREADABLE:  # dead letters are handed over, without a delivery
        if (record.causation_id, str(record.source)) not in facts.delivered:
            return f"{record.id} names the cause {record.causation_id}, which {record.source} had not heard"
    elif record.causation_id not in facts.published:
        return f"{record.id} names the cause {record.causation_id}, which nobody had published"
    return None


def conservation(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S10: each change of a resource adds up, and no resource falls below its minimum."""
    if record.resource is None:
        return None
    before, value = history.resource(record.resource).value, record.value
    if isinstance(before, int) and record.delta is not None and value != before + record.delta:
        return f"{record.resource} was {before}, {record.delta:+} was added, and it is {value}"
    minimum = known.minima.get(record.resource)
    if minimum is not None and isinstance(value, int) and value < minimum:
        return f"{record.resource} is {value}, below its minimum of {minimum}"
    return None


def isolation(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S11: a locked resource is not accessed by another run; writes use the current version; repeated reads agree."""
    if record.resource is None:
        return None
    facts, name = history.resource(record.resource), f"{record.step} of {run.saga_id}"
    if facts.locked_by is not None and facts.locked_by != record.run:
        return f"{name} {_touched(record)} {record.resource}, which another run had locked"
    if record.action == WRITE and record.based_on is not None and record.based_on != facts.version:
        return f"{name} wrote {record.resource} on version {record.based_on}, and version {facts.version} is lost"
    read = dict(facts.reads).get(str(record.run))
    if record.action == READ and read is not None and read != record.version:
        return f"{name} read {record.resource} twice, and it was not the same"
    return None


def bounded(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S12: a run has at most the number of events that its plan allows, and as many again after each resume."""
    facts = history.run(record.run)
    if facts.events - facts.events_before >= run.events_max:
        return f"the run publishes more than {run.events_max} events: a storm"
    return None


def every_run_ends(history: History, known: Known) -> str | None:
    """L1: every started run has an outcome."""
    unended = [(known.runs[name], facts) for name, facts in history.runs if facts.events and facts.outcome is None]
    if not unended:
        return None
    standing = [n for run, facts in unended for n, s in zip(run.steps, facts.steps, strict=True) if s.stands]
    held = f", and {', '.join(dict.fromkeys(standing))} in force" if standing else ""
    names = " and ".join(dict.fromkeys(str(run.saga_id) for run, _ in unended))
    return f"{names} came to rest without an outcome{held}"


def everything_is_undone(history: History, known: Known) -> str | None:
    """L2: a run with a failure leaves no step in force, unless it is stuck; every compensation is published."""
    for name, facts in _unended_or(history, SAGA_COMPENSATED):
        run = known.runs[name]
        steps = list(enumerate(zip(run.steps, facts.steps, strict=True)))
        standing = [step for position, (step, did) in steps if did.stands and _may_be_undone(run, position)]
        if facts.has_failed and standing:
            verb = "was" if len(standing) == 1 else "were"
            return f"{run.saga_id} turned back, and {' and '.join(standing)} {verb} never undone"
        for _, (step, did) in steps:
            if facts.outcome is not None and did.compensated and not did.said_compensated:
                return f"{step} of {run.saga_id} was undone, and nobody was ever told"
    return None


def no_early_surrender(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """L3: a retriable step fails only after all its attempts."""
    if record.event != STEP_FAILED or not run.attempts or run.kinds[_position(record)] is not Kind.RETRIABLE:
        return None
    tries, attempts = history.run(record.run).steps[_position(record)].tries, run.attempts[_position(record)]
    return f"{record.step} is retriable, and gave up after {tries} of {attempts} tries" if tries < attempts else None


def forward_recovery(history: History, known: Known) -> str | None:
    """L3: after the pivot, every retriable step commits; every commit is published."""
    for name, facts in _unended_or(history, SAGA_COMPLETED):
        run, pivot = known.runs[name], pivot_of(known.runs[name])
        for position, (step, did) in enumerate(zip(run.steps, facts.steps, strict=True)):
            if did.executed > did.compensated and not did.said_succeeded:
                return f"{step} of {run.saga_id} committed, and nobody was ever told"
            is_due = pivot is not None and facts.steps[pivot].stands and run.kinds[position] is Kind.RETRIABLE
            if is_due and not did.executed:
                return f"{step} of {run.saga_id} is retriable, and never committed after the pivot"
    return None


def everyone_is_answered(history: History, known: Known) -> str | None:
    """L4: every client of a run that has ended got a reply."""
    for name, facts in history.runs:
        if known.has_replies and facts.outcome is not None and not facts.replies:
            return f"{known.runs[name].saga_id} ended as {_word(facts.outcome)}, and its client was never told"
    return None


def locks_are_released(history: History, known: Known) -> str | None:
    """L5: no run holds a lock for ever, unless it is stuck."""
    for name, facts in history.resources:
        if facts.locked_by is not None and history.run(facts.locked_by).outcome != SAGA_STUCK:
            owner = known.runs[facts.locked_by].saga_id if facts.locked_by in known.runs else facts.locked_by
            return f"{name} is locked by {owner} for ever"
    return None


INVARIANTS = (
    Invariant("S1", "all or nothing", (PUBLISH,), all_or_nothing, half_done),
    Invariant("S2", "at most once", (EXECUTE, COMPENSATE), at_most_once),
    Invariant("S3", "no undo without a do and a cause", (COMPENSATE,), no_undo_without_cause),
    Invariant("S4", "no zombie", (EXECUTE,), no_zombie),
    Invariant("S5", "reverse order", (COMPENSATE,), reverse_order),
    Invariant("S6", "no return past the pivot", (COMPENSATE,), no_return),
    Invariant("S7", "one outcome", (EXECUTE, PUBLISH, REPLY, RESUME), one_outcome),
    Invariant("S8", "honest reply", (EXECUTE, COMPENSATE, PUBLISH, REPLY), honest_reply),
    Invariant("S9", "nothing from nowhere", (PUBLISH, DELIVER, TIMER), nothing_from_nowhere),
    Invariant("S10", "conservation", (WRITE,), conservation),
    Invariant("S11", "isolation", (LOCK, READ, WRITE), isolation),
    Invariant("S12", "bounded", (PUBLISH,), bounded),
    Invariant("L5", "locks are released", at_rest=locks_are_released),
    Invariant("L2", "everything is undone", at_rest=everything_is_undone),
    Invariant("L3", "forward recovery", (PUBLISH,), no_early_surrender, forward_recovery),
    Invariant("L4", "everyone is answered", at_rest=everyone_is_answered),
    Invariant("L1", "every run ends", at_rest=every_run_ends),
)
"""The more specific liveness properties come first: the first violation reported is the most informative."""


def _is_effect(record: Record) -> bool:
    return record.action in CALLS and record.reason is None and record.position is not None


def _position(record: Record) -> int:
    return -1 if record.position is None else record.position


def _may_be_undone(run: RunModel, position: int) -> bool:
    return run.kinds[position] is Kind.COMPENSATABLE


def _unended_or(history: History, outcome: str) -> Iterator[tuple[str, RunFacts]]:
    return ((name, facts) for name, facts in history.runs if facts.outcome in (None, outcome))


def _did(executed: int, compensated: int) -> str:
    return f"took effect {_times(executed)} and was undone {_times(compensated)}"


def _word(outcome: str | None) -> str:
    return "not known" if outcome is None else outcome.removeprefix("saga.")


def _stood(outcome: str | None) -> str:
    return "had not ended" if outcome is None else f"had ended as {_word(outcome)}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _effect(record: Record) -> str:
    return "took effect" if record.action == EXECUTE else "was undone"


def _touched(record: Record) -> str:
    return {LOCK: "locked", READ: "read"}.get(record.action, "changed")

"""Safety: what no correct execution ever does, S1 to S12, one function each.

Laws: pure. Each checker gets the history before a record, and the record; S1 is checked at rest as well. Sources:
docs/reference/invariants.md.
"""

from collections.abc import Sequence

from choreo.invariants.history import History, RunFacts, pivot_of
from choreo.invariants.known import Known, RunModel
from choreo.invariants.wording import may_be_undone, outcome_text, position_of
from choreo.saga.roles import IDEMPOTENT_RECEIVER
from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    CALLS,
    COMPENSATE,
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
    STEP_SUCCEEDED,
    WRITE,
)

CLIENTS_OWN = (SAGA_STARTED, SAGA_ASK)
"""Events that a client publishes without a cause."""


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
            if step.executed and not may_be_undone(run, position):
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
    step = history.run(record.run).steps[position_of(record)]
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
    step = facts.steps[position_of(record)]
    if not step.executed and not step.is_in_doubt:
        return f"{record.step} was undone before it was done"
    return None if facts.has_failed else f"{record.step} was undone, and nothing had failed"


def no_zombie(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S4: a step that was compensated or cancelled takes no further effect."""
    if not _is_effect(record):
        return None
    step = history.run(record.run).steps[position_of(record)]
    if step.is_cancelled:
        return f"{record.step} took effect after it was cancelled"
    is_undone = step.compensated or step.was_in_doubt
    return f"{record.step} took effect after it was compensated" if is_undone else None


def reverse_order(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """S5: of two compensated steps, the one that depends on the other is compensated first."""
    if not _is_effect(record):
        return None
    facts = history.run(record.run)
    for before in sorted(run.ancestors[position_of(record)]):
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
        return executed_in_both(history.run(run.twin), run, position_of(record))
    if record.action == PUBLISH and record.event in OUTCOMES and facts.outcome is not None:
        before, now = outcome_text(facts.outcome), outcome_text(record.event)
        if record.source != IDEMPOTENT_RECEIVER:
            return f"the run had ended as {before}, and ended again as {now}"
        if record.event != facts.outcome:
            return f"the run had ended as {before}, and whoever asked again was told {now}"
    if record.action == REPLY and facts.replies and record.event not in facts.replies:
        return f"the client was told {outcome_text(facts.replies[0])}, and then {outcome_text(record.event)}"
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
        return f"the outcome was {outcome_text(facts.outcome)}, and after it {record.step} {_effect(record)}"
    if record.action == REPLY and record.event in OUTCOMES and facts.outcome != record.event:
        return f"the client was told {outcome_text(record.event)}, and the outcome is {outcome_text(facts.outcome)}"
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
    if record.event == STEP_SUCCEEDED and known.has_effects and not facts.steps[position_of(record)].executed:
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


def _is_effect(record: Record) -> bool:
    return record.action in CALLS and record.reason is None and record.position is not None


def _did(executed: int, compensated: int) -> str:
    return f"took effect {_times(executed)} and was undone {_times(compensated)}"


def _stood(outcome: str | None) -> str:
    return "had not ended" if outcome is None else f"had ended as {outcome_text(outcome)}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _effect(record: Record) -> str:
    return "took effect" if record.action == EXECUTE else "was undone"


def _touched(record: Record) -> str:
    return {LOCK: "locked", READ: "read"}.get(record.action, "changed")

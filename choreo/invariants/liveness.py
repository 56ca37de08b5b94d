"""Liveness: what every execution reaches once the faults stop, L1 to L5, one function each.

Laws: pure. Each checker gets the history once no further event can occur; L3 is checked at a failure as well. Sources:
docs/reference/invariants.md.
"""

from collections.abc import Iterator

from choreo.invariants.history import History, RunFacts, pivot_of
from choreo.invariants.known import Known, RunModel
from choreo.invariants.wording import may_be_undone, outcome_text, position_of
from choreo.saga.definition import Kind
from choreo.saga.service import told_to_refuse
from choreo.trace.record import Record
from choreo.trace.vocabulary import SAGA_COMPENSATED, SAGA_COMPLETED, SAGA_STUCK, STEP_FAILED


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
        standing = [step for position, (step, did) in steps if did.stands and may_be_undone(run, position)]
        if facts.has_failed and standing:
            verb = "was" if len(standing) == 1 else "were"
            return f"{run.saga_id} turned back, and {' and '.join(standing)} {verb} never undone"
        for _, (step, did) in steps:
            if facts.outcome is not None and did.compensated and not did.said_compensated:
                return f"{step} of {run.saga_id} was undone, and nobody was ever told"
    return None


def no_early_surrender(history: History, record: Record, run: RunModel, known: Known) -> str | None:
    """L3: a retriable step fails only after all its attempts."""
    if record.event != STEP_FAILED or not run.attempts or run.kinds[position_of(record)] is not Kind.RETRIABLE:
        return None
    tries, attempts = history.run(record.run).steps[position_of(record)].tries, run.attempts[position_of(record)]
    if not tries and (not known.has_effects or record.reason == told_to_refuse(str(record.step))):
        return None  # the trace has no calls, or the request let the step refuse without one
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
            return f"{known.runs[name].saga_id} ended as {outcome_text(facts.outcome)}, and its client was never told"
    return None


def locks_are_released(history: History, known: Known) -> str | None:
    """L5: no run holds a lock for ever, unless it is stuck."""
    for name, facts in history.resources:
        if facts.locked_by is not None and history.run(facts.locked_by).outcome != SAGA_STUCK:
            owner = known.runs[facts.locked_by].saga_id if facts.locked_by in known.runs else facts.locked_by
            return f"{name} is locked by {owner} for ever"
    return None


def _unended_or(history: History, outcome: str) -> Iterator[tuple[str, RunFacts]]:
    return ((name, facts) for name, facts in history.runs if facts.outcome in (None, outcome))

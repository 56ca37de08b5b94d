"""Outcome of a run, derived from the events that the coordinator or the orchestrator received.

Laws: it reports received events and assumes no others.
"""

from typing import Any

from choreo.protocol.event import Event, Fact, InDoubt, Topic
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Plan
from choreo.saga.raised import Defect

Log = Any
"""A linked list `(event, older)` or None: appending takes constant time, however long the run."""

Ends = dict[int, Event]
"""The event that ended each step backward (failed, cancelled, compensated or stuck), by position; the newest first."""

# A member lookup on an enum is slow in Python 3.11.
FACT_FAILED, FACT_COMPENSATED, FACT_COMPENSATION_FAILED = Fact.FAILED, Fact.COMPENSATED, Fact.COMPENSATION_FAILED
STATE_COMPENSATED, STATE_STUCK = State.COMPENSATED, State.STUCK

RAISED = (Defect, InDoubt)
"""Detail types of a step whose service raised an exception other than `Refused`."""


class OutcomeTopics:
    """The three outcome topics of `source`; `prefix` distinguishes recorded outcomes from the events."""

    def __init__(self, source: str, prefix: str = "saga") -> None:
        self.completed = Topic(f"{prefix}/completed", Fact.COMPLETED, source)
        self.compensated = Topic(f"{prefix}/compensated", Fact.COMPENSATED, source)
        self.stuck = Topic(f"{prefix}/stuck", Fact.STUCK, source)


def ends_of(log: Log) -> Ends:
    """Return the events by position. Of duplicates, the first counts."""
    ends: Ends = {}
    while log is not None:
        event, log = log
        position = event.topic.position
        if position in ends:
            del ends[position]
        ends[position] = event
    return ends


def backward_outcome(plan: Plan, ends: Ends) -> Outcome:
    """Return the outcome of a run that went backward: compensated, or stuck at the first compensation that failed.

    Steps are listed in the order of their compensation. Where events overtook each other, the plan is more exact than
    the order of arrival: a step is compensated after the steps that depend on it.
    """
    compensated: list[int] = []
    failed: Event | None = None
    stuck: Event | None = None
    raised: Event | None = None
    in_doubt: list[Event] = []
    for position, event in ends.items():
        fact, detail = event.topic.fact, event.detail
        if fact is FACT_COMPENSATED:
            compensated.append(position)
            if detail is not None and failed is None:
                failed = event  # the step was given up, which is why the saga went backward
            continue
        if fact is FACT_FAILED:
            failed = event
        elif fact is FACT_COMPENSATION_FAILED:
            stuck = event
        if detail.__class__ in RAISED:
            raised = event
            if isinstance(detail, InDoubt) or (isinstance(detail, Defect) and detail.is_undone):
                in_doubt.append(event)
    compensated.reverse()
    compensated.sort(key=None if plan.is_chain else plan.depths.__getitem__, reverse=True)
    names = plan.steps
    steps = tuple([names[position] for position in compensated])
    state, because = (STATE_COMPENSATED, failed) if stuck is None else (STATE_STUCK, stuck)
    stuck_step, reason = None if stuck is None else stuck.topic.step, None if because is None else because.reason
    if raised is None:
        return Outcome(state, 0, steps, stuck_step, reason)
    if stuck is not None:
        raised = stuck if isinstance(stuck.detail, Defect | InDoubt) else raised
        in_doubt = [event for event in in_doubt if isinstance(event.detail, InDoubt)]  # the other ones were compensated
    doubtful = tuple([names[position] for position in sorted(event.topic.position for event in in_doubt)])
    return Outcome(state, 0, steps, stuck_step, reason, raised.reason, raised.topic.step, doubtful)

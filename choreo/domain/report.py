"""How a run's outcome is put together from the events that were heard.

Laws: reports what was heard, and assumes nothing.
"""

from collections.abc import Iterator
from typing import Any

from choreo.domain.event import Defect, Event, Fact, Topic
from choreo.domain.outcome import Outcome, State

Log = Any
"""A linked list `(event, older)` or None: adding to it is cheap, however long the run."""

FAILED, COMPENSATED, COMPENSATION_FAILED = Fact.FAILED, Fact.COMPENSATED, Fact.COMPENSATION_FAILED
IS_COMPENSATED, IS_STUCK = State.COMPENSATED, State.STUCK


class OutcomeTopics:
    """The three topics under which `source` publishes how a run ended."""

    def __init__(self, source: str) -> None:
        self.completed = Topic("saga/completed", Fact.COMPLETED, source)
        self.compensated = Topic("saga/compensated", Fact.COMPENSATED, source)
        self.stuck = Topic("saga/stuck", Fact.STUCK, source)


def events_of(log: Log) -> Iterator[Event]:
    """The events, the newest first."""
    while log is not None:
        event, log = log
        yield event


def backward_outcome(log: Log) -> Outcome:
    """What became of a run that went backward: compensated, or stuck at the first compensation that kept failing."""
    compensated: list[str | None] = []
    failed = stuck = defect = None
    while log is not None:
        event, log = log
        fact = event.topic.fact
        if fact is COMPENSATED:
            compensated.append(event.topic.step)
            continue
        if fact is FAILED:
            failed = event
        elif fact is COMPENSATION_FAILED:
            stuck = event
        if type(event.detail) is Defect:
            defect = f"{event.topic.step}: {event.detail.summary}"
    compensated.reverse()
    if stuck is None:
        return Outcome(IS_COMPENSATED, 0, tuple(compensated), None, failed.reason, defect)
    return Outcome(IS_STUCK, 0, tuple(compensated), stuck.topic.step, stuck.reason, defect)

"""Trace records of events, calls and effects: event → record, once, for the node, the lab and the journal.

Laws: pure; knows no clock. The writer of a trace gives the number and the time, or sets them later.
"""

import json
from typing import Any

from choreo.protocol.event import Event, Fact, InDoubt, Run
from choreo.saga.data import as_text
from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect
from choreo.trace.record import Record
from choreo.trace.vocabulary import EVENT_OF_EFFECT, OPERATOR, PUBLISH, RESUME, SAGA_RESUMED


def event_record(event: Event, action: str, source: str, seq: int = 0, time: str | float = 0) -> Record:
    """Return the record of an event: published or received, or lost to a fault. `source` is the acting participant."""
    topic, run = event.topic, event.run
    step = topic.step
    record = Record(
        seq,
        time,
        topic.event,
        action,
        run.saga_id,
        run.id,
        source,
        step,
        None if step is None else topic.position,
        event.id,
        None if event.cause is None else event.causation_id,
    )
    if event.detail is not None:
        record.reason = event.reason
    return record


def traceback_of(event: Event) -> str | None:
    """Return the traceback of the exception that an event reports, or None."""
    detail = event.detail
    return detail.traceback if isinstance(detail, Defect | InDoubt) else None


def data_of(event: Event) -> tuple[Any, Any]:
    """Return the input, if the event starts a run, and the result, if it tells of a success; otherwise None."""
    topic, data = event.topic, event.data
    if topic.fact is Fact.STARTED and event.run.input is not None:
        return json.loads(event.run.input), None
    if topic.fact is Fact.SUCCEEDED and data is not None and data[0] == topic.position:
        return None, json.loads(as_text(data[2]))
    return None, None


def published_record(event: Event, seq: int = 0, time: str | float = 0) -> Record:
    """Return the record of a published event; of an outcome, with the compensated steps."""
    record = event_record(event, PUBLISH, event.topic.source, seq, time)
    if isinstance(event.detail, Outcome):
        record.undone = event.detail.compensated_steps
    return record


def effect_record(
    action: str,
    step: str | None,
    position: int | None,
    run: Run | None,
    causation_id: str | None,
    seq: int = 0,
    time: str | float = 0,
) -> Record:
    """Return the record of a call of a service, or of its effect on a resource; without a run, nobody asked for it."""
    saga_id, run_id = (None, None) if run is None else (run.saga_id, run.id)
    event = EVENT_OF_EFFECT[action]
    return Record(seq, time, event, action, saga_id, run_id, step, step, position, None, causation_id)


def resumed_record(run: Run, seq: int = 0, time: str | float = 0) -> Record:
    """Return the record of the request of an operator to resume a stuck run."""
    return Record(seq, time, SAGA_RESUMED, RESUME, run.saga_id, run.id, OPERATOR)

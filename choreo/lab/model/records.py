"""Trace records of the lab, in the schema of the node's trace.

Laws: pure; the driver sets `seq` and `time`.
"""

from collections.abc import Iterable

from choreo.lab.model.resources import Effect
from choreo.lab.model.world import Delivery, Lane
from choreo.protocol.event import Event, Timer
from choreo.saga.outcome import Outcome
from choreo.trace.record import Record

COMMANDS = {"execute": "step.execute", "compensate": "step.compensate"}


def published(event: Event) -> Record:
    """An event was published."""
    record = _of_event(event, "publish", event.topic.source)
    if isinstance(event.detail, Outcome):
        record.undone = event.detail.compensated_steps
    return record


def delivered(event: Event, lane: Lane) -> Record:
    """An event was received; for an outcome that its client receives, this is the reply."""
    if lane.is_client and event.detail.__class__ is Outcome:
        return _of_event(event, "reply", lane.hearer)
    return _of_event(event, "timer" if isinstance(event.topic.fact, Timer) else "deliver", lane.hearer)


def fault(delivery: Delivery, action: str, reason: str | None = None) -> Record:
    """A fault of a delivery, or of its subscriber while it handled the delivery."""
    record = _of_event(delivery.event, action, delivery.lane.hearer)
    record.reason = reason
    return record


def noted(note: Effect, cause: Event) -> Record:
    """An action of a service, or a change of a resource."""
    run = cause.run
    event = COMMANDS.get(note.action, f"resource.{note.action}")
    return Record(
        0,
        0,
        event,
        note.action,
        run.saga_id,
        run.id,
        note.step,
        note.step,
        note.position if note.position >= 0 else None,
        None,
        cause.id,
        note.reason,
        traceback=note.traceback,
        resource=note.resource,
        value=note.value,
        delta=note.delta,
        version=note.version,
        based_on=note.based_on,
        in_doubt=note.in_doubt,
    )


def handled(event: Event, lane: Lane, notes: Iterable[Effect], events: Iterable[Event]) -> tuple[Record, ...]:
    """A whole local transaction: the received event, the notes of the service, the published events."""
    return delivered(event, lane), *(noted(note, event) for note in notes), *map(published, events)


def _of_event(event: Event, action: str, source: str) -> Record:
    topic, run = event.topic, event.run
    return Record(
        0,
        0,
        topic.event,
        action,
        run.saga_id,
        run.id,
        source,
        topic.step,
        None if topic.step is None else topic.position,
        event.id,
        event.causation_id,
        event.reason,
    )

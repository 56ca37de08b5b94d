"""Trace records of the lab: of deliveries, their faults, and the effects of services under test.

Laws: pure; each record is one of `choreo/trace/records.py`. The driver sets `seq` and `time`.
"""

from collections.abc import Iterable, Iterator

from choreo.lab.model.resources import Effect
from choreo.lab.model.world import Delivery, Route, World
from choreo.protocol.event import Event, Timer
from choreo.saga.outcome import Outcome
from choreo.saga.roles import CLIENT
from choreo.trace.record import Record
from choreo.trace.records import effect_record, event_record, published_record, violated_record
from choreo.trace.vocabulary import DELIVER, INVARIANT, REPLY, TIMER


def received(event: Event, route: Route) -> Record:
    """Return the record of a received event; for an outcome that its client receives, this is the reply."""
    if route.is_client and event.detail.__class__ is Outcome:
        return event_record(event, REPLY, route.subscriber)
    return event_record(event, TIMER if isinstance(event.topic.fact, Timer) else DELIVER, route.subscriber)


def fault(delivery: Delivery, action: str, reason: str | None = None) -> Record:
    """Return the record of a fault of a delivery, or of its subscriber while it handled the delivery."""
    record = event_record(delivery.event, action, delivery.route.subscriber)
    record.reason = reason
    return record


def effect_of(effect: Effect, cause: Event) -> Record:
    """Return the record of an action of a service, or of a change of a resource."""
    if effect.action == INVARIANT:
        return violated_record(effect.reason or "", cause.run, effect.step, cause.id)
    position = effect.position if effect.position >= 0 else None
    record = effect_record(effect.action, effect.step, position, cause.run, cause.id)
    record.reason, record.traceback, record.in_doubt = effect.reason, effect.traceback, effect.in_doubt
    if effect.resource is not None:
        record.resource, record.value, record.delta = effect.resource, effect.value, effect.delta
        record.version, record.based_on = effect.version, effect.based_on
    return record


def handled(event: Event, route: Route, effects: Iterable[Effect], events: Iterable[Event]) -> tuple[Record, ...]:
    """Return a whole local transaction: the received event, the effects of the service, the published events."""
    return received(event, route), *(effect_of(each, event) for each in effects), *map(published_record, events)


def first_records(world: World) -> Iterator[Record]:
    """Yield the records of the initial events, and of the invariants of the author's own that are false at once."""
    for _, event in world.first_events():
        yield published_record(event)
    yield from start_records(world)


def start_records(world: World) -> Iterator[Record]:
    """Yield the records of the invariants of the author's own that are false before any delivery."""
    for title in world.violated_at_start:
        yield violated_record(title, world.runs[0].run, CLIENT, None)

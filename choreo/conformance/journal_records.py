"""Trace records from the rows of a journal's run: the same builders as in the node and the lab.

Laws: pure; no receipt is decoded, and no service is called. The effect of a service is inferred from the events that
its participant published in the same transaction. Every row is reported as it stands, even if it contradicts the rows
before it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.compile.table import STARTED
from choreo.conformance.parsed_trace import Line
from choreo.protocol.event import Command, Event, Events, Fact, InDoubt, Timer, Topic
from choreo.saga.data import Encoded
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.raised import Defect
from choreo.saga.roles import CLIENT
from choreo.storage import values
from choreo.storage.replay import RESUMED, Replayer, RunReplay, RunSnapshot, Unreplayable, run_of
from choreo.storage.rows import DeliveryRow, RunRow
from choreo.storage.values import Kept
from choreo.trace.record import Record, time_text
from choreo.trace.records import effect_record, event_record, published_record, resumed_record, traceback_of
from choreo.trace.vocabulary import COMPENSATE, DELIVER, EXECUTE, REPLY, SAGA

CALL_OF: Mapping[Fact | Command | Timer, str] = {
    Fact.SUCCEEDED: EXECUTE,
    Fact.FAILED: EXECUTE,
    Fact.COMPENSATED: COMPENSATE,
    Fact.COMPENSATION_FAILED: COMPENSATE,
    Timer.ATTEMPT: EXECUTE,
    Timer.RETRY: COMPENSATE,
}
"""The call of a service, by the event that its participant published because of it."""

REFUSED = (Fact.FAILED, Fact.COMPENSATION_FAILED, Timer.ATTEMPT, Timer.RETRY)
TRIED_AGAIN = "it failed, and is tried again"
ENDS = (Fact.COMPLETED, Fact.COMPENSATED, Fact.STUCK)

Detail = str | Defect | InDoubt | None


class RunHistory(Struct):
    """A run as its rows describe it. `line` numbers are those of the deliveries; 0 is the request.

    `states` are its successive outcome states, and `outcomes` the complete outcomes as long as the rows are consistent.
    `snapshot` is the present one, or None if they are not; `error` then says why, at delivery `error_at`.
    """

    lines: list[Line]
    states: list[str]
    outcomes: list[Outcome]
    is_resumed: bool = False
    """Whether it was resumed since its last outcome."""
    snapshot: RunSnapshot | None = None
    error: str | None = None
    error_at: int | None = None

    @property
    def records(self) -> list[Record]:
        return [line.record for line in self.lines]


def replayer_of(style: str, key: Itinerary | str) -> Replayer:
    """Return a replayer that decodes no receipts. Raises `Unreplayable`, and the exceptions of `plan`."""
    return Replayer(style, key, _as_it_is_kept)


def run_history(row: RunRow, deliveries: Iterable[DeliveryRow], replayer: Replayer) -> RunHistory:
    """Convert the rows of a run; records are numbered from 1."""
    return _RecordBuilder(row, replayer).history(deliveries)


class _RecordBuilder:
    """Builds the records of one run, row by row."""

    def __init__(self, row: RunRow, replayer: Replayer) -> None:
        self._row = row
        self._table, self._topics = replayer.table, replayer.topics
        self._replay: RunReplay | None = replayer.tale(row)
        self._run = run_of(row.number, row.request, replayer.table.plan, row.key_prefix)
        self._history = RunHistory([], [], [])
        self._published: dict[str, Event] = {}
        self._number, self._at_ms, self._time = 0, -1, ""
        self._in_doubt: dict[int, None] = {}

    def history(self, deliveries: Iterable[DeliveryRow]) -> RunHistory:
        history = self._history
        self._begin_row(0, self._row.begun_ms)
        self._publish(Event(STARTED, self._run))
        for delivery in deliveries:
            self._begin_row(delivery.number, delivery.at_ms)
            self._add_row(delivery, self._replayed(delivery))
        if self._row.outcome is not None and not history.states:
            self._reply(self._row.outcome, None)
        if self._replay is not None:
            history.snapshot = self._replay.stood()
        return history

    def _begin_row(self, number: int, at_ms: int) -> None:
        self._number = number
        if at_ms != self._at_ms:
            self._at_ms, self._time = at_ms, time_text(at_ms)

    def _replayed(self, row: DeliveryRow) -> Events:
        """Replay a row, as long as the rows before it are consistent."""
        if self._replay is None:
            return ()
        try:
            return self._replay.take(row)
        except Unreplayable as error:
            self._history.error = str(error)
        except Exception as error:  # a row that no node writes can hold any value
            self._history.error = f"{self._run.id}, delivery {row.number}: {type(error).__name__}: {error}"
        self._replay, self._history.error_at = None, row.number
        return ()

    # The records of one row

    def _add_row(self, row: DeliveryRow, events: Events) -> None:
        if row.heard == RESUMED:
            self._add(resumed_record(self._run, *self._next()))
            self._history.is_resumed = True
            return
        received = self._topics.get(row.heard)
        if received is not None:
            self._deliver(received, row.seat)
        detail = _read_detail(row.detail)
        outcome = events[-1].detail if events else None
        cause_of = {event.topic.name: event.cause for event in events}
        for topic in self._topics_of(row):
            event = Event(topic, self._run, cause_of.get(topic.name, received), detail)
            self._call(event, received)
            if topic.step is None and topic.fact in ENDS:
                self._end(event, outcome if isinstance(outcome, Outcome) else None)
            else:
                self._publish(event)

    def _topics_of(self, row: DeliveryRow) -> Iterator[Topic]:
        for word in str(row.published).split():
            topic = self._topics.get(word)
            if topic is not None:
                yield topic

    def _call(self, event: Event, cause: Topic | None) -> None:
        """Record the call of a service that led to the event, if there was one."""
        topic, detail = event.topic, event.detail
        if topic.step is None or topic.fact not in CALL_OF:
            return
        undo = detail.undo if isinstance(detail, InDoubt) else None
        is_retry = isinstance(topic.fact, Timer)
        if isinstance(detail, Defect | InDoubt) and (topic.fact is Fact.FAILED or undo is not None or is_retry):
            self._calls_in_doubt(topic, cause, detail)
            if is_retry:
                self._effect(COMPENSATE, topic, cause).reason = TRIED_AGAIN
            return
        record = self._effect(CALL_OF[topic.fact], topic, cause)
        if topic.fact in REFUSED:
            record.reason = event.reason or (TRIED_AGAIN if is_retry else "refused")

    def _calls_in_doubt(self, topic: Topic, cause: Topic | None, detail: Defect | InDoubt) -> None:
        """Record the call in doubt, unless an earlier row has, and the undo or the attempt at it."""
        if topic.position not in self._in_doubt:
            self._in_doubt[topic.position] = None
            record = self._effect(EXECUTE, topic, cause)
            record.reason, record.in_doubt = detail.summary, True
        if isinstance(detail, InDoubt):
            self._effect(COMPENSATE, topic, cause).reason = detail.undo
        elif detail.is_undone:
            self._effect(COMPENSATE, topic, cause)

    def _end(self, event: Event, outcome: Outcome | None) -> None:
        """Record an outcome event, with the complete outcome as long as the rows are consistent."""
        history = self._history
        history.states.append(str(event.topic.fact))
        history.is_resumed = False
        if outcome is not None:
            history.outcomes.append(outcome)
            event = replace(event, detail=outcome)
        record = self._publish(event)
        if len(history.states) == 1 and self._row.outcome is not None:
            self._reply(self._row.outcome, record)

    # One record

    def _publish(self, event: Event) -> Record:
        record = self._add(published_record(event, *self._next()))
        record.traceback = traceback_of(event)
        self._published[event.id] = event
        return record

    def _deliver(self, topic: Topic, seat: int) -> None:
        event = Event(topic, self._run)
        event = self._published.get(event.id, event)
        self._add(event_record(event, DELIVER, self._subscriber(seat), *self._next()))

    def _effect(self, action: str, topic: Topic, cause: Topic | None) -> Record:
        causation_id = None if cause is None else Event(cause, self._run).id
        return self._add(effect_record(action, topic.step, topic.position, self._run, causation_id, *self._next()))

    def _reply(self, outcome: Outcome, end: Record | None) -> None:
        """Record the reply to the client, which is the recorded outcome."""
        record = self._add(Record(*self._next(), f"{SAGA}.{outcome.state}", REPLY, self._run.saga_id, self._run.id))
        record.source, record.in_reply_to = CLIENT, self._row.sender.msg_id
        if end is not None:
            record.id, record.causation_id, record.reason = end.id, end.causation_id, end.reason

    def _next(self) -> tuple[int, str]:
        """Return the number and the time of the next record."""
        return len(self._history.lines) + 1, self._time

    def _add(self, record: Record) -> Record:
        self._history.lines.append(Line(self._number, record))
        return record

    def _subscriber(self, seat: int) -> str:
        subscribers = self._table.subscribers
        return subscribers[seat] if 0 <= seat < len(subscribers) else f"seat {seat}"


def _as_it_is_kept(receipt: Kept) -> Any:
    """Return a result undecoded: no class is imported that it names."""
    return None if receipt is None else Encoded(receipt)


def _read_detail(text: str | None) -> Detail:
    """Decode the reason of a failure: a text, an exception, or the details of a call in doubt."""
    try:
        return values.read_detail(text)
    except Exception:  # no node has written it
        return _read_odd_detail(text)


def _read_odd_detail(text: Any) -> str | None:
    try:
        detail = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    reason = detail.get("summary", detail.get("reason")) if isinstance(detail, dict) else detail
    return None if reason is None else str(reason)

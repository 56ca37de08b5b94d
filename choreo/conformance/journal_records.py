"""Trace records from the rows of a journal's run: the same schema and the same words as in the lab.

Laws: pure; no receipt is decoded, and no service is called. The effect of a service is inferred from the events that
its participant published in the same transaction. Every row is reported as it stands, even if it contradicts the rows
before it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from choreo.compile.table import STARTED
from choreo.conformance.parsed_trace import Line
from choreo.conformance.vocabulary import RESUME, RESUMED
from choreo.protocol.event import Command, Events, Fact, InDoubt, Timer, Topic
from choreo.saga.data import Encoded
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.raised import Defect
from choreo.storage import values
from choreo.storage.replay import RESUMED as RESUMED_ROW
from choreo.storage.replay import Replayer, RunReplay, RunSnapshot, Unreplayable, run_of
from choreo.storage.rows import DeliveryRow, RunRow
from choreo.storage.values import Kept
from choreo.trace.record import Record, time_text

OPERATOR = "operator"
EFFECTS: Mapping[Fact | Command | Timer, tuple[str, str]] = {
    Fact.SUCCEEDED: ("step.execute", "execute"),
    Fact.FAILED: ("step.execute", "execute"),
    Fact.COMPENSATED: ("step.compensate", "compensate"),
    Fact.COMPENSATION_FAILED: ("step.compensate", "compensate"),
}
"""The call of a service, by the event that its participant published because of it."""

REFUSED = (Fact.FAILED, Fact.COMPENSATION_FAILED)
OUTCOMES = (Fact.COMPLETED, Fact.COMPENSATED, Fact.STUCK)


class RunHistory(Struct):
    """A run as its rows describe it. `line` numbers are those of the deliveries; 0 is the request.

    `states` are its successive outcome states, and `outcomes` the complete outcomes as long as the rows are consistent.
    `stood` is the present snapshot, or None if they are not; `wrong` then says why, at delivery `wrong_at`.
    """

    lines: list[Line]
    states: list[str]
    outcomes: list[Outcome]
    is_resumed: bool = False
    """Whether it was resumed since its last outcome."""
    stood: RunSnapshot | None = None
    wrong: str | None = None
    wrong_at: int | None = None

    @property
    def records(self) -> list[Record]:
        return [line.record for line in self.lines]


def replayer_of(style: str, key: Itinerary | str) -> Replayer:
    """Return a replayer that decodes no receipts. Raises `Unreplayable`, and the exceptions of `plan`."""
    return Replayer(style, key, _as_it_is_kept)


def tell(row: RunRow, deliveries: Iterable[DeliveryRow], replayer: Replayer) -> RunHistory:
    """Convert the rows of a run; records are numbered from 1."""
    return _Teller(row, replayer).tell(deliveries)


class Unknown(Struct, frozen=True):
    """An exception of a service, as its participant reported it; `undo` is the reason why the undo failed."""

    summary: str
    is_undone: bool = False
    undo: str | None = None


class _Teller:
    def __init__(self, row: RunRow, replayer: Replayer) -> None:
        self._row = row
        self._table, self._topics = replayer.table, replayer.topics
        self._tale: RunReplay | None = replayer.tale(row)
        self._run = run_of(row.number, row.request, replayer.table.plan, row.key_prefix)
        self._told = RunHistory([], [], [])
        self._published: dict[str, Record] = {}
        self._number, self._at_ms, self._time = 0, -1, ""
        self._in_doubt: dict[int, None] = {}

    def tell(self, deliveries: Iterable[DeliveryRow]) -> RunHistory:
        told = self._told
        self._begin_row(0, self._row.begun_ms)
        self._publish(STARTED, None)
        for delivery in deliveries:
            self._begin_row(delivery.number, delivery.at_ms)
            self._tell_row(delivery, self._replayed(delivery))
        if self._row.outcome is not None and not told.states:
            self._reply(self._row.outcome, None)
        if self._tale is not None:
            told.stood = self._tale.stood()
        return told

    def _begin_row(self, number: int, at_ms: int) -> None:
        self._number = number
        if at_ms != self._at_ms:
            self._at_ms, self._time = at_ms, time_text(at_ms)

    def _replayed(self, row: DeliveryRow) -> Events:
        """Replay a row, as long as the rows before it are consistent."""
        if self._tale is None:
            return ()
        try:
            return self._tale.take(row)
        except Unreplayable as error:
            self._told.wrong = str(error)
        except Exception as error:  # a row that no node writes can hold any value
            self._told.wrong = f"{self._run.id}, delivery {row.number}: {type(error).__name__}: {error}"
        self._tale, self._told.wrong_at = None, row.number
        return ()

    # The records of one row

    def _tell_row(self, row: DeliveryRow, events: Events) -> None:
        if row.heard == RESUMED_ROW:
            self._record(RESUMED, RESUME, OPERATOR)
            self._told.is_resumed = True
            return
        heard = self._topics.get(row.heard)
        cause = None if heard is None else self._id(heard)
        if heard is not None:
            self._deliver(heard, row.seat)
        reason, traceback, unknown = _read_detail(row.detail)
        causes = {event.topic.name: event.causation_id for event in events}
        for topic in self._topics_of(row):
            self._effect(topic, cause, reason, unknown)
            record = self._publish(topic, causes.get(topic.name, cause))
            record.reason, record.traceback = reason, traceback
            if topic.step is None and topic.fact in OUTCOMES:
                outcome = events[-1].detail if events else None
                self._end(topic, record, outcome if isinstance(outcome, Outcome) else None)

    def _topics_of(self, row: DeliveryRow) -> Iterator[Topic]:
        for word in str(row.published).split():
            topic = self._topics.get(word)
            if topic is not None:
                yield topic

    def _effect(self, topic: Topic, cause: str | None, reason: str | None, unknown: Unknown | None) -> None:
        """Record the service's action, if it was called."""
        if topic.step is None or topic.fact not in EFFECTS:
            return
        if unknown is not None and (topic.fact is Fact.FAILED or unknown.undo is not None):
            self._effects_in_doubt(topic, cause, unknown)
            return
        record = self._call(topic, EFFECTS[topic.fact], cause)
        if topic.fact in REFUSED:
            record.reason = reason or "refused"

    def _effects_in_doubt(self, topic: Topic, cause: str | None, unknown: Unknown) -> None:
        """Record the call in doubt, unless an earlier row has, and the undo or the attempt at it."""
        if topic.position not in self._in_doubt:
            self._in_doubt[topic.position] = None
            record = self._call(topic, EFFECTS[Fact.SUCCEEDED], cause)
            record.reason, record.in_doubt = unknown.summary, True
        if unknown.undo is not None or unknown.is_undone:
            self._call(topic, EFFECTS[Fact.COMPENSATED], cause).reason = unknown.undo

    def _call(self, topic: Topic, call: tuple[str, str], cause: str | None) -> Record:
        event, action = call
        record = self._record(event, action, str(topic.step), cause)
        record.step, record.position = topic.step, topic.position
        return record

    def _end(self, topic: Topic, record: Record, outcome: Outcome | None) -> None:
        told = self._told
        told.states.append(str(topic.fact))
        told.is_resumed = False
        if outcome is not None:
            told.outcomes.append(outcome)
            record.reason, record.undone = outcome.reason, outcome.compensated_steps
        if len(told.states) == 1 and self._row.outcome is not None:
            self._reply(self._row.outcome, record)

    def _reply(self, outcome: Outcome, told: Record | None) -> None:
        """Record the reply to the client, which is the recorded outcome."""
        record = self._record(f"saga.{outcome.state}", "reply", "client")
        record.in_reply_to = self._row.sender.msg_id
        if told is not None:
            record.id, record.causation_id, record.reason = told.id, told.causation_id, told.reason

    # One record

    def _publish(self, topic: Topic, cause: str | None) -> Record:
        record = self._of_topic("publish", topic, topic.source, cause)
        self._published[str(record.id)] = record
        return record

    def _deliver(self, topic: Topic, seat: int) -> None:
        record = self._of_topic("deliver", topic, self._hearer(seat))
        published = self._published.get(str(record.id))
        if published is not None:
            record.causation_id, record.reason = published.causation_id, published.reason

    def _of_topic(self, action: str, topic: Topic, source: str, cause: str | None = None) -> Record:
        record = self._record(topic.event, action, source, cause)
        record.id = self._id(topic)
        if topic.step is not None:
            record.step, record.position = topic.step, topic.position
        return record

    def _record(self, event: str, action: str, source: str, cause: str | None = None) -> Record:
        lines, run = self._told.lines, self._run
        record = Record(len(lines) + 1, self._time, event, action, run.saga_id, run.id, source, causation_id=cause)
        lines.append(Line(self._number, record))
        return record

    def _id(self, topic: Topic) -> str:
        return f"{self._run.id}/{topic.name}"

    def _hearer(self, seat: int) -> str:
        hearers = self._table.hearers
        return hearers[seat] if 0 <= seat < len(hearers) else f"seat {seat}"


def _as_it_is_kept(receipt: Kept) -> Any:
    """Return a result undecoded: no class is imported that it names."""
    return None if receipt is None else Encoded(receipt)


def _read_detail(text: str | None) -> tuple[str | None, str | None, Unknown | None]:
    """Decode the reason of a failure: the reason, an exception's traceback, and the details of a call in doubt."""
    if text is None:
        return None, None, None
    try:
        detail = values.read_detail(text)
    except Exception:  # no node has written it
        return _read_odd_detail(text), None, None
    if isinstance(detail, Defect):
        return detail.summary, detail.traceback, Unknown(detail.summary, detail.is_undone)
    if isinstance(detail, InDoubt):
        return detail.reason, detail.traceback, Unknown(detail.summary, undo=detail.undo)
    return detail, None, None


def _read_odd_detail(text: Any) -> str | None:
    try:
        detail = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    reason = detail.get("summary", detail.get("reason")) if isinstance(detail, dict) else detail
    return None if reason is None else str(reason)

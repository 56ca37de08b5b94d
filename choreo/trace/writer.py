"""The trace: a structured record of everything that happens, written by structlog.

Laws: sees events, changes none. Every field but `time` follows from the input, so the same input gives the same trace.
Owner of structlog, and imported only where a trace is asked for.
"""

import json
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from choreo.domain.event import Command, Defect, Event
from choreo.domain.service import Service, ServiceOf
from choreo.trace.console import Console
from choreo.trace.record import Record, encode_record
from choreo.trace.sink import Sink


class Format(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class Tracer:
    """Writes a record for each thing that it is told of."""

    def __init__(self, sink: Sink, form: Format = Format.JSON, colors: bool = False) -> None:
        self.sink = sink
        self._log: TraceLogger = structlog.wrap_logger(
            sink,
            processors=[Stamp(), _to_json if form is Format.JSON else Console(colors)],
            wrapper_class=TraceLogger,
        ).bind()
        self._last: Event | None = None  # what is being reacted to, and in the end the outcome

    def published(self, event: Event) -> None:
        self._last = event
        self._log.record(_record(event, "publish", event.topic.source))

    def delivered(self, event: Event, hearer: str) -> None:
        self._last = event
        self._log.record(_record(event, "deliver", hearer))

    def called(self, command: Command, step: str, reference: str, reason: str | None) -> None:
        """A service was called: for its local transaction (execute), or for its compensation (compensate)."""
        position = int(reference.rpartition("/")[2])
        record = Record(
            event=f"step.{command}", action=str(command), source=step, step=step, position=position, reason=reason
        )
        self._log.record(self._caused(record))

    def replied(self, text: str) -> None:
        """A reply left; `text` is its body."""
        reply = _read_reply(text)
        record = Record(event=reply.type.replace("_", ".", 1), action="reply", source="node", saga_id=reply.saga_id)
        record.in_reply_to, record.code, record.reason = reply.in_reply_to, reply.code, reply.text
        self._log.record(self._caused(record))
        self._last = None

    def _caused(self, record: Record) -> Record:
        if (last := self._last) is not None:
            record.saga_id, record.run, record.causation_id = last.run.saga_id, last.run.id, last.id
        return record


class TraceLogger(structlog.BoundLoggerBase):
    """structlog's own logger, with one method: records have no severity."""

    def record(self, record: Record) -> None:
        self._proxy_to_logger("record", record.event, record=record)


class Stamp:
    """A structlog processor: numbers the records from 1, and tells the time."""

    def __init__(self) -> None:
        self._count = 0
        self._milliseconds = 0
        self._time = ""

    def __call__(self, logger: object, method: str, entry: EventDict) -> EventDict:
        record: Record = entry["record"]
        self._count += 1
        record.seq = self._count
        if (now := time.time_ns() // 1_000_000) != self._milliseconds:
            self._milliseconds, self._time = now, _rfc3339(now)
        record.time = self._time
        return entry


def traced(service_of: ServiceOf, tracer: Tracer) -> ServiceOf:
    """The same services; the tracer is told of each call."""
    return lambda step: TracedService(step, service_of(step), tracer)


class TracedService:
    """A service of one step with the tracer looking on."""

    def __init__(self, step: str, service: Service, tracer: Tracer) -> None:
        self._step = step
        self._service = service
        self._tracer = tracer

    def execute(self, reference: str) -> object:
        try:
            receipt = self._service.execute(reference)
        except Exception as error:
            self._tracer.called(Command.EXECUTE, self._step, reference, str(error))
            raise
        self._tracer.called(Command.EXECUTE, self._step, reference, None)
        return receipt

    def compensate(self, reference: str, receipt: object) -> None:
        try:
            self._service.compensate(reference, receipt)
        except Exception as error:
            self._tracer.called(Command.COMPENSATE, self._step, reference, str(error))
            raise
        self._tracer.called(Command.COMPENSATE, self._step, reference, None)


class Reply(msgspec.Struct):
    type: str
    in_reply_to: int | None = None
    saga_id: str | int | None = None
    code: int | None = None
    text: str | None = None


_decode_reply = msgspec.json.Decoder(Reply).decode


def _read_reply(text: str) -> Reply:
    try:
        return _decode_reply(text)
    except msgspec.DecodeError:  # a lone surrogate
        return msgspec.convert(json.loads(text), Reply)


def _record(event: Event, action: str, source: str) -> Record:
    topic, run, detail = event.topic, event.run, event.detail
    record = Record(
        event=topic.event,
        action=action,
        saga_id=run.saga_id,
        run=run.id,
        source=source,
        step=topic.step,
        position=None if topic.step is None else topic.position,
        id=event.id,
        causation_id=event.causation_id,
    )
    if detail is not None:
        record.reason = event.reason
        if type(detail) is Defect:
            record.traceback = detail.traceback
    return record


def _rfc3339(milliseconds: int) -> str:
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_json(logger: object, method: str, entry: EventDict) -> Any:
    return encode_record(entry["record"])

"""Trace writer: a structured record of every event, written by structlog.

Laws: it observes events and changes none. Every field but `time` follows from the input, so the same input gives the
same trace. It is imported only if a trace is requested.
"""

import json
import time
from enum import StrEnum
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from choreo.protocol.event import Command, Event, Run
from choreo.saga.calls.call import Call
from choreo.saga.calls.calling import by_call, ran
from choreo.saga.data import kept
from choreo.saga.keys import read_key
from choreo.saga.raised import reason
from choreo.saga.service import Refused, Service, ServiceOf
from choreo.trace.console import Console
from choreo.trace.record import Record, encode_record, time_text
from choreo.trace.records import data_of, effect_record, event_record, resumed_record, traceback_of
from choreo.trace.sink import Sink
from choreo.trace.vocabulary import DELIVER, PUBLISH, REPLY

NODE = "node"
"""Source of the replies."""


class Format(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class Tracer:
    """Tracer of events, calls and replies. Records are numbered from 1."""

    def __init__(self, sink: Sink, form: Format = Format.JSON, colors: bool = False, shows_data: bool = False) -> None:
        """`shows_data`: input and results are in the trace; by default they are not, since they may be confidential."""
        self.sink = sink
        self.shows_data = shows_data
        log: TraceLogger = structlog.wrap_logger(
            sink, processors=[to_json if form is Format.JSON else Console(colors)], wrapper_class=TraceLogger
        ).bind()
        self._write = log.record
        self._clock = Clock()
        self._count = 0
        self._last: Event | None = None  # the event that is being handled; finally the outcome

    def published(self, event: Event) -> None:
        self._about(event, PUBLISH, event.topic.source)

    def delivered(self, event: Event, subscriber: str) -> None:
        self._about(event, DELIVER, subscriber)

    def called(self, command: Command, step: str, reference: str, error: BaseException | None = None) -> None:
        """Record a call of a service: execute for its local transaction, compensate for its compensation."""
        last, position = self._last, read_key(reference).position
        run, cause = (None, None) if last is None else (last.run, last.id)
        record = effect_record(str(command), step, position, run, cause, self._next(), self._clock.now())
        if error is not None:
            record.reason = reason(error)
            record.in_doubt = command is Command.EXECUTE and not isinstance(error, Refused)
        self._write(record)

    def resumed(self, run: Run) -> None:
        """Record that an operator resumed a stuck run."""
        self._write(resumed_record(run, self._next(), self._clock.now()))

    def replied(self, text: str, *about: Event | None) -> None:
        """Record a reply; `text` is its body.

        If runs are concurrent, the caller passes the event that caused the reply, or None. Otherwise it is the last
        event.
        """
        if about:
            (self._last,) = about
        reply, last = _read_reply(text), self._last
        event = reply.type.replace("_", ".", 1)
        record = Record(self._next(), self._clock.now(), event, REPLY, source=NODE)
        record.in_reply_to, record.code, record.reason = reply.in_reply_to, reply.code, reply.text or reply.reason
        if last is not None:
            record.saga_id, record.run, record.causation_id = last.run.saga_id, last.run.id, last.id
        self._write(record)
        self._last = None

    def _about(self, event: Event, action: str, source: str) -> None:
        self._last = event
        self._count += 1
        record = event_record(event, action, source, self._count, self._clock.now())
        if record.reason is not None:
            record.traceback = traceback_of(event)
        if self.shows_data:
            record.input, record.result = data_of(event)
        self._write(record)

    def _next(self) -> int:
        """Return the number of the next record."""
        self._count += 1
        return self._count


class TraceLogger(structlog.BoundLoggerBase):
    """A structlog logger with one method: records have no severity."""

    def record(self, record: Record) -> None:
        (line,), _ = self._process_event("record", None, {"record": record})  # no processor here drops a record
        self._logger.record(line)


class Clock:
    """Clock in RFC 3339, UTC, to the millisecond; each millisecond is formatted once."""

    def __init__(self) -> None:
        self._milliseconds = 0
        self._text = ""

    def now(self) -> str:
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds != self._milliseconds:
            self._milliseconds = milliseconds
            self._text = time_text(milliseconds)
        return self._text


def traced(service_of: ServiceOf, tracer: Tracer) -> ServiceOf:
    """Return the same catalogue, with each call reported to the tracer."""
    return lambda step: TracedService(step, service_of(step), tracer)


class TracedService:
    """Service of one step whose calls are reported to the tracer."""

    def __init__(self, step: str, service: Service, tracer: Tracer) -> None:
        self._step = step
        self._execute, self._compensate = by_call(service)
        self._tracer = tracer

    def execute(self, call: Call) -> object:
        try:
            result = kept(ran(self._execute(call)), self._step)
        except BaseException as error:
            self._tracer.called(Command.EXECUTE, self._step, call.key, error)
            raise
        self._tracer.called(Command.EXECUTE, self._step, call.key)
        return result

    def compensate(self, call: Call) -> None:
        try:
            ran(self._compensate(call))
        except BaseException as error:
            self._tracer.called(Command.COMPENSATE, self._step, call.key, error)
            raise
        self._tracer.called(Command.COMPENSATE, self._step, call.key)


class Reply(msgspec.Struct):
    type: str
    in_reply_to: int | None = None
    code: int | None = None
    text: str | None = None
    reason: str | None = None


_decode_reply = msgspec.json.Decoder(Reply).decode


def _read_reply(text: str) -> Reply:
    try:
        return _decode_reply(text)
    except msgspec.DecodeError:  # a lone surrogate
        return msgspec.convert(json.loads(text), Reply)


def to_json(logger: object, method: str, entry: EventDict) -> Any:
    """A structlog processor: formats the record as a JSON line."""
    return encode_record(entry["record"])

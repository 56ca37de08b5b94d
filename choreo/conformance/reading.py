"""Reading of traces: choreo's own, CloudEvents 1.0, and any JSON lines with a mapping.

Laws: no I/O but the given iterator. A line that is not JSON, or lacks a field that its form requires, raises
`NotATrace` with the file, the line, what was expected and what came; a line about another subject is counted and
skipped.
"""

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from choreo.conformance.foreign_words import event_of_type
from choreo.conformance.mapping import Mapping, at
from choreo.conformance.parsed_trace import ParsedTrace
from choreo.saga.file.errors import quoted, told
from choreo.trace.record import NotATrace, Record
from choreo.trace.vocabulary import ACTIONS, DELIVER, EVENTS, OTHER, PUBLISH, SAGA_STARTED, TIMER

BOM = b"\xef\xbb\xbf"
NO_WORD = "no word for what happened"


class Form(StrEnum):
    """The format of the lines."""

    AUTO = "auto"
    CHOREO = "choreo"
    CLOUDEVENTS = "cloudevents"
    JSON = "json"


class Reader(Protocol):
    """Parses a line, and adds its records to the trace."""

    def read(self, value: Any, number: int, where: str) -> None: ...


def read_trace(
    lines: Iterable[bytes], name: str, form: Form = Form.AUTO, mapping: Mapping | None = None
) -> ParsedTrace:
    """Parse all lines; blank lines are skipped. Raises `NotATrace`."""
    reader: Reader | None = None
    trace = ParsedTrace(name, str(form))
    for number, line in _without_blanks(lines):
        where = f"{name}:{number}"
        value = _decoded(line, where)
        if reader is None:
            form = form_of(value, where, mapping) if form is Form.AUTO else form
            trace.form = str(form)
            reader = _reader(form, trace, mapping)
        reader.read(value, number, where)
        trace.lines += 1
    if reader is None:
        raise NotATrace(f"{name}: expected a trace, got no line")
    if not trace.runs:
        words = ", ".join(quoted(word) for word in list(trace.ignored)[:3])
        got = f"no line that tells of a run{': they say ' + words if words else ''}"
        raise NotATrace(f"{name}: expected a trace with at least one run, got {got}")
    if form is Form.CHOREO:
        trace.has_replies = trace.has_causes = True
    return trace


def form_of(value: dict[str, Any], where: str, mapping: Mapping | None) -> Form:
    """Detect the format of a line. Raises `NotATrace`."""
    if mapping is not None:
        return Form.JSON
    if "specversion" in value:
        return Form.CLOUDEVENTS
    if "event" in value and "action" in value:
        return Form.CHOREO
    keys = ", ".join(list(value)[:6]) or "none"
    raise NotATrace(
        f"{where}: expected a choreo trace or CloudEvents, got JSON with the keys {keys}; "
        "--mapping says what the fields of other logs mean"
    )


class ChoreoReader:
    """Reads traces of the node and of the lab. A number that restarts at 1 marks another process that appended."""

    def __init__(self, trace: ParsedTrace) -> None:
        self._trace = trace
        self._last: int | None = None
        self._process = 1
        self._started: set[str] = set()

    def read(self, value: Any, number: int, where: str) -> None:
        try:
            record = msgspec.convert({key: value[key] for key in Record.__struct_fields__ if key in value}, Record)
        except (msgspec.ValidationError, ValueError) as error:  # a lone surrogate is a ValueError
            raise NotATrace(f"{where}: expected a record of a choreo trace, got something else ({error})") from None
        self._count(record, where)
        if record.event not in EVENTS or record.action not in ACTIONS:
            self._trace.ignore(record.event if record.event not in EVENTS else f"action {record.action}")
            return
        if record.run is None:
            return  # a reply to a request that never became a run
        if record.event.startswith("step.") and record.step is None:
            raise NotATrace(f"{where}: expected the step of {record.event}, got none")
        if record.action in (PUBLISH, DELIVER, TIMER) and record.id is None:
            raise NotATrace(f"{where}: expected the id of {record.event}, got none")
        if record.event == SAGA_STARTED and record.action == PUBLISH:
            self._started.add(record.run)
        key = record.run if self._process == 1 else f"{record.run} of process {self._process}"
        self._trace.add(number, record, key, self._process)
        saga_id = self._trace.runs[key].saga_id
        if record.saga_id is not None and record.saga_id != saga_id:
            self._trace.disorder.append(f"{where}: {record.run} is of saga {saga_id}, and here of {record.saga_id}")

    def _count(self, record: Record, where: str) -> None:
        last, self._last = self._last, record.seq
        if last is None:
            self._trace.missing += max(record.seq - 1, 0)
        elif record.seq == 1 and last > 1 and (record.run is None or record.run in self._started):
            self._process += 1
            self._started.clear()
        elif record.seq <= last:
            self._trace.disorder.append(f"{where}: record {record.seq} stands behind record {last}")
            self._last = last
        else:
            self._trace.missing += record.seq - last - 1


class CloudEventsReader:
    """CloudEvents 1.0 (https://github.com/cloudevents/spec), one a line; extensions correlationid and causationid."""

    def __init__(self, trace: ParsedTrace) -> None:
        self._trace = trace
        self._seen: set[tuple[str, str]] = set()

    def read(self, value: Any, number: int, where: str) -> None:
        for name in ("id", "source", "specversion", "type"):
            if not isinstance(value.get(name), str) or not value[name]:
                raise NotATrace(f"{where}: expected a CloudEvent with {name}, a text, got {told(value.get(name))}")
        if value["specversion"] != "1.0":
            raise NotATrace(f"{where}: expected specversion 1.0, got {quoted(value['specversion'])}")
        event, run = event_of_type(value["type"]), value.get("correlationid")
        if event is None:
            self._trace.ignore(value["type"])
            if run is None:
                return
        key = _text_of(run, where, f"correlationid, the run of {value['type']}")
        if (value["source"], value["id"]) in self._seen:
            self._trace.resent += 1
            return
        self._seen.add((value["source"], value["id"]))
        self._trace.add(number, self._record(value, event, number, where), key)

    def _record(self, value: dict[str, Any], event: str | None, number: int, where: str) -> Record:
        data = value["data"] if isinstance(value.get("data"), dict) else {}
        record = Record(number, str(value.get("time", "")), event or value["type"], PUBLISH if event else OTHER)
        record.id, record.source = value["id"], value["source"]
        cause = value.get("causationid")
        record.causation_id = None if cause is None else _text_of(cause, where, "causationid")
        saga_id = data.get("saga_id")
        if event is not None and event.startswith("step."):
            step = data.get("step", value.get("subject"))
            record.step = _text_of(step, where, f"the step of {value['type']} in subject or data.step")
            position = data.get("position")
            record.position = position if isinstance(position, int) and not isinstance(position, bool) else None
        elif saga_id is None and event is not None:
            saga_id = value.get("subject")
        record.saga_id = saga_id if isinstance(saga_id, str | int) else None
        reason = data.get("reason")
        record.reason = reason if isinstance(reason, str) else None
        return record


class JsonReader:
    """Reads any JSON lines, with a mapping."""

    def __init__(self, trace: ParsedTrace, mapping: Mapping) -> None:
        self._trace = trace
        self._fields, self._facts = mapping.fields, mapping.facts
        self._seen: set[tuple[str, str]] = set()

    def read(self, value: Any, number: int, where: str) -> None:
        fields = self._fields
        word = at(value, fields.fact)
        meaning = self._facts.get(word) if isinstance(word, str) else None
        run = at(value, fields.run)
        if meaning is None:
            self._trace.ignore(word if isinstance(word, str) else NO_WORD)
            if run is None or fields.id is None or at(value, fields.id) is None:
                return
        record = Record(number, "", meaning.event if meaning else str(word), meaning.action if meaning else OTHER)
        key = _text_of(run, where, f"the run in {fields.run}")
        self._fill(record, value, number, where)
        if meaning is not None and meaning.event.startswith("step."):
            step = meaning.step
            if step is None:
                step = _text_of(
                    None if fields.step is None else at(value, fields.step),
                    where,
                    f"the step of {quoted(str(word))} in {fields.step or '[facts], or a field for it in [fields]'}",
                )
            record.step = step
        mark = (str(record.source), str(record.id))
        if fields.id is not None and mark in self._seen:
            self._trace.resent += 1
            return
        self._seen.add(mark)
        self._trace.add(number, record, key)

    def _fill(self, record: Record, value: Any, number: int, where: str) -> None:
        def text(path: str | None, what: str) -> str | None:
            found = None if path is None else at(value, path)
            return None if found is None else _text_of(found, where, f"{what} in {path}")

        fields = self._fields
        record.id = text(fields.id, "the id") or f"line {number}"
        record.causation_id = text(fields.cause, "the cause")
        record.source = text(fields.source, "the source")
        record.time = text(fields.time, "the time") or ""
        record.saga_id = text(fields.saga, "the saga")
        record.reason = text(fields.reason, "the reason")


def _reader(form: Form, trace: ParsedTrace, mapping: Mapping | None) -> Reader:
    if form is Form.CHOREO:
        return ChoreoReader(trace)
    if form is Form.CLOUDEVENTS:
        return CloudEventsReader(trace)
    if mapping is None:
        raise ValueError("expected a mapping for JSON lines, got none")
    return JsonReader(trace, mapping)


def _without_blanks(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(BOM) if number == 1 else line
        if text.strip():
            yield number, text


_decode = msgspec.json.Decoder().decode


def _decoded(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = _decode(line)
    except (msgspec.DecodeError, RecursionError, ValueError):
        try:
            value = json.loads(line)  # a lone surrogate is legal in JSON and illegal in UTF-8
        except (ValueError, RecursionError) as error:
            raise NotATrace(f"{where}: expected a JSON object, got {line[:60]!r} ({error})") from None
    if not isinstance(value, dict):
        raise NotATrace(f"{where}: expected a JSON object, got {line[:60]!r}")
    return value


def _text_of(value: Any, where: str, what: str) -> str:
    """Return a text or a whole number, as text. Raises `NotATrace`."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python writes out
            return hex(value)
    raise NotATrace(f"{where}: expected {what}, got {told(value)}")

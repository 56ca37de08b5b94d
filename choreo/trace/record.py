"""Schema of a trace record, for writing and for reading.

Laws: one schema for both. Knows no structlog, so reading a trace does not import it.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct


class Record(Struct, omit_defaults=True):
    """A trace record, with its fields in the order of writing; docs/reference/trace.md explains each."""

    seq: int
    time: str | float
    event: str
    action: str
    saga_id: str | int | None = None
    run: str | None = None
    source: str | None = None
    step: str | None = None
    position: int | None = None
    id: str | None = None
    causation_id: str | None = None
    reason: str | None = None
    in_reply_to: int | None = None
    code: int | None = None
    traceback: str | None = None
    resource: str | None = None
    value: int | str | None = None
    delta: int | None = None
    version: int | None = None
    based_on: int | None = None
    undone: tuple[str, ...] | None = None
    in_doubt: bool = False
    input: Any = None
    result: Any = None


class NotATrace(ValueError):
    """A line that is not a record."""


def time_text(at_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 text, UTC, to the millisecond; out of range, the number as text."""
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return str(at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def encode_record(record: Record) -> bytes:
    """Return the record as JSON, without a line end."""
    try:
        return _encode(record)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can express and UTF-8 cannot
        fields = msgspec.structs.asdict(record).items()
        return json.dumps({name: value for name, value in fields if value is not None}).encode()


def read_records(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    """Yield the records of a trace in JSON lines, without blank lines. Raises `NotATrace`, which names the line."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _read(line, f"{name}:{number}")


def _read(line: bytes, where: str) -> Record:
    try:
        return _decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        value: Any = json.loads(line)
        return msgspec.convert(value, Record)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise NotATrace(f"{where}: expected a trace record as JSON, got {line[:60]!r} ({error})") from None

"""Messages of the node: their types and their decoding.

Laws: one schema, the types below. Two fast decoders, for a message with its envelope and for a bare body, read it
straight from the bytes; no text is valid for both. A text that both reject is decoded again with care, checked against
the same types, and refused with the field, the expected value and the received one.
"""

import json
import re
import sys
from collections.abc import Iterable
from math import isinf
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from choreo.compile import STYLES
from choreo.node.replies import MALFORMED_REQUEST, NOT_SUPPORTED
from choreo.saga.spelling import nearest

BLANKS = b" \t\r\n"


class Execute(Struct, gc=False, tag_field="type", tag="execute"):
    """Request to run a saga. A nested tuple among the steps is a group that runs in parallel.

    `body`, here and below, is no field of a body: it makes the fast decoder reject an envelope that looks like a body.
    """

    saga_id: str | int
    steps: tuple[str | tuple[str, ...], ...]
    msg_id: int | UnsetType = UNSET
    fail_step: str | None = None
    fail_compensation: str | None = None
    style: Literal["choreography", "orchestration"] = "choreography"
    input: Any = None
    saga: UnsetType = UNSET
    in_reply_to: Any = UNSET
    body: UnsetType = UNSET


class ExecuteSaga(Struct, gc=False, tag_field="type", tag="execute"):
    """Request to run a saga that the node was given: its name stands for the steps."""

    saga_id: str | int
    saga: str
    msg_id: int | UnsetType = UNSET
    fail_step: str | None = None
    fail_compensation: str | None = None
    style: Literal["choreography", "orchestration"] = "choreography"
    input: Any = None
    steps: UnsetType = UNSET
    in_reply_to: Any = UNSET
    body: UnsetType = UNSET


class Init(Struct, tag_field="type", tag="init"):
    """Maelstrom's handshake: assigns the node its id."""

    node_id: str
    msg_id: int | UnsetType = UNSET
    in_reply_to: Any = UNSET
    body: UnsetType = UNSET


class Status(Struct, gc=False, tag_field="type", tag="status"):
    """Request for the status of a saga; needs a node with a memory of past runs."""

    saga_id: str | int
    msg_id: int | UnsetType = UNSET
    in_reply_to: Any = UNSET
    body: UnsetType = UNSET


BodyOfSaga = ExecuteSaga | Init | Status


class Message(Struct, gc=False):
    """Body with its envelope; a bare body is a message without addresses."""

    body: Execute | Init | Status
    src: str | None = None
    dest: str | None = None


class MessageOfSaga(Struct, gc=False):
    """The same, where a request names a saga."""

    body: BodyOfSaga
    src: str | None = None
    dest: str | None = None


class Malformed(Exception):
    """Raised for a message that cannot be executed: the code and text of the error, and the readable part of the
    address.
    """

    msg_id: int | None = None
    src: str | None = None
    dest: str | None = None
    is_reply = False
    is_message = False

    def __init__(self, text: str, code: int = MALFORMED_REQUEST, outer: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        if outer is not None:
            self._address(outer)

    def _address(self, outer: dict[str, Any]) -> None:
        envelope, body = _parts(outer)
        self.src, self.dest = _string_or_none(envelope.get("src")), _string_or_none(envelope.get("dest"))
        self.is_message = self.src is not None or _is_message(outer)
        if isinstance(body, dict):
            msg_id = body.get("msg_id")
            self.msg_id = msg_id if type(msg_id) is int else None
            self.is_reply = "in_reply_to" in body


class Number(Struct, frozen=True):
    """Number too large for Python to parse: no field accepts it, and an error text shows it as received."""

    digits: str


decode = msgspec.json.Decoder(Message).decode
"""Decode a message with its envelope, valid in every field. Raises one of `DECODE_ERRORS`."""

decode_of_saga = msgspec.json.Decoder(MessageOfSaga).decode
"""The same, where a request names a saga."""

_decode_body = msgspec.json.Decoder(Execute | Init | Status).decode
_decode_body_of_saga = msgspec.json.Decoder(BodyOfSaga).decode

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)

EXPECTED = {
    "type": "a string",
    "saga_id": "a string or an integer",
    "steps": "an array of step names",
    "saga": "a string",
    "msg_id": "an integer",
    "fail_step": "a string or null",
    "fail_compensation": "a string or null",
    "style": '"choreography" or "orchestration"',
    "node_id": "a string",
    "src": "a string",
    "dest": "a string",
    "body": "an object",
}
KINDS: dict[str, type[Any]] = {"execute": Execute, "init": Init, "status": Status}

INTEGER = re.compile(r"-?[0-9]+")
ERROR_PATH = re.compile(r"at `\$([^`]*)`$")
MISSING_FIELD = re.compile(r"missing required field `(\w+)`")


def decode_bare(data: bytes) -> Message:
    """Decode a bare body, valid in every field. Raises one of `DECODE_ERRORS`."""
    return Message(_decode_body(data))


def decode_bare_of_saga(data: bytes) -> MessageOfSaga:
    """The same, where a request names a saga."""
    return MessageOfSaga(_decode_body_of_saga(data))


FORMS = (decode, decode_bare, decode_of_saga, decode_bare_of_saga)
"""The fast decoders; no text is valid for two of them but a request other than `execute`."""


def decode_with_care(data: bytes) -> Message:
    """Decode a text that the fast decoders rejected: unusual but legal JSON, or a mistake. Raises `Malformed`."""
    outer = _json_object(data)
    envelope, body = _parts(outer)
    if not isinstance(body, dict):
        raise Malformed(_mismatch("body", body, "body" in outer), outer=outer)
    for name in ("src", "dest"):
        if not isinstance(envelope.get(name), str | None):
            raise Malformed(_mismatch(name, envelope[name]), outer=outer)
    kind = body.get("type")
    if not isinstance(kind, str):
        raise Malformed(_mismatch("type", kind, "type" in body), outer=outer)
    if kind not in KINDS:
        text = f'type: expected "execute", "init" or "status", got {_shown(kind)}{_suggestion(kind, KINDS)}'
        raise Malformed(text, NOT_SUPPORTED, outer)
    checked = _checked_of_saga(body, outer) if kind == "execute" else _checked(KINDS[kind], body, outer)
    return Message(checked, envelope.get("src"), envelope.get("dest"))


def _checked_of_saga(body: dict[str, Any], outer: dict[str, Any]) -> Any:
    """Convert a request to run a saga, which has either steps or the name of a saga."""
    if _has_number(body.get("input")):
        most = sys.get_int_max_str_digits()
        raise Malformed(f"input: expected numbers of at most {most} digits, and no larger than a float", outer=outer)
    if body.get("saga") is None:
        return _checked(Execute, {name: value for name, value in body.items() if name != "saga"}, outer)
    if "steps" in body:
        raise Malformed(f"steps: expected none beside saga, got {_shown(body['steps'])}", outer=outer)
    return _checked(ExecuteSaga, body, outer)


def _has_number(value: Any) -> bool:
    """Return whether a value contains a number that Python cannot express."""
    values = [value]
    for each in values:  # the list grows meanwhile
        if isinstance(each, Number):
            return True
        values += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return False


def looks_like_message(line: bytes) -> bool:
    """Return whether the line is a complete message, with valid or invalid fields."""
    line = line.strip(BLANKS)
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return False
    try:
        return _is_message(_json_object(line))
    except Malformed:
        return False


def _parts(outer: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Split a message into envelope and body. The envelope of a bare body is empty."""
    if "body" in outer or ("src" in outer and "type" not in outer):
        return outer, outer.get("body")
    return {}, outer


def _is_message(outer: dict[str, Any]) -> bool:
    return "type" in outer or isinstance(outer.get("body"), dict)


def _string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _checked(kind: type[Any], body: dict[str, Any], outer: dict[str, Any]) -> Any:
    """Convert the body to its type, from the known fields only."""
    fields = {name: body[name] for name in kind.__struct_fields__ if name in body and name != "body"}
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        text = _in_our_words(str(error), body)
    except UnicodeEncodeError:  # a lone surrogate, where one of two strings is expected
        text = _mismatch("style", body["style"])
    raise Malformed(text, outer=outer)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = _json_decoder.decode(data.decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"expected UTF-8, got the byte 0x{data[error.start]:02x} at offset {error.start}") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"expected JSON, got something else at offset {error.pos}: {error.msg}") from None
    except RecursionError:
        raise Malformed("expected JSON that is nested less deeply") from None
    if not isinstance(value, dict):
        raise Malformed(f"expected a message (a JSON object), got {_shown(value)}")
    return value


def _integer(digits: str) -> int | Number:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return Number(digits)


def _fraction(digits: str) -> float | Number:
    value = float(digits)
    return Number(digits) if isinf(value) else value


def _refuse_constant(name: str) -> None:
    raise Malformed(f"expected JSON, got {name}, which JSON does not have")


_json_decoder = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=_refuse_constant)


def _in_our_words(error: str, body: dict[str, Any]) -> str:
    """Translate an error text of msgspec, which names only the field, to one that also shows the received value."""
    if missing := MISSING_FIELD.search(error):
        return _mismatch(missing[1], None, came=False)
    found = ERROR_PATH.search(error)
    keys = re.findall(r"\w+", found[1]) if found else []
    value: Any = body
    for key in keys:
        value = value[int(key) if isinstance(value, list) else key]
    path = "".join(f"[{key}]" if key.isdigit() else key for key in keys)
    return _mismatch(path, value)


def _mismatch(path: str, value: object, came: bool = True) -> str:
    expected = "a string" if "[" in path else EXPECTED[path]
    if isinstance(value, Number) and INTEGER.fullmatch(value.digits) and "integer" in expected:
        most, digits = sys.get_int_max_str_digits(), len(value.digits.lstrip("-"))
        return f"{path}: expected {expected} of at most {most} digits, got an integer of {digits} digits"
    near = _suggestion(value, STYLES) if path == "style" and isinstance(value, str) else ""
    return f"{path}: expected {expected}, got {_shown(value) if came else 'nothing'}{near}"


def _suggestion(word: str, among: Iterable[str]) -> str:
    """Return `; did you mean "x"?`; empty where no word is close."""
    near = nearest(word, among)
    return "" if near is None else f"; did you mean {json.dumps(near)}?"


def _shown(value: object) -> str:
    try:
        text = value.digits if isinstance(value, Number) else json.dumps(value, default=lambda number: number.digits)
    except RecursionError:
        return "something that is nested deeply"
    return text if len(text) <= 60 else text[:57] + "..."

"""Careful decoding of the texts that the fast decoders reject: unusual but legal JSON, or a mistake.

Laws: checked against the same types as by the fast decoders, and refused with the field, the expected value and the
received one.
"""

import json
import re
import sys
from collections.abc import Iterable
from math import isinf
from typing import Any

import msgspec
from msgspec import Struct

from choreo.compile import STYLES
from choreo.node.messages import Execute, ExecuteSaga, Init, Malformed, Message, Status, is_message, parts
from choreo.node.replies import NOT_SUPPORTED
from choreo.saga.spelling import nearest

BLANKS = b" \t\r\n"

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


class Number(Struct, frozen=True):
    """Number too large for Python to parse: no field accepts it, and an error text shows it as received."""

    digits: str


def decode_with_care(data: bytes) -> Message:
    """Decode a text that the fast decoders rejected: unusual but legal JSON, or a mistake. Raises `Malformed`."""
    outer = _json_object(data)
    envelope, body = parts(outer)
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
        return is_message(_json_object(line))
    except Malformed:
        return False


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

"""Messages of the node: their types and their fast decoders.

Laws: one schema, the types below. Fast decoders, for a message with its envelope and for a bare body, read it straight
from the bytes. A text that all reject is decoded again with care: see `careful.py`.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from choreo.node.replies import MALFORMED_REQUEST


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
        envelope, body = parts(outer)
        self.src, self.dest = _string_or_none(envelope.get("src")), _string_or_none(envelope.get("dest"))
        self.is_message = self.src is not None or is_message(outer)
        if isinstance(body, dict):
            msg_id = body.get("msg_id")
            self.msg_id = msg_id if type(msg_id) is int else None
            self.is_reply = "in_reply_to" in body


decode = msgspec.json.Decoder(Message).decode
"""Decode a message with its envelope, valid in every field. Raises one of `DECODE_ERRORS`."""

decode_of_saga = msgspec.json.Decoder(MessageOfSaga).decode
"""The same, where a request names a saga."""

_decode_body = msgspec.json.Decoder(Execute | Init | Status).decode
_decode_body_of_saga = msgspec.json.Decoder(BodyOfSaga).decode

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)


def decode_bare(data: bytes) -> Message:
    """Decode a bare body, valid in every field. Raises one of `DECODE_ERRORS`."""
    return Message(_decode_body(data))


def decode_bare_of_saga(data: bytes) -> MessageOfSaga:
    """The same, where a request names a saga."""
    return MessageOfSaga(_decode_body_of_saga(data))


FORMS = (decode, decode_bare, decode_of_saga, decode_bare_of_saga)
"""The fast decoders; no text is valid for two of them but a request other than `execute`."""


def parts(outer: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Split a message into envelope and body. The envelope of a bare body is empty."""
    if "body" in outer or ("src" in outer and "type" not in outer):
        return outer, outer.get("body")
    return {}, outer


def is_message(outer: dict[str, Any]) -> bool:
    """Return whether a JSON object is meant as a message."""
    return "type" in outer or isinstance(outer.get("body"), dict)


def _string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None

"""Framing: cuts the input into texts, each a complete JSON value, and finds the next one after something unreadable.

Laws: knows JSON's grammar and nothing of sagas; no I/O. Every byte is read once, whatever the input, and what is held is
bounded. A token never spans two lines, as in JSON.

A message on a line of its own, the normal case, needs none of this: see `session.py`.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

DEPTH_MAX = 1000
"""As deep as Python's own JSON parser goes, about."""

TOKEN = re.compile(
    rb"""[ \t\r\n]*+(
        [{}\[\],:]
      | "(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+"
      | (?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null)(?=[ \t\r\n{}\[\],:"])
    )""",
    re.VERBOSE,
)
CUT_OFF = re.compile(rb'(?:"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+\\?|[-+.0-9A-Za-z]++)\Z')
"""What may yet become a token, where a line has not ended yet."""

BRACKET = re.compile(rb'"(?:[^"\\\r\n]++|\\.)*+"?|[{}\[\]]')
NOT_BLANK = re.compile(rb"[^ \t\r\n]")
CONTINUATION = re.compile(rb'[ \t"}\],]|(?:\[|[-+.0-9eE]+|true|false|null),?[ \t\r]*\n')
"""How a line begins that belongs to the unreadable text before it."""

OPENING = {b"{": "end in {", b"[": "end in ["}
PARTNER = {b"}": b"{", b"]": b"["}

# What may come next, by what came before: {state: {first byte of the token: next state}}. "close" leaves the innermost
# container.
SCALAR = {bytes([first]): "end" for first in b'"-0123456789tfn'}
VALUE = {b"{": "first key", b"[": "first item", **SCALAR}
GRAMMAR: dict[str, dict[bytes, str]] = {
    "value": VALUE,
    "first item": {**VALUE, b"]": "close"},
    "first key": {b'"': "colon", b"}": "close"},
    "key": {b'"': "colon"},
    "colon": {b":": "value"},
    "end in {": {b",": "key", b"}": "close"},
    "end in [": {b",": "value", b"]": "close"},
}

EXPECTED = {
    "value": "a JSON value",
    "first item": "a JSON value or ']'",
    "first key": "a string as key or '}'",
    "key": "a string as key",
    "colon": "':'",
    "end in {": "',' or '}'",
    "end in [": "',' or ']'",
}


class Text(Struct, frozen=True):
    """One complete JSON value, as it came."""

    data: bytes


class Unreadable(Struct, frozen=True):
    """A stretch of input that is no JSON, and what is wrong with it."""

    why: str


Frame = Text | Unreadable


class Broken(Exception):
    """The text can no longer become a JSON value."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset


class Value:
    """One JSON value, followed through line after line, or piece after piece of a long line.

    A `{` in the first column inside a value may be the begin of the next message, and the value before it be unfinished.
    `standalone` is what began there, where it is complete and nothing has come after it.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.text = bytearray()
        self.standalone: bytes | None = None
        self._state = "value"
        self._open: list[tuple[str, int]] = []  # the state after a value in there; where it began, if in column one

    @property
    def is_complete(self) -> bool:
        return self._state == "end"

    @property
    def open_brackets(self) -> bytes:
        return b"".join(state[-1:].encode() for state, _ in self._open)

    def read(self, piece: bytes, offset: int, column: int) -> int:
        """Go on at `offset`, which is in that column of its line.

        Returns where it stopped: after the value; or at the end of the piece, or of what is not cut off there. Raises
        `Broken`.
        """
        begin = offset
        try:
            while not self.is_complete and (found := TOKEN.match(piece, offset)) is not None:
                self._take(piece, found.start(1), ...)
                offset = found.end()
        finally:
            self.text += piece[begin:offset]
        return offset

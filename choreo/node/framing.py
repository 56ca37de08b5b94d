"""Framing: cuts the input into texts, each a complete JSON value, and resynchronizes after unreadable input.

Laws: knows JSON's grammar and nothing of sagas; no I/O. Every byte is read once, whatever the input, and the buffer is
bounded.

A message on a line of its own, the normal case, bypasses this module: see `session.py`.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

DEPTH_MAX = 1000
"""Maximum depth of nesting, close to that of Python's own JSON parser."""

DEBRIS_DEPTH_MAX = 1_000_000

TOKEN = re.compile(
    rb"""[ \t\r\n]*+(
        [{}\[\],:]
      | "(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+"
      | (?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null)(?=[ \t\r\n{}\[\],:"])
    )""",
    re.VERBOSE,
)
CUT_OFF = re.compile(rb"""(?:"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+\\?|[^ \t\r\n"{}\[\],:]++)\Z""")
"""Start of a token that may continue in the rest of its line."""

WORD = re.compile(rb"""[^ \t\r\n"{}\[\],:]++""")
BRACKET = re.compile(rb'"(?:[^"\\\r\n]++|\\.)*+("?)|[{}\[\]]')
OBJECT = re.compile(rb"\{(?=[ \t\r\n]*+(?:[\"}]|\Z))")
NOT_BLANK = re.compile(rb"[^ \t\r\n]")
CONTINUATION = re.compile(rb'[ \t\r\n"}\],]|(?:\[\]?|[-+.0-9eE]++|true|false|null),?[ \t\r]*+\n')
INDENTED = re.compile(rb"[ \t]++[^\r\n{]")
"""Start of a line that still belongs to the unreadable text before it: `CONTINUATION` while brackets of that text are
open, `INDENTED` once they are closed.
"""

OPENING = {b"{": "end in {", b"[": "end in ["}
PARTNER = {b"}": b"{", b"]": b"["}

# Transition table of the grammar: {state: {first byte of a token: next state}}. "close" leaves the innermost bracket.
VALUE = {b"{": "first key", b"[": "first item"} | {bytes([first]): "end" for first in b'"-0123456789tfn'}
GRAMMAR: dict[str, dict[bytes, str]] = {
    "value": VALUE,
    "first item": VALUE | {b"]": "close"},
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

NOWHERE = -1
EXCERPT_BYTES = 160


class Text(Struct, frozen=True):
    """One complete JSON value as received. `is_inner` marks a value found inside unreadable text, which may be a part
    of it.
    """

    data: bytes
    is_inner: bool = False


class Unreadable(Struct, frozen=True):
    """Stretch of input that is not JSON, with the error."""

    why: str


Frame = Text | Unreadable


class Broken(Exception):
    """Raised when the text can no longer become a JSON value."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset


class TooLarge(Broken):
    """Raised when the text may be JSON, but exceeds the limit of size."""


class Framer:
    """Buffers the incomplete text. Feed it lines with their newline; a very long line may come in pieces."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._value = Value(message_bytes_max)
        self._debris: SkippedInput | None = None
        self._cut_off = b""  # incomplete token at the end of a piece that ends in the middle of a line
        self._column_one = 0  # offset of column one in the next piece, if it has one

    @property
    def is_idle(self) -> bool:
        """Return whether the buffer is empty: no unfinished value, and no rest of an unreadable one."""
        return self._debris is None and not self._value.text and not self._cut_off

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """Yield the frames that this piece completes."""
        piece, self._cut_off = self._cut_off + piece, b""
        if self._debris is not None and self._column_one == 0 and not self._debris.goes_on(piece):
            self._debris = None
        offset = 0
        while offset < len(piece):
            if self._debris is not None:
                offset = self._skip(self._debris, piece, offset)
                continue
            try:
                offset = self._value.read(piece, offset, self._column_one)
            except Broken as broken:
                offset = broken.offset
                yield Unreadable(str(broken))
                yield from self._recover(broken, piece)
                continue
            if not self._value.is_complete:
                self._cut_off = piece[offset:]
                break
            yield self._completed()
        self._column_one = 0 if piece.endswith(b"\n") else NOWHERE

    def give_up(self) -> Iterator[Frame]:
        """Yield the pending text as unreadable, at the end of the input."""
        value, debris, cut_off = self._value, self._debris, self._cut_off
        self._value, self._debris, self._cut_off = Value(self._message_bytes_max), None, b""
        if debris is None and (value.text or cut_off):
            yield Unreadable(
                f"the message is not complete: it begins with {_excerpt(value.text[:EXCERPT_BYTES] + cut_off)}"
            )
            yield from value.inner()

    def _completed(self) -> Text:
        text = Text(bytes(self._value.text))
        self._value = Value(self._message_bytes_max)
        if not text.data.startswith(b"{"):
            self._debris = SkippedInput()  # not a message; the rest of its line is none either
        return text

    def _recover(self, broken: Broken, piece: bytes) -> Iterator[Frame]:
        """Resynchronize: find the beginning of the next value after the error."""
        value = self._value
        if isinstance(broken, TooLarge) and value.leave_outer():
            return
        self._value = Value(self._message_bytes_max)
        is_new = broken.offset == self._column_one and piece.startswith(b"{", broken.offset)
        swallowed = list(value.inner())
        if not (is_new or swallowed):
            self._debris = SkippedInput(value.open_brackets)
        yield from swallowed

    def _skip(self, debris: "SkippedInput", piece: bytes, offset: int) -> int:
        offset = debris.skip(piece, offset)
        self._cut_off = debris.cut_off
        if debris.is_over:
            self._debris = None
        return offset


class Value:
    """One JSON value, read line by line, or in pieces of a line. No token of JSON spans two lines.

    A `{` in column one may belong to the value, or begin the next message after this one was cut off. Its offset is
    kept until one of the two is certain.
    """

    def __init__(self, bytes_max: int) -> None:
        self.text = bytearray()
        self._bytes_max = bytes_max
        self._state = "value"
        # For each open bracket: the state after a value in it, and its offset, if it is an object that begins in column
        # one.
        self._open: list[tuple[str, int]] = []
        self._inner: tuple[int, int] | None = None  # span of the last object begun in column one, until a token follows
        self._origin = 0  # offset of the text in the input

    @property
    def is_complete(self) -> bool:
        return self._state == "end"

    @property
    def open_brackets(self) -> bytes:
        return b"".join(state[-1:].encode() for state, _ in self._open)

    def inner(self) -> Iterator[Text]:
        """Yield the last complete message inside this unfinished value, if any."""
        begin, end = self._inner or (0, 0)
        if 0 < end - begin <= self._bytes_max:
            yield Text(bytes(self.text[begin - self._origin : end - self._origin]), is_inner=True)

    def leave_outer(self) -> bool:
        """Drop the outer value and continue with the outermost message that began inside it. Return whether there is
        one.
        """
        for depth, (_, begin) in enumerate(self._open):
            if begin > self._origin:
                del self.text[: begin - self._origin], self._open[:depth]
                self._origin = begin
                return True
        return False

    def read(self, piece: bytes, offset: int, column_one: int) -> int:
        """Continue at `offset`. Return the end of the value, or of the part readable so far. Raises `Broken`."""
        if not self.text:
            offset = _next_not_blank(piece, offset)
        begin, shift = offset, self._origin + len(self.text) - offset
        try:
            while self._state != "end" and (found := TOKEN.match(piece, offset)) is not None:
                start, end = found.span(1)
                self._take(piece, start, end, shift, start == column_one)
                offset = end
            if self._state != "end":
                offset = self._rest(piece, offset)
        finally:
            self.text += piece[begin:offset]
        self._bound(piece, offset)
        return offset

    def _take(self, piece: bytes, start: int, end: int, shift: int, is_column_one: bool) -> None:
        """Handle one token, identified by its first byte."""
        token = piece[start : start + 1]
        state = GRAMMAR[self._state].get(token)
        if state is None:
            raise self._unexpected(_excerpt(piece[start : min(end, start + EXCERPT_BYTES)]), start)
        self._inner = None
        if state == "close":
            _, begin = self._open.pop()
            if begin > self._origin:
                self._inner = begin, shift + start + 1
            state = "end"
        elif token in OPENING:
            if len(self._open) == DEPTH_MAX:
                raise Broken(f"expected at most {DEPTH_MAX} levels of nesting, got more", start)
            is_object = token == b"{"
            self._open.append((OPENING[token], shift + start if is_column_one and is_object else NOWHERE))
        self._state = self._open[-1][0] if state == "end" and self._open else state

    def _rest(self, piece: bytes, offset: int) -> int:
        """Return the offset up to which the piece was read, once no complete token follows."""
        rest = _next_not_blank(piece, offset)
        if rest < len(piece) and not (_is_cut_off(piece) and CUT_OFF.match(piece, rest)):
            word = WORD.match(piece, rest)
            raise self._unexpected("a broken string" if word is None else _excerpt(word[0]), rest)
        return rest

    def _unexpected(self, what: str, offset: int) -> Broken:
        return Broken(f"expected {EXPECTED[self._state]}, got {what}", offset)

    def _bound(self, piece: bytes, offset: int) -> None:
        size = len(self.text) + (0 if self.is_complete else len(piece) - offset)
        if size > self._bytes_max:
            raise TooLarge(f"expected a message of at most {self._bytes_max} bytes, got a larger one", offset)


class SkippedInput:
    """Unreadable text. It ends where its brackets are closed and an object begins, or at a line that does not belong to
    it.
    """

    def __init__(self, open_brackets: bytes = b"") -> None:
        self.is_over = False
        self.cut_off = b""  # beginning of a string that continues in the next piece
        self._open = bytearray(open_brackets)
        self._is_past_end = False  # its brackets were closed in an earlier line

    def goes_on(self, line: bytes) -> bool:
        """Return whether the next line, given here, belongs to the unreadable text."""
        self._is_past_end = not self._open
        return (INDENTED if self._is_past_end else CONTINUATION).match(line) is not None

    def skip(self, piece: bytes, offset: int) -> int:
        """Return the offset at which the unreadable text ends, or the end of the piece."""
        self.cut_off = b""
        offset = self._close(piece, offset)
        begin = None if self._open or self._is_past_end else OBJECT.search(piece, offset)
        self.is_over = begin is not None
        return len(piece) if begin is None else begin.start()

    def _close(self, piece: bytes, offset: int) -> int:
        if not self._open:
            return offset
        for found in BRACKET.finditer(piece, offset):
            start, offset = found.span()
            bracket = piece[start : start + 1]
            if bracket in OPENING:
                self._open += bracket
            elif bracket in PARTNER:
                self._leave(PARTNER[bracket])
                if not self._open:
                    return offset
            elif not found[1] and _is_cut_off(piece) and offset >= len(piece) - 1:
                self.cut_off = bracket + piece[offset:]
        del self._open[:-DEBRIS_DEPTH_MAX]
        return len(piece)

    def _leave(self, partner: bytes) -> None:
        """Close the innermost bracket of this kind, and every bracket open inside it. Without such a bracket, do
        nothing.
        """
        opened = self._open.rfind(partner, -DEPTH_MAX)
        if opened != NOWHERE:
            del self._open[opened:]


def _is_cut_off(piece: bytes) -> bool:
    """Return whether the line continues in the next piece."""
    return not piece.endswith(b"\n")


def _next_not_blank(piece: bytes, offset: int) -> int:
    found = NOT_BLANK.search(piece, offset)
    return len(piece) if found is None else found.start()


def _excerpt(text: bytes | bytearray) -> str:
    words = " ".join(text.decode("utf-8", "replace").split())
    return repr(words[:40] + "…" if len(words) > 40 else words)

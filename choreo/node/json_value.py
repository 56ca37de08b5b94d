"""One JSON value, read line by line up to its end, by a table of JSON's grammar.

Laws: knows JSON's grammar and nothing of sagas; no I/O. Every byte is read once, whatever the input, and the text is
bounded.
"""

import re

DEPTH_MAX = 1000
"""Maximum depth of nesting, close to that of Python's own JSON parser."""

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
NOT_BLANK = re.compile(rb"[^ \t\r\n]")

OPENING = {b"{": "end in {", b"[": "end in ["}

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


class InvalidText(Exception):
    """Raised when the text can no longer become a JSON value."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset


class TooLarge(InvalidText):
    """Raised when the text may be JSON, but exceeds the limit of size."""


class JsonValue:
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

    def inner(self) -> bytes | None:
        """Return the last complete message inside this unfinished value, or None."""
        begin, end = self._inner or (0, 0)
        is_message = 0 < end - begin <= self._bytes_max
        return bytes(self.text[begin - self._origin : end - self._origin]) if is_message else None

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
        """Continue at `offset`. Return the end of the value, or of the part readable so far. Raises `InvalidText`."""
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
            raise self._unexpected(excerpt(piece[start : min(end, start + EXCERPT_BYTES)]), start)
        self._inner = None
        if state == "close":
            _, begin = self._open.pop()
            if begin > self._origin:
                self._inner = begin, shift + start + 1
            state = "end"
        elif token in OPENING:
            if len(self._open) == DEPTH_MAX:
                raise InvalidText(f"expected at most {DEPTH_MAX} levels of nesting, got more", start)
            is_object = token == b"{"
            self._open.append((OPENING[token], shift + start if is_column_one and is_object else NOWHERE))
        self._state = self._open[-1][0] if state == "end" and self._open else state

    def _rest(self, piece: bytes, offset: int) -> int:
        """Return the offset up to which the piece was read, once no complete token follows."""
        rest = _next_not_blank(piece, offset)
        if rest < len(piece) and not (is_cut_off(piece) and CUT_OFF.match(piece, rest)):
            word = WORD.match(piece, rest)
            raise self._unexpected("a broken string" if word is None else excerpt(word[0]), rest)
        return rest

    def _unexpected(self, what: str, offset: int) -> InvalidText:
        return InvalidText(f"expected {EXPECTED[self._state]}, got {what}", offset)

    def _bound(self, piece: bytes, offset: int) -> None:
        size = len(self.text) + (0 if self.is_complete else len(piece) - offset)
        if size > self._bytes_max:
            raise TooLarge(f"expected a message of at most {self._bytes_max} bytes, got a larger one", offset)


def is_cut_off(piece: bytes) -> bool:
    """Return whether the line continues in the next piece."""
    return not piece.endswith(b"\n")


def _next_not_blank(piece: bytes, offset: int) -> int:
    found = NOT_BLANK.search(piece, offset)
    return len(piece) if found is None else found.start()


def excerpt(text: bytes | bytearray) -> str:
    words = " ".join(text.decode("utf-8", "replace").split())
    return repr(words[:40] + "…" if len(words) > 40 else words)

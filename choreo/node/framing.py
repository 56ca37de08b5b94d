"""Framing: cuts the input into texts, each a complete JSON value, and finds the next one after something unreadable.

Laws: knows JSON's grammar and nothing of sagas; no I/O. Linear in the size of the input, whatever the input: a value is
scanned once, line by line, and starting anew after a break is bounded.

A message on a line of its own, the normal case, needs none of this: see `session.py`.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

DEPTH_MAX = 500
RESTARTS_MAX = 8

TOKEN = re.compile(
    rb"""[ \t\r\n]*+(?:
        (?P<mark>[{}\[\],:])
      | (?P<string>"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+")
      | (?P<scalar>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null)
    )""",
    re.VERBOSE,
)
BRACKET = re.compile(rb'"(?:[^"\\\r\n]++|\\.)*+"?|[{}\[\]]')
NOT_BLANK = re.compile(rb"[^ \t\r\n]")
CONTINUATION = b' \t"}],'
"""How a line begins that belongs to the unreadable text before it."""

# What may come next, by what came before: {state: {token: next state}}. "close" leaves the innermost container.
GRAMMAR: dict[str, dict[bytes, str]] = {
    "value": {b"{": "first key", b"[": "first item", b"scalar": "end", b"string": "end"},
    "first item": {b"{": "first key", b"[": "first item", b"scalar": "end", b"string": "end", b"]": "close"},
    "first key": {b"string": "colon", b"}": "close"},
    "key": {b"string": "colon"},
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


class Scanner:
    """Follows one JSON value through line after line. No token of JSON spans two lines."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.state = "value"

    def scan(self, line: bytes, offset: int) -> int | None:
        """Go on at `offset`. Returns the end of the value, or None where it goes on in the next line; raises `Broken`."""
        while (found := TOKEN.match(line, offset)) is not None:
            kind = found.lastgroup
            token = found.group("mark") if kind == "mark" else str(kind).encode()
            state = GRAMMAR[self.state].get(token)
            if state is None:
                raise self._unexpected(line, found.start(kind or 0))
            offset = found.end()
            if self._enter(state, token, offset):
                return offset
        if (rest := NOT_BLANK.search(line, offset)) is not None:
            raise self._unexpected(line, rest.start())
        return None

    def _unexpected(self, line: bytes, offset: int) -> Broken:
        return Broken(f"expected {EXPECTED[self.state]}, got {_excerpt(line, offset)}", offset)

    def _enter(self, state: str, token: bytes, offset: int) -> bool:
        """Whether the value is complete."""
        if state == "close":
            self.open.pop()
        elif token in (b"{", b"["):
            self.open.append(f"end in {token.decode()}")
            if len(self.open) > DEPTH_MAX:
                raise Broken(f"nested deeper than {DEPTH_MAX} levels", offset)
        self.state = (self.open[-1] if self.open else "end") if state in ("close", "end") else state
        return self.state == "end"


class Framer:
    """Holds the text that is not complete yet. Feed it lines with their newline."""

    def __init__(self, message_bytes_max: int) -> None:
        self.message_bytes_max = message_bytes_max
        self._lines: list[bytes] = []  # the unfinished value
        self._size = 0
        self._scanner = Scanner()
        self._skipping = 0  # how many brackets of an unreadable text are still open

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending: neither an unfinished value nor the rest of an unreadable one."""
        return not self._lines and not self._skipping

    def feed(self, line: bytes) -> Iterator[Frame]:
        """The frames that this line completes."""
        yield from self._feed(line, RESTARTS_MAX)

    def give_up(self) -> Iterator[Frame]:
        """Nothing can complete what is pending: say so, and look through it for what it may have swallowed."""
        for restarts in range(RESTARTS_MAX, -1, -1):
            lines = self._reset()
            if not lines:
                break
            yield Unreadable(f"the message is not complete: it begins with {_excerpt(lines[0])}")
            for line in _from_next_start(lines) if restarts else ():
                yield from self._feed(line, restarts)
        self._skipping = 0

    def complete_values(self, data: bytes) -> tuple[list[Frame], bytes]:
        """The complete values at the head of a line that has not ended yet, and what follows them."""
        frames: list[Frame] = []
        offset = 0
        while self.is_idle and offset < len(data):
            try:
                end = Scanner().scan(data, offset)
            except Broken:
                break  # perhaps only cut off in the middle of a token
            if end is None:
                break
            frames.append(Text(data[offset:end]))
            offset = end
        return frames, data[offset:]

    def _feed(self, line: bytes, restarts: int) -> Iterator[Frame]:
        offset = self._skip_rest(line)
        while NOT_BLANK.search(line, offset) is not None:
            try:
                end = self._scan(line, offset)
            except Broken as broken:
                yield Unreadable(str(broken))
                swallowed = _from_next_start([*self._lines, line])
                offset = self._break(line, broken.offset)
                if swallowed and restarts:
                    self._skipping = 0
                    for again in swallowed:
                        yield from self._feed(again, restarts - 1)
                    return
            else:
                if end is None:
                    self._lines.append(line[offset:])
                    return
                yield Text(b"".join([*self._reset(), line[offset:end]]))
                offset = end

    def _scan(self, line: bytes, offset: int) -> int | None:
        end = self._scanner.scan(line, offset)
        stop = len(line) if end is None else end
        self._size += stop - offset
        if self._size > self.message_bytes_max:
            raise Broken(f"expected a message of at most {self.message_bytes_max} bytes, got a larger one", stop)
        return end

    def _reset(self) -> list[bytes]:
        lines, self._lines, self._size, self._scanner = self._lines, [], 0, Scanner()
        return lines

    def _break(self, line: bytes, offset: int) -> int:
        """Leave the unreadable value: skip to where its brackets close, or to the next one that opens."""
        self._skipping = len(self._scanner.open)
        self._reset()
        if self._skipping:
            return self._skip(line, offset)
        following = line.find(b"{", offset)
        return len(line) if following < 0 else following

    def _skip_rest(self, line: bytes) -> int:
        """Where the unreadable text ends that began in an earlier line."""
        if not self._skipping:
            return 0
        if line[:1] in CONTINUATION:
            return self._skip(line, 0)
        self._skipping = 0
        return 0

    def _skip(self, line: bytes, offset: int) -> int:
        for found in BRACKET.finditer(line, offset):
            bracket = found.group()
            if bracket in (b"{", b"["):
                self._skipping += 1
            elif bracket in (b"}", b"]"):
                self._skipping -= 1
            if not self._skipping:
                return found.end()
        return len(line)


def _from_next_start(lines: list[bytes]) -> list[bytes]:
    """The lines from the next one on that may begin a message: one that opens an object in its first column."""
    for index, line in enumerate(lines[1:], start=1):
        if line.startswith(b"{"):
            return lines[index:]
    return []


def _excerpt(line: bytes, offset: int = 0) -> str:
    text = line[offset : offset + 60].decode("utf-8", "replace").strip()
    return repr(text[:40] + "…" if len(text) > 40 else text)

"""Framing: cuts the input into texts, each a complete JSON value, and resynchronizes after unreadable input.

Laws: no I/O. Every byte is read once, whatever the input, and the buffer is bounded.

A message on a line of its own, the normal case, bypasses this module: see `reader.py`.
"""

from collections.abc import Iterator

from msgspec import Struct

from choreo.node.json_value import EXCERPT_BYTES, NOWHERE, InvalidText, JsonValue, TooLarge, excerpt
from choreo.node.skipped_input import SkippedInput


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


class Framer:
    """Buffers the incomplete text. Feed it lines with their newline; a very long line may come in pieces."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._value = JsonValue(message_bytes_max)
        self._skipped: SkippedInput | None = None
        self._cut_off = b""  # incomplete token at the end of a piece that ends in the middle of a line
        self._column_one = 0  # offset of column one in the next piece, if it has one

    @property
    def is_idle(self) -> bool:
        """Return whether the buffer is empty: no unfinished value, and no rest of an unreadable one."""
        return self._skipped is None and not self._value.text and not self._cut_off

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """Yield the frames that this piece completes."""
        piece, self._cut_off = self._cut_off + piece, b""
        if self._skipped is not None and self._column_one == 0 and not self._skipped.goes_on(piece):
            self._skipped = None
        offset = 0
        while offset < len(piece):
            if self._skipped is not None:
                offset = self._skip(self._skipped, piece, offset)
                continue
            try:
                offset = self._value.read(piece, offset, self._column_one)
            except InvalidText as error:
                offset = error.offset
                yield Unreadable(str(error))
                yield from self._recover(error, piece)
                continue
            if not self._value.is_complete:
                self._cut_off = piece[offset:]
                break
            yield self._completed()
        self._column_one = 0 if piece.endswith(b"\n") else NOWHERE

    def give_up(self) -> Iterator[Frame]:
        """Yield the pending text as unreadable, at the end of the input."""
        value, skipped, cut_off = self._value, self._skipped, self._cut_off
        self._value, self._skipped, self._cut_off = JsonValue(self._message_bytes_max), None, b""
        if skipped is None and (value.text or cut_off):
            yield Unreadable(
                f"the message is not complete: it begins with {excerpt(value.text[:EXCERPT_BYTES] + cut_off)}"
            )
            yield from _inner(value)

    def _completed(self) -> Text:
        text = Text(bytes(self._value.text))
        self._value = JsonValue(self._message_bytes_max)
        if not text.data.startswith(b"{"):
            self._skipped = SkippedInput()  # not a message; the rest of its line is none either
        return text

    def _recover(self, error: InvalidText, piece: bytes) -> Iterator[Frame]:
        """Resynchronize: find the beginning of the next value after the error."""
        value = self._value
        if isinstance(error, TooLarge) and value.leave_outer():
            return
        self._value = JsonValue(self._message_bytes_max)
        is_new = error.offset == self._column_one and piece.startswith(b"{", error.offset)
        swallowed = list(_inner(value))
        if not (is_new or swallowed):
            self._skipped = SkippedInput(value.open_brackets)
        yield from swallowed

    def _skip(self, skipped: "SkippedInput", piece: bytes, offset: int) -> int:
        offset = skipped.skip(piece, offset)
        self._cut_off = skipped.cut_off
        if skipped.is_over:
            self._skipped = None
        return offset


def _inner(value: JsonValue) -> Iterator[Text]:
    """Yield the last complete message inside an unfinished value, if any."""
    inner = value.inner()
    if inner is not None:
        yield Text(inner, is_inner=True)

"""Reader of the input: the bytes read, turned into messages.

Laws: no I/O, and nothing of sagas. A line that is a complete message is always taken as one; everything else goes to
the framer, which finds the messages in it (`framing.py`).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from choreo.node.careful import decode_with_care, looks_like_message
from choreo.node.framing import Frame, Framer, Text
from choreo.node.messages import (
    DECODE_ERRORS,
    FORMS,
    Malformed,
    Message,
    decode,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

CLOSING = re.compile(rb"[ \t\r]*+[}\]]")


class Reader:
    """Reads messages from bytes that come in any pieces.

    `answer` is called with every message, `refuse` with every mistake, in the order of the input.
    """

    def __init__(
        self, answer: Callable[[Message], None], refuse: Callable[[Malformed], None], message_bytes_max: int
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._message_bytes_max = message_bytes_max
        self._decode: Callable[[bytes], Any] = decode  # or another one of `FORMS`: a conversation seldom mixes them
        self._framer = Framer(message_bytes_max)
        self._is_framing = False
        self._tail: list[bytes] = []  # the last line, which has no newline yet
        self._tail_size = 0
        self._is_mid_line = False  # the framer already has the beginning of that line

    def feed(self, data: bytes) -> None:
        """Read the lines that `data` completes."""
        end = data.rfind(b"\n") + 1
        if end:
            self._handle(b"".join([*self._tail, data[:end]]))
            self._tail, self._tail_size = [], 0
        if end < len(data):
            self._keep(data[end:])

    def end(self) -> None:
        """Read what is left at the end of the input."""
        rest, self._tail = b"".join(self._tail), []
        self._handle(rest + b"\n")
        self._give_up()

    def _handle(self, block: bytes) -> None:
        if self._is_mid_line:
            begin = block.index(b"\n") + 1
            self._frame(block[:begin])
            self._is_mid_line = False
            block = block[begin:]
        lines = block.split(b"\n")
        lines.pop()
        if block.isascii() or _is_utf8(block):
            self._handle_lines(lines)
            return
        for line in lines:
            if _is_utf8(line):
                self._handle_lines([line])
            else:
                self._frame(line + b"\n")  # the fast decoder does not detect it in every position

    def _handle_lines(self, lines: list[bytes]) -> None:
        """Fast path: handle lines that are valid messages in the same form as the last one. Other lines are decoded
        with care.
        """
        for line in lines:
            try:
                message = self._decode(line)
            except DECODE_ERRORS:
                self._handle_with_care(line)
                continue
            if self._is_framing or len(line) > self._message_bytes_max:
                self._handle_with_care(line)
            else:
                self._answer(message)

    def _handle_with_care(self, line: bytes) -> None:
        if b"{" in line and len(line) <= self._message_bytes_max:
            text = line.removeprefix(BYTE_ORDER_MARK)
            message = self._in_any_form(text)
            if self._is_framing and (message is not None or looks_like_message(text)):
                self._give_up()
            if message is not None:
                self._answer(message)
                return
        self._frame(line + b"\n")

    def _in_any_form(self, text: bytes) -> Any:
        """Decode a valid message of any form; its form is tried first from now on. None for any other text."""
        for form in FORMS:
            try:
                message = form(text)
            except DECODE_ERRORS:
                continue
            self._decode = form
            return message
        return None

    def _keep(self, data: bytes) -> None:
        """Buffer a line without its newline; pass it to the framer when it is too long or may be complete."""
        self._tail.append(data)
        self._tail_size += len(data)
        if self._tail_size > self._message_bytes_max or self._may_be_complete(data):
            self._frame(b"".join(self._tail))
            self._is_mid_line = True
            self._tail, self._tail_size = [], 0

    def _may_be_complete(self, data: bytes) -> bool:
        """Return whether the last line may end a message.

        Inside an unfinished message, only a line that closes it counts, not one that may be a message of its own.
        """
        if not data.endswith(b"}"):
            return False
        return not self._is_framing or (not self._is_mid_line and CLOSING.match(self._tail[0]) is not None)

    def _frame(self, piece: bytes) -> None:
        if not self._is_mid_line:
            piece = piece.removeprefix(BYTE_ORDER_MARK)
        self._answer_frames(self._framer.feed(piece))
        self._is_framing = not self._framer.is_idle

    def _give_up(self) -> None:
        self._answer_frames(self._framer.give_up())
        self._is_framing = False

    def _answer_frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if not isinstance(frame, Text):
                self._refuse(Malformed(frame.why))
            elif not frame.is_inner or looks_like_message(frame.data):
                self._answer_text(frame.data)

    def _answer_text(self, data: bytes) -> None:
        try:
            message = decode_with_care(data)
        except Malformed as malformed:
            self._refuse(malformed)
        else:
            self._answer(message)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

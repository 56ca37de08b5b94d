"""Skipped input: the extent of a text that is not JSON, to find where the next message begins.

Laws: no I/O. Every byte is read once, whatever the input, and the memory of open brackets is bounded.
"""

import re

from choreo.node.json_value import DEPTH_MAX, NOWHERE, OPENING, is_cut_off

SKIPPED_DEPTH_MAX = 1_000_000

BRACKET = re.compile(rb'"(?:[^"\\\r\n]++|\\.)*+("?)|[{}\[\]]')
OBJECT = re.compile(rb"\{(?=[ \t\r\n]*+(?:[\"}]|\Z))")
CONTINUATION = re.compile(rb'[ \t\r\n"}\],]|(?:\[\]?|[-+.0-9eE]++|true|false|null),?[ \t\r]*+\n')
INDENTED = re.compile(rb"[ \t]++[^\r\n{]")
"""Start of a line that still belongs to the unreadable text before it: `CONTINUATION` while brackets of that text are
open, `INDENTED` once they are closed.
"""

PARTNER = {b"}": b"{", b"]": b"["}


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
            elif not found[1] and is_cut_off(piece) and offset >= len(piece) - 1:
                self.cut_off = bracket + piece[offset:]
        del self._open[:-SKIPPED_DEPTH_MAX]
        return len(piece)

    def _leave(self, partner: bytes) -> None:
        """Close the innermost bracket of this kind, and every bracket open inside it. Without such a bracket, do
        nothing.
        """
        opened = self._open.rfind(partner, -DEPTH_MAX)
        if opened != NOWHERE:
            del self._open[opened:]

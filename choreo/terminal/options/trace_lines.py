"""Lines of a trace, from a file or from stdin.

Laws: a line longer than any valid record is never read into memory as a whole.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import IO

from choreo.saga.usage import UsageError
from choreo.trace.record import NotATrace

STDIN = "-"
LINE_BYTES_MAX = 64 * 1024 * 1024
"""Upper bound of the length of a record; a longer line cannot belong to a trace."""


def opened(trace: str) -> AbstractContextManager[IO[bytes]]:
    """Open the file, or stdin. Raises `OSError`, and `UsageError` for an invalid path or a closed stdin."""
    if trace != STDIN:
        try:
            return open(trace, "rb")
        except ValueError as error:  # a zero byte
            raise UsageError("TRACE", f"expected a file that can be read, got {trace!r} ({error})") from None
    if sys.stdin is None:
        raise UsageError("TRACE", "expected a trace on stdin, got nothing: it is closed")
    return nullcontext(sys.stdin.buffer)


def bounded(lines: IO[bytes], name: str, what: str) -> Iterator[bytes]:
    """Yield the lines. Raises `NotATrace` for one that is too long; its text calls a line `what`."""
    number = 0
    while line := lines.readline(LINE_BYTES_MAX):
        number += 1
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            raise NotATrace(f"{name}:{number}: expected {what}, got a line of more than {LINE_BYTES_MAX} bytes")
        yield line

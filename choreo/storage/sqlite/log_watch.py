"""Watch of SQLite's write-ahead log beside an open journal: checks that all committed frames are still in it.

Laws: read-only, and free of false alarms, whichever ordinary SQLite operations other programs run. The required length
of the log is read from its index, which every connection keeps up to date (https://sqlite.org/walformat.html): the
number of the last committed frame, and the salts of the log, which change when the log restarts. SQLite writes the
index after it extends the log, and before it truncates or overwrites the log; so a mismatch is checked again.
"""

import os
from struct import Struct

from choreo.storage.errors import JournalError, LeftAsItLies

LOG, INDEX = "-wal", "-shm"
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
FRAME_SALTS = slice(8, 16)
INDEX_HEADER_BYTES = 48
"""The header stands there twice, so that a reader detects a write in progress."""
INDEX_HEADER = Struct("=I8xBxHI12x8s")
"""Fields: version, initialized flag, page size in bytes, number of frames, salts."""
INDEX_VERSION = 3007000
LOOKS_MAX = 10


class LogWatch:
    """The log and its index as of now, after SQLite has opened them."""

    def __init__(self, journal: str) -> None:
        """Open the log and its index; `journal` is the real path. Raises `JournalError`.

        The descriptor of the index is never closed: closing it would drop SQLite's locks
        (https://sqlite.org/howtocorrupt.html, 2.2).
        """
        self._journal = journal
        self._log_path, self._index_path = journal + LOG, journal + INDEX
        try:
            self._log = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC)
            self._index = os.open(self._index_path, os.O_RDONLY | os.O_CLOEXEC)
            self._log_file, self._index_file = _file(os.fstat(self._log)), _file(os.fstat(self._index))
        except OSError as error:
            raise JournalError(
                f"expected a journal with its log beside it, got {journal!r}: {error.filename} cannot be opened "
                f"({error.strerror})"
            ) from None
        self._header = b""
        """The header of the index at the last successful check."""
        self._salts, self._end, self._frame = b"", 0, b""
        """The last committed frame at the last successful check: the salts, its end, and its content."""
        self.expect_whole()

    def expect_whole(self) -> None:
        """Check that all committed data is, and will stay, in the present files. Raises `JournalError`.

        A log that was moved is intact where SQLite has it open, and is written into the journal on close. If the log is
        incomplete, or its index was replaced, `LeftAsItLies` says that no further write is allowed.
        """
        try:
            status = os.stat(self._log_path)
            if _file(status) != self._log_file:
                raise self._moved(self._log_path, JournalError)
            if _file(os.stat(self._index_path)) != self._index_file:
                raise self._moved(self._index_path, LeftAsItLies)
        except FileNotFoundError as error:
            path = str(error.filename)
            raise self._moved(path, JournalError if path == self._log_path else LeftAsItLies) from None
        if not self._is_whole(status.st_size) and not any(self._is_whole_now() for _ in range(LOOKS_MAX)):
            raise LeftAsItLies(
                f"expected {self._journal!r}, and what lies beside it, to stay as they are while a node has them; "
                f"{self._log_path} was cut off or written over, and what was committed last is not in it"
            )

    def expect_uncut(self) -> None:
        """Check, faster, that the log was not truncated since the last check. Raises `JournalError`."""
        if os.pread(self._index, INDEX_HEADER_BYTES, 0) != self._header or os.fstat(self._log).st_size < self._end:
            self.expect_whole()

    def _is_whole_now(self) -> bool:
        return self._is_whole(os.fstat(self._log).st_size)

    def _is_whole(self, size: int) -> bool:
        """Return whether the log has at least the size in its index, and still contains the frame seen before."""
        header = os.pread(self._index, 2 * INDEX_HEADER_BYTES, 0)
        if len(header) < 2 * INDEX_HEADER_BYTES:
            return False
        if header[:INDEX_HEADER_BYTES] != header[INDEX_HEADER_BYTES:]:
            return True  # a write is in progress, or a program died during it: SQLite repairs it with the next commit
        version, is_used, page, frames, salts = INDEX_HEADER.unpack_from(header)
        if version != INDEX_VERSION or not is_used:
            return True
        if frames == 0:
            self._header, self._salts, self._end = b"", b"", 0
            return True
        frame_bytes = FRAME_HEADER_BYTES + (page if page != 1 else 65536)
        end = LOG_HEADER_BYTES + frames * frame_bytes
        if size < end:
            return False
        if salts == self._salts:
            if end < self._end or self._read(len(self._frame), self._end) != self._frame:
                return False
            if end == self._end:
                self._header = header[:INDEX_HEADER_BYTES]
                return True
        frame = self._read(frame_bytes, end)
        if frame[FRAME_SALTS] != salts:
            return False
        self._header = header[:INDEX_HEADER_BYTES]
        self._salts, self._end, self._frame = salts, end, frame
        return True

    def _read(self, count: int, end: int) -> bytes:
        return os.pread(self._log, count, end - count)

    def _moved(self, path: str, kind: type[JournalError]) -> JournalError:
        return kind(
            f"expected {self._journal!r}, and what lies beside it, to stay where they are while a node has them; "
            f"{path} was moved or removed"
        )


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_dev

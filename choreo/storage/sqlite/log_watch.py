"""SQLite's write-ahead log beside a journal that is open: whether all that was committed is still in it.

Laws: only looks, and raises no false alarm, whatever other programs do by SQLite's own means. How long the log must be
is read from its index, which every connection keeps up to date (https://sqlite.org/walformat.html): the number of the
last frame that was committed, and the salts of the log, which change when it begins again. SQLite writes the index
after it has made the log longer, and before it cuts it off or writes it over; so what does not fit is looked at again.
"""

import os
from struct import Struct

from choreo.storage.errors import JournalError, LeftAsItLies

LOG, INDEX = "-wal", "-shm"
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
FRAME_SALTS = slice(8, 16)
INDEX_HEADER_BYTES = 48
"""It stands there twice, so that a reader sees whether it is just being written."""
INDEX_HEADER = Struct("=I8xBxHI12x8s")
"""Version, whether it is in use, bytes a page, frames, salts."""
INDEX_VERSION = 3007000
LOOKS_MAX = 10


class LogWatch:
    """The log and its index, as they were when this was made, which is once SQLite has opened them."""

    def __init__(self, journal: str) -> None:
        """`journal` is the real path. Raises `JournalError`.

        The descriptor of the index is never closed: SQLite's locks on it would go with it
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
        """The header of the index when the log was seen to be whole."""
        self._salts, self._end, self._frame = b"", 0, b""
        """Of the last frame that was seen to be committed: the salts, where it ends, and what is in it."""
        self.expect_whole()

    def expect_whole(self) -> None:
        """Raises `JournalError` if what was committed is not, or will not be, in the files that are there.

        A log that was moved is whole where SQLite has it open, and is written into the journal when that is closed.
        Where it is not whole, or where its index is another one, `LeftAsItLies` says that nothing more may be written.
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
        """The same, in less time: whether the log was cut off since it was seen to be whole."""
        if os.pread(self._index, INDEX_HEADER_BYTES, 0) != self._header or os.fstat(self._log).st_size < self._end:
            self.expect_whole()

    def _is_whole_now(self) -> bool:
        return self._is_whole(os.fstat(self._log).st_size)

    def _is_whole(self, size: int) -> bool:
        """Whether the log has that size at least which its index says, and in it what was seen there before."""
        header = os.pread(self._index, 2 * INDEX_HEADER_BYTES, 0)
        if len(header) < 2 * INDEX_HEADER_BYTES:
            return False
        if header[:INDEX_HEADER_BYTES] != header[INDEX_HEADER_BYTES:]:
            return True  # just being written, or by a program that died over it: SQLite sees to it with the next commit
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

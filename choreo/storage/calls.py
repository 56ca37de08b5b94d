"""Call marks: the service call in progress, in a memory-mapped file that the next process reads.

Laws: a mark survives the death of the process, however it dies, without a sync; after a power loss the mark may be
stale. Only the count of calls that ended the process depends on it. The holder of the lock owns the file.
"""

import mmap
import os
import stat

from msgspec import Struct

from choreo.storage.errors import JournalError

CALLS_SUFFIX = "-calls"
EXECUTE, COMPENSATE = 1, 2
NAMES = {EXECUTE: "execute", COMPENSATE: "compensate"}

CALL, RUN, SEAT, DOUBT = 0, 1, 2, 3
"""Offsets in the file: the call in progress (0: none), its run, the participant's subscriber index, and a flag that
is 1 until the undo of a step in doubt is committed."""

SIZE = 4 * 8


class Mark(Struct, frozen=True):
    """A call that was in progress when the previous process ended."""

    call: str
    run: int
    seat: int


class Calls:
    """The marks of calls.

    The runner sets `RUN` and `SEAT` of `marks` before a delivery. The caller of a service sets `CALL`, and resets it to
    0 afterwards. Marks are written without a method: it happens for each call, and takes a tenth of a microsecond in
    all.
    """

    def __init__(self, mapping: mmap.mmap) -> None:
        self._mapping = mapping
        self.marks = memoryview(mapping).cast("q")

    @classmethod
    def open(cls, journal: str) -> "Calls":
        """Open the file beside the journal; create it if it is missing. Raises `JournalError`."""
        path = os.path.realpath(journal) + CALLS_SUFFIX
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            try:
                return cls(_mapped(descriptor))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise JournalError(
                f"expected a file that can be written beside the journal, got {path!r} ({error.strerror or error})"
            ) from None

    @property
    def left(self) -> Mark | None:
        """Return the call that the previous process did not return from."""
        call, run, seat, _ = self.marks
        return Mark(NAMES[call], run, seat) if call in NAMES else None

    def clear(self) -> None:
        """Clear the marks: no call is in progress, and the undo of every step in doubt is committed."""
        self.marks[CALL] = self.marks[DOUBT] = 0

    def close(self) -> None:
        self.marks.release()
        self._mapping.close()


def _mapped(descriptor: int) -> mmap.mmap:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError("it is no file")
    held = os.pread(descriptor, SIZE, 0).ljust(SIZE, b"\0")
    os.pwrite(descriptor, held, 0)  # allocate the space: a write to a mapping without space ends the process
    return mmap.mmap(descriptor, SIZE)

"""The call of a service that is under way, where the next process finds it: a file that is mapped into memory.

Laws: what is in the mapping survives the death of the process, by whatever way, without a sync; after a loss of power
it may be older. Nothing but the count of calls that ended the process rests on it. It belongs to who has the lock.
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
"""Where in the file stands which call it is, or 0 where none is under way; the run; the seat of the participant; and 1
while what undoes a step in doubt is not committed."""

SIZE = 4 * 8


class Mark(Struct, frozen=True):
    """A call that was under way when the process before ended."""

    call: str
    run: int
    seat: int


class Calls:
    """The marks of calls. Who delivers sets `RUN` and `SEAT` of `marks`, who calls a service `CALL`, and 0 behind it.

    They are written without a method: that is done for each call, and takes a tenth of a microsecond in all.
    """

    def __init__(self, mapping: mmap.mmap) -> None:
        self._mapping = mapping
        self.marks = memoryview(mapping).cast("q")

    @classmethod
    def open(cls, journal: str) -> "Calls":
        """The file beside the journal, made where need be. Raises `JournalError`."""
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
        """The call that the process before has not come back from."""
        call, run, seat, _ = self.marks
        return Mark(NAMES[call], run, seat) if call in NAMES else None

    def close(self) -> None:
        self.marks.release()
        self._mapping.close()


def _mapped(descriptor: int) -> mmap.mmap:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError("it is no file")
    held = os.pread(descriptor, SIZE, 0).ljust(SIZE, b"\0")
    os.pwrite(descriptor, held, 0)  # so that there is room for it: a mapping without room ends the process
    return mmap.mmap(descriptor, SIZE)

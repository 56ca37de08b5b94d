"""The call of a service that is under way, where the next process finds it: a file that is mapped into memory.

Laws: what is in the mapping survives the death of the process, by whatever way, without a sync; after a loss of power
it may be older. Nothing but the count of calls that ended the process rests on it. It belongs to who has the lock.
"""

import mmap
import os
import stat
from struct import Struct as Layout

from msgspec import Struct

from choreo.journal.errors import JournalError

CALLS_SUFFIX = "-calls"
EXECUTE, COMPENSATE = 1, 2
NAMES = {EXECUTE: "execute", COMPENSATE: "compensate"}

LAYOUT = Layout("<qqq")
"""Which call, or 0 where none is under way; the number of the run; the seat of the participant."""


class Mark(Struct, frozen=True):
    """A call that was under way when the process before ended."""

    call: str
    run: int
    seat: int


class Calls:
    """Marks each call of a service: `enter` before it, `leave` behind it; `run` and `seat` say whose it will be."""

    def __init__(self, mapping: mmap.mmap) -> None:
        self.run = self.seat = 0
        self._mapping = mapping
        self._pack = LAYOUT.pack_into

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
        call, run, seat = LAYOUT.unpack_from(self._mapping)
        return Mark(NAMES[call], run, seat) if call in NAMES else None

    def enter(self, call: int) -> None:
        self._pack(self._mapping, 0, call, self.run, self.seat)

    def leave(self) -> None:
        self._mapping[0] = 0

    def close(self) -> None:
        self._mapping.close()


def _mapped(descriptor: int) -> mmap.mmap:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError("it is no file")
    held = os.pread(descriptor, LAYOUT.size, 0).ljust(LAYOUT.size, b"\0")
    os.pwrite(descriptor, held, 0)  # so that there is room for it: a mapping without room ends the process
    return mmap.mmap(descriptor, LAYOUT.size)

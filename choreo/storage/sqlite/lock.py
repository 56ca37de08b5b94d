"""The lock of a journal, and the checks before it is taken.

Laws: one node at a time holds a journal, and the kernel passes it on when a node dies (flock).
"""

import fcntl
import os
from contextlib import suppress

from choreo.storage.errors import JournalError, JournalInUse
from choreo.storage.sqlite.log_watch import LogWatch

LOCK_SUFFIX = "-lock"

SQLITE_MAGIC = b"SQLite format 3\0"
"""Magic bytes of every SQLite file (https://sqlite.org/fileformat.html)."""


class Lock:
    """Exclusive right to write the runs of a journal, until release or the end of the process, however it ends."""

    def __init__(self, path: str, wait: bool = False) -> None:
        """Take the lock; with `wait`, wait for it. Raises `JournalInUse`, which names the process that has it."""
        expect_a_path(path)
        self._path = os.path.realpath(path) + LOCK_SUFFIX
        self._journal = os.path.realpath(path)
        self._inode: int | None = None
        self._log: LogWatch | None = None
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise JournalError(
                f"expected a journal that can be written, got {path!r}: {self._path} cannot be opened "
                f"({error.strerror})"
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            owner = self._owner()
            os.close(self._descriptor)
            raise JournalInUse(
                f"expected a journal that no other node has, got {path!r}: the process {owner} has it"
            ) from None
        except OSError as error:
            os.close(self._descriptor)
            raise JournalError(
                f"expected a file system that locks files, got {path!r}: {self._path} cannot be locked "
                f"({error.strerror})"
            ) from None
        with suppress(OSError):  # a full disk: the lock is held, but its owner cannot be recorded
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

        self._own_inode = os.fstat(self._descriptor).st_ino
        os.register_at_fork(after_in_child=self._forget)

    def watch_log(self) -> None:
        """Watch SQLite's log as well from now on; the journal is open. Raises `JournalError`."""
        self._log = LogWatch(self._journal)

    def expect_uncut(self) -> None:
        """Check that SQLite's log was not truncated since `expect_held`; an append would hide it.

        Raises `JournalError`.
        """
        if self._log is not None:
            self._log.expect_uncut()

    def expect_held(self) -> None:
        """Check that the journal, its log and the lock are still the same files. Raises `JournalError`.

        If another program has moved or removed one, another node may hold another journal under the same name.
        """
        if self._log is not None:
            self._log.expect_whole()
        try:
            inode = os.stat(self._journal).st_ino
            is_held = os.stat(self._path).st_ino == self._own_inode
        except OSError:
            inode, is_held = 0, False
        self._inode = self._inode or inode
        if not is_held or inode != self._inode:
            raise JournalError(
                f"expected {self._journal!r}, and the lock beside it, to stay where they are while a node has them; "
                "one of them was moved or removed"
            )

    def release(self) -> None:
        """Release the lock; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _forget(self) -> None:
        """Forget the lock in a child that a service has forked: it belongs to the parent, and ends with it."""
        self.release()

    def _owner(self) -> str:
        try:
            return os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        except OSError:
            return "unknown"


def expect_no_other_file(path: str) -> None:
    """Check that the file is not plainly another kind, before a file is created beside it. Raises `JournalError`.

    Only for a process that has not opened it yet: closing a file drops all locks that the process has on it, and so
    those of SQLite (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    expect_a_path(path)
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        raise JournalError(f"expected a journal, got {path!r}: it is no file")
    if os.stat(path).st_nlink > 1:
        raise JournalError(
            f"expected a journal with one name, got {path!r}: it has another one (a hard link), "
            "under which another node could have it"
        )
    try:
        with open(path, "rb") as file:
            begin = file.read(len(SQLITE_MAGIC))
    except OSError:
        return  # SQLite will report why it cannot be opened
    if begin and begin != SQLITE_MAGIC:
        raise JournalError(f"expected a journal, got {path!r}: it is something else")


def expect_a_path(path: str) -> None:
    if not path or "\0" in path:
        raise JournalError(f"expected a path, got {path!r}")
    if os.path.isdir(path):
        raise JournalError(f"expected a journal, got {path!r}: it is a directory")

"""What can be wrong with a journal, in words that say what was expected and what came."""

import sqlite3

from choreo.saga.request import Unavailable


class JournalError(Unavailable):
    """The journal cannot be used, or cannot be written any more. What was committed stays as it is."""


class JournalInUse(JournalError):
    """Another node has the journal."""


class DamagedJournal(JournalError):
    """SQLite finds that the file is not what it has written."""


class LeftAsItLies(JournalError):
    """The files of the journal do not fit together any more, and whoever writes them makes it worse.

    The process ends without closing them: to close them, SQLite would write what is left of the log into the journal.
    """


class JournalFails(JournalError):
    """The journal is as it should be, and the machine fails: no room, a disk that fails, a lock that is not let go."""


class UnreadableRow(JournalError):
    """A row holds what no node has written. Other rows can be read."""


WHAT_HAPPENED = {
    sqlite3.SQLITE_FULL: "there is no room left for it",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is something else",
    sqlite3.SQLITE_BUSY: "another program has it locked",
    sqlite3.SQLITE_LOCKED: "another program has it locked",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_IOERR_SHMSIZE: "there is no room left for what lies beside it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "it may not be opened",
}
"""By the extended result code, or else by the primary one (https://sqlite.org/rescode.html)."""


KINDS: dict[int, type[JournalError]] = {
    sqlite3.SQLITE_CORRUPT: DamagedJournal,
    sqlite3.SQLITE_FULL: JournalFails,
    sqlite3.SQLITE_IOERR: JournalFails,
    sqlite3.SQLITE_BUSY: JournalFails,
    sqlite3.SQLITE_LOCKED: JournalFails,
}


def explained(error: sqlite3.Error, path: str, what: str) -> JournalError:
    """`what` was to be done with the journal at `path`, and this came of it."""
    code = getattr(error, "sqlite_errorcode", None)
    happened = None if code is None else WHAT_HAPPENED.get(code, WHAT_HAPPENED.get(code & 0xFF))
    told = f"{happened} ({error})" if happened else str(error)
    kind = KINDS.get(0 if code is None else code & 0xFF, JournalError)
    return kind(f"expected a journal that can be {what}, got {path!r}: {told}")

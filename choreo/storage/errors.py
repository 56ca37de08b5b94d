"""Errors of a journal; each text says what was expected and what came."""

import sqlite3

from choreo.saga.request import Unavailable


class JournalError(Unavailable):
    """The journal cannot be used, or can no longer be written. Committed rows stay as they are."""


class JournalInUse(JournalError):
    """Another node has the journal."""


class DamagedJournal(JournalError):
    """SQLite finds the file corrupt."""


class LeftAsItLies(JournalError):
    """The files of the journal no longer fit together, and a further write would do more damage.

    The process ends without closing them: on close, SQLite would write the rest of the log into the journal.
    """


class JournalFails(JournalError):
    """The journal is sound, and the machine fails: a full disk, a disk error, a lock that is not released."""


class UnreadableRow(JournalError):
    """A row holds a value that no node writes. Other rows can be read."""


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
"""Explanations by extended result code, or else by primary result code (https://sqlite.org/rescode.html)."""


KINDS: dict[int, type[JournalError]] = {
    sqlite3.SQLITE_CORRUPT: DamagedJournal,
    sqlite3.SQLITE_FULL: JournalFails,
    sqlite3.SQLITE_IOERR: JournalFails,
    sqlite3.SQLITE_BUSY: JournalFails,
    sqlite3.SQLITE_LOCKED: JournalFails,
}


def explained(error: sqlite3.Error, path: str, what: str) -> JournalError:
    """Translate a SQLite error, raised while doing `what` with the journal at `path`."""
    code = getattr(error, "sqlite_errorcode", None)
    happened = None if code is None else WHAT_HAPPENED.get(code, WHAT_HAPPENED.get(code & 0xFF))
    told = f"{happened} ({error})" if happened else str(error)
    kind = KINDS.get(0 if code is None else code & 0xFF, JournalError)
    return kind(f"expected a journal that can be {what}, got {path!r}: {told}")

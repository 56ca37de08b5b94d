"""Opening a journal: for the one node that writes it, or read-only.

Laws: one node at a time holds a journal, and the kernel passes it on when a node dies (flock). A file that is not a
journal, or has a newer version, is never written.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from choreo.storage.errors import DamagedJournal, JournalError, JournalInUse, explained
from choreo.storage.sqlite.log_watch import LogWatch
from choreo.storage.sqlite.schema import APPLICATION_ID, FIRST_WITHOUT_PICKLES, MIGRATIONS, VERSION

BUSY_TIMEOUT_S = 10.0
"""Longest wait for another program's transaction: a prune, a backup."""

LOCK_SUFFIX = "-lock"

WRITES_NOTHING = "UPDATE services SET kind = kind WHERE false"
"""Fails on a read-only journal. A read-only file can be opened all the same, and would fail with a request."""

SQLITE_MAGIC = b"SQLite format 3\0"
"""Magic bytes of every SQLite file (https://sqlite.org/fileformat.html)."""

OBJECTIONS_MAX, SQL_SHOWN_MAX = 3, 120

Factory = type[sqlite3.Connection]


class Lock:
    """Exclusive right to write the runs of a journal, until release or the end of the process, however it ends."""

    def __init__(self, path: str, wait: bool = False) -> None:
        """Take the lock; with `wait`, wait for it. Raises `JournalInUse`, which names the process that has it."""
        _expect_a_path(path)
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
    _expect_a_path(path)
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


def _expect_a_path(path: str) -> None:
    if not path or "\0" in path:
        raise JournalError(f"expected a path, got {path!r}")
    if os.path.isdir(path):
        raise JournalError(f"expected a journal, got {path!r}: it is a directory")


def connect(path: str, factory: Factory = sqlite3.Connection) -> sqlite3.Connection:
    """Open a journal of this version for writing; create or migrate it if necessary.

    Raises `JournalError`.
    """
    connection = _opened(path, "rwc", factory)
    with closed_unless_fine(connection, path, "opened"):
        _migrate(connection, path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(
                f"expected a file system that takes a write-ahead log, got {path!r}: journal mode {mode}"
            )
        connection.execute(WRITES_NOTHING)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # on a Mac a plain fsync does not flush the drive's cache
    return connection


def connect_to_read(path: str) -> sqlite3.Connection:
    """Open a read-only connection. Raises `JournalError`."""
    _expect_a_path(path)
    if not Path(path).exists():
        raise JournalError(f"expected a journal, got {path!r}: there is no such file")
    try:
        return _connected_to_read(path, "rw" if os.access(path, os.W_OK) else "ro")
    except JournalError as error:
        if not _is_left_alone(path, error.__cause__):
            raise
        return _connected_to_read(path, "ro&immutable=1")


def _is_left_alone(path: str, error: BaseException | None) -> bool:
    """Return whether no log exists, and SQLite cannot create the files that it needs even to read."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_refused = code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return is_refused and Path(path).is_file() and not Path(f"{path}-wal").exists()


def _connected_to_read(path: str, mode: str) -> sqlite3.Connection:
    connection = _opened(path, mode, sqlite3.Connection)
    with closed_unless_fine(connection, path, "read"):
        connection.execute("PRAGMA query_only = ON")
        version = _version(connection, path)
        if not version:
            raise JournalError(f"expected a journal, got {path!r}: it is empty")
        if version < VERSION:
            raise JournalError(
                f"expected a journal of schema {VERSION}, got {path!r} of schema {version}; "
                "a node brings it forward when it opens it"
            )
        _expect_tables(connection, path, version)
    return connection


@contextmanager
def closed_unless_fine(connection: sqlite3.Connection, path: str, what: str) -> Iterator[None]:
    """Translate errors of SQLite; close the connection after any error."""
    try:
        yield
    except sqlite3.Error as error:
        connection.close()
        raise explained(error, path, what) from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged text in its error
        connection.close()
        raise DamagedJournal(f"expected a journal that can be {what}, got {path!r}: it is damaged ({error})") from None
    except BaseException:
        connection.close()
        raise


def _opened(path: str, mode: str, factory: Factory) -> sqlite3.Connection:
    try:
        uri = f"{Path(path).absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, BUSY_TIMEOUT_S, isolation_level=None, factory=factory, uri=True)
        connection.execute("PRAGMA trusted_schema = OFF")  # code in a foreign schema is never executed
        return connection
    except sqlite3.Error as error:
        raise explained(error, path, "opened") from error
    except ValueError as error:  # not a valid path: a zero byte
        raise JournalError(f"expected a path, got {path!r}: {error}") from None


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Return the version of the schema; 0 for an empty file. Raises `JournalError` for a file that is no journal."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application_id != APPLICATION_ID:
        if is_empty and not application_id and not version:
            return 0
        raise JournalError(f"expected a journal, got {path!r}: a SQLite file of some other program")
    if version > VERSION:
        raise JournalError(
            f"expected a journal of schema {VERSION} or older, got {path!r} of schema {version}: "
            "a newer choreo has written it"
        )
    return version


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    version = _version(connection, path)
    _expect_tables(connection, path, version)
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)  # again: the previous holder of the file may have migrated it
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if 0 < version < FIRST_WITHOUT_PICKLES:
        from choreo.storage.sqlite.unpickling import rewrite_pickles  # seldom needed, and the only user of pickle here

        rewrite_pickles(connection, path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _expect_tables(connection: sqlite3.Connection, path: str, version: int) -> None:
    """Check that the tables are those of that version, without foreign triggers. Raises `JournalError`.

    A view, a virtual table, a trigger or a generated column would execute foreign code. Additional tables, views and
    plain indexes are an operator's own, and harmless.
    """
    if not version:
        return
    expected = {(kind, name): sql for kind, name, _, sql in _schema_of(version)}
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    tables = {name for kind, name in expected if kind == "table"}
    objections = [
        *_differing(expected, {(kind, name): sql for kind, name, _, sql in found}),
        *(f"there is a trigger {name!a}" for kind, name, _, _ in found if kind == "trigger"),
        *(
            f"the index {name!a} is none of a journal's"
            for kind, name, table, sql in found
            if kind == "index" and table in tables and (kind, name) not in expected and "UNIQUE" in str(sql).upper()
        ),
    ]
    if objections:
        raise JournalError(f"expected a journal, got {path!r}, in which {'; '.join(objections[:OBJECTIONS_MAX])}")


def _differing(expected: Mapping[tuple[str, str], str], found: Mapping[tuple[str, str], str]) -> Iterator[str]:
    kinds = {name: kind for kind, name in found}
    for (kind, name), sql in expected.items():
        if (kind, name) not in found:
            yield f"{name} is {'a ' + kinds[name] if name in kinds else 'not there'}, and no {kind}"
        elif found[kind, name] != sql:
            yield f"the {kind} {name} is not as a node makes it ({str(found[kind, name])[:SQL_SHOWN_MAX]!a})"


def _schema_of(version: int) -> list[tuple[str, str, str, str]]:
    """Return the schema that the migrations up to that version produce in an empty file."""
    with closing(sqlite3.connect(":memory:")) as empty:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                empty.execute(statement)
        return empty.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()

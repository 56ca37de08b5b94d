"""Opening a journal: for the one node that writes it, which holds its lock (`lock.py`), or read-only.

Laws: a file that is not a journal, or has a newer version, is never written.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from choreo.storage.errors import DamagedJournal, JournalError, explained
from choreo.storage.sqlite.lock import expect_a_path
from choreo.storage.sqlite.schema import APPLICATION_ID, FIRST_WITHOUT_PICKLES, MIGRATIONS, VERSION

BUSY_TIMEOUT_S = 10.0
"""Longest wait for another program's transaction: a prune, a backup."""

WRITES_NOTHING = "UPDATE services SET kind = kind WHERE false"
"""Fails on a read-only journal. A read-only file can be opened all the same, and would fail with a request."""

OBJECTIONS_MAX, SQL_SHOWN_MAX = 3, 120

Factory = type[sqlite3.Connection]


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
    expect_a_path(path)
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

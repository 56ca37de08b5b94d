"""The journal's rows: written in one transaction each time, and read back.

Laws: all SQL about rows stands here; `schema.py` has the tables, and `opening.py` checks the file itself. A transaction
is atomic. Rows are read run by run, so that memory does not grow with the journal.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from types import NoneType
from typing import Any

from choreo.saga.outcome import State
from choreo.storage.cells import BESIDE, CELLS, shown, wrong_cells
from choreo.storage.errors import JournalError, LeftAsItLies, UnreadableRow, explained
from choreo.storage.rows import (
    BEGUN_COLUMNS,
    HELD,
    RUN_COLUMNS,
    RUNNING,
    UNFINISHED,
    BegunRow,
    DeliveryRow,
    EndedRow,
    HandledRow,
    RecordsRow,
    RunRow,
    read_run,
    saga_text,
)
from choreo.storage.sqlite.opening import Factory, connect, connect_to_read

ROWS_AT_ONCE = (64, 16, 4, 1)


def _insertions(into: str, columns: int) -> Mapping[int, str]:
    """Return the statements that insert that many rows."""
    row = f"({', '.join('?' * columns)})"
    return {size: f"INSERT INTO {into} VALUES {', '.join([row] * size)}" for size in ROWS_AT_ONCE}


BEGIN = _insertions(f"runs ({BEGUN_COLUMNS})", 12)
HANDLE = _insertions("deliveries", 8)
END = (
    "UPDATE runs SET state = ?1, ended_ms = ?2, outcome = coalesce(outcome, ?3), "
    "resolution = CASE WHEN outcome IS NULL THEN NULL ELSE ?3 END WHERE run = ?4"
)
"""An outcome that was sent to a client is never overwritten."""
IS_KNOWN = "SELECT run FROM runs WHERE saga_id = ?"
NEWEST = f"SELECT {RUN_COLUMNS} FROM runs WHERE saga_id = ? ORDER BY run DESC LIMIT 1"
DELIVERIES = (
    "SELECT run, number, at_ms, seat, heard, published, detail, receipt FROM deliveries WHERE run = ? ORDER BY number"
)
STRAYS = "SELECT DISTINCT run FROM deliveries WHERE run NOT IN (SELECT run FROM runs) ORDER BY run LIMIT ?"
PRUNABLE = (
    "SELECT run FROM runs WHERE state IN ('completed', 'compensated') AND ended_ms < ? AND run > ? "
    "AND run < (SELECT max(run) FROM runs) ORDER BY run LIMIT ?"
)
PRUNABLE_COUNT = (
    "SELECT count(*) FROM runs WHERE state IN ('completed', 'compensated') AND ended_ms < ?1 "
    "AND run < (SELECT max(run) FROM runs)"
)
KEPT_COUNT = "SELECT count(*) FROM runs WHERE state IN ('running', 'stuck') AND begun_ms < ?"
UNUSED_ORIGINS = (
    "DELETE FROM origins WHERE first_run < "
    "(SELECT max(first_run) FROM origins WHERE first_run <= (SELECT min(run) FROM runs))"
)
ASKED = "SELECT number, run FROM resumptions WHERE done_ms IS NULL ORDER BY number"
ANSWER = "UPDATE resumptions SET done_ms = ?, failure = ? WHERE number = ?"
KEEP_ORIGIN = "INSERT OR REPLACE INTO origins VALUES (?, ?)"
KEEP_SAGA = "INSERT OR IGNORE INTO sagas VALUES (?, ?)"
UNUSED_SAGAS = "DELETE FROM sagas WHERE digest NOT IN (SELECT saga FROM runs WHERE saga IS NOT NULL)"
KEEP_RECORDS = (
    "INSERT INTO services VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, records = excluded.records"
)


RUNS_MAX = 2**63 - 1
"""The highest number of a run: the widest integer of SQLite."""

ROWS_JUDGED_MAX = 10_000
NO_UTF8 = "Could not decode to UTF-8"

_TEXT_OR_NULL = (str, NoneType)
SOUND_DELIVERIES = {
    (int, int, int, int, str, str, detail, receipt) for detail in _TEXT_OR_NULL for receipt in _TEXT_OR_NULL
}
"""The types of a row of `deliveries` that a node writes."""

CONDITIONS = {
    UNFINISHED: "state = 'running'",
    RUNNING: "state = 'running' AND run NOT IN (SELECT run FROM held)",
    HELD: "state = 'running' AND run IN (SELECT run FROM held)",
    **{state.value: f"state = '{state.value}'" for state in State},
}
"""SQL conditions for the state of a run. A held run has not ended, and stands as `running` in its row."""


class Journal:
    """An open journal. Every method raises `JournalError` if the file cannot be read or written."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._execute = connection.execute
        self._execute_many = connection.executemany
        self._data_version = -1
        self._reads_any_text = False
        self._process = os.getpid()

    @classmethod
    def open(cls, path: str, factory: Factory = sqlite3.Connection) -> "Journal":
        """Open it for writing."""
        return cls(path, connect(path, factory))

    @classmethod
    def open_to_read(cls, path: str) -> "Journal":
        """Open it for reading."""
        return cls(path, connect_to_read(path))

    def close(self) -> None:
        self._connection.close()

    # Writing

    def begin(self) -> None:
        """Open the transaction that the next `commit` closes; reads until then see one snapshot.

        Many look-ups in one transaction take half as long as each in its own.
        """
        if not self._connection.in_transaction:
            if os.getpid() != self._process:
                raise LeftAsItLies(
                    f"expected {self.path!r} to be written by the process that has opened it, got a process that was "
                    "forked from it, as by a service; such a process must end by itself"
                )
            try:
                self._execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise self._failed(error, "written") from error

    def commit(
        self,
        begun: Sequence[BegunRow],
        handled: Sequence[HandledRow],
        ended: Sequence[EndedRow],
        records: Sequence[RecordsRow],
    ) -> None:
        """Write all these rows in one transaction, which `begin` may have opened.

        They are on disk when this returns.
        """
        if not (begun or handled or ended or records or self._connection.in_transaction):
            return
        self.begin()
        try:  # `_transaction` inlined: a context manager for each round takes two hundredths of a saga's time
            self._insert(BEGIN, begun)
            self._insert(HANDLE, handled)
            if ended:
                self._execute_many(END, ended)
            if records:
                self._execute_many(KEEP_RECORDS, records)
            self._execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error
        except BaseException:
            self._connection.rollback()
            raise

    def keep_saga(self, digest: str, definition: str) -> None:
        """Store the definition of a saga under its digest; part of the transaction of `begin`."""
        self.change(KEEP_SAGA, [(digest, definition)])

    def keep_origin(self, first_run: int, origin: str) -> None:
        """Store the origin of the idempotency keys from this run on; part of the transaction of `begin`."""
        try:
            self._execute(KEEP_ORIGIN, (first_run, origin))
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error

    def prune(self, before_ms: int, after: int = 0, limit: int = 1000) -> tuple[int, int]:
        """Delete up to `limit` runs, numbered above `after`, that completed or were compensated before then.

        Returns the number of deleted runs, and the number of the last one (0: there are no more). Unfinished and stuck
        runs stay, and so does the newest run, which reserves the next number. The freed space is reused.
        """
        pruned = [run for (run,) in self._all(PRUNABLE, (before_ms, after, limit))]
        with self._transaction():
            for table in ("deliveries", "resumptions", "held", "deadly_calls", "runs"):
                self._execute_many(f"DELETE FROM {table} WHERE run = ?", [(run,) for run in pruned])
            self._execute(UNUSED_ORIGINS)
            self._execute(UNUSED_SAGAS)
        return len(pruned), pruned[-1] if pruned else 0

    def prunable(self, before_ms: int) -> tuple[int, int]:
        """Count the runs that ended before then and can be deleted, and the runs begun before then that cannot."""
        ((prunable,),), ((kept,),) = self._all(PRUNABLE_COUNT, (before_ms,)), self._all(KEPT_COUNT, (before_ms,))
        return int(prunable), int(kept)

    def keep_catalogue(self, module: str) -> None:
        """Store the module whose services execute the sagas of this journal from now on."""
        with self._transaction():
            self._execute("DELETE FROM catalogue")
            self._execute("INSERT INTO catalogue VALUES (?)", (module,))

    # Requests of operators, which reach the node through the journal

    def ask_to_resume(self, run: int, at_ms: int) -> int:
        """Ask the node to resume a run; return the number of the question."""
        with self._transaction():
            (row,) = self._all("INSERT INTO resumptions (run, asked_ms) VALUES (?, ?) RETURNING number", (run, at_ms))
        return int(row[0])

    def asked_to_resume(self) -> list[tuple[int, int]]:
        """Return the open questions, each with the number of its run."""
        return [(number, run if run.__class__ is int else 0) for number, run in self._all(ASKED)]

    def answer(self, question: int, at_ms: int, failure: str | None = None) -> None:
        """Answer a question: the run is idle again, or the reason why it could not be resumed."""
        with self._transaction():
            text = None if failure is None else failure.encode("utf-8", "backslashreplace").decode()
            self._execute(ANSWER, (at_ms, text, question))

    def answered(self, question: int) -> tuple[bool, str | None]:
        """Return whether a question was answered, and the failure if there was one."""
        found = self._all("SELECT done_ms, failure FROM resumptions WHERE number = ?", (question,))
        return (bool(found and found[0][0] is not None), found[0][1] if found else None)

    def has_changed(self) -> bool:
        """Return whether another program has written since the last call."""
        ((version,),) = self._all("PRAGMA data_version")
        before, self._data_version = self._data_version, int(version)
        return self._data_version != before

    # Reading

    def counts(self) -> dict[str, int]:
        """Count the runs in each state; held runs are not counted as running."""
        counts = dict(self._all("SELECT state, count(*) FROM runs GROUP BY state"))
        ((held,),) = self._all("SELECT count(*) FROM held JOIN runs USING (run) WHERE state = 'running'")
        if held:
            counts |= {RUNNING: counts[RUNNING] - held, HELD: held}
        return {state: count for state, count in counts.items() if count}

    def last_run(self) -> int:
        """Return the number of the newest run; 0 if there is none."""
        (newest,) = self._all("SELECT coalesce(max(run), 0) FROM runs")
        if newest[0] >= RUNS_MAX:
            raise self._unreadable(f"run {newest[0]} leaves no number for another run")
        return int(newest[0])

    def find(self, saga_id: str | int) -> RunRow | None:
        """Return the newest run of a saga."""
        key = (saga_text(saga_id),)
        try:
            if self._execute(IS_KNOWN, key).fetchone() is None:  # fast path for the usual case
                return None
        except sqlite3.Error as error:
            raise self._failed(error, "read") from error
        (row,) = self._all(NEWEST, key)
        return self.read(row)

    def runs(self, after: int = 0, limit: int = 1000, state: str | None = None) -> list[RunRow]:
        """Return the next runs by number: all, or those in one state."""
        return [self.read(row) for row in self.run_rows(after, limit, state)]

    def run(self, number: int) -> RunRow | None:
        """Return the run with that number."""
        if not 0 < number <= RUNS_MAX:
            return None
        return next((row for row in self.runs(number - 1, 1) if row.number == number), None)

    def run_rows(self, after: int = 0, limit: int = 1000, state: str | None = None) -> list[tuple[Any, ...]]:
        """Return the next runs as raw values of `RUN_COLUMNS`, for callers that also handle unreadable rows."""
        where = "" if state is None else f"{_condition(state)} AND "
        return self._all(f"SELECT {RUN_COLUMNS} FROM runs WHERE {where}run > ? ORDER BY run LIMIT ?", (after, limit))

    def read(self, columns: Sequence[Any]) -> RunRow:
        """Decode a row of `run_rows`. Raises `UnreadableRow` for a row that no node writes."""
        wrong = "; ".join(wrong_cells("runs", columns))
        if not wrong and columns[10] is not None and columns[-1] is None:
            wrong = f"saga: expected a digest in the table sagas, got {shown(columns[10])}"
        if wrong:
            raise self._unreadable(f"run {columns[0]} cannot be read: {wrong}")
        return read_run(columns)

    def deliveries(self, run: int) -> list[DeliveryRow]:
        """Return the deliveries of a run in order. Raises `UnreadableRow` for a row that no node writes."""
        rows = self._all(DELIVERIES, (run,))
        if not SOUND_DELIVERIES.issuperset([tuple(map(type, row)) for row in rows]):
            raise self._unreadable(f"run {run}, {_first_wrong(rows)}")
        return [DeliveryRow(*row) for row in rows]

    def catalogue(self) -> str | None:
        """Return the module whose services have executed the sagas so far."""
        found = self._all("SELECT module FROM catalogue")
        return str(found[0][0]) if found else None

    def records(self) -> Iterator[RecordsRow]:
        """Yield the records of the services."""
        yield from self._all("SELECT name, kind, records FROM services ORDER BY name")

    # For the neighbouring modules that have tables of their own

    def select(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._all(query, values)

    def change(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each of these rows, in the transaction that the next `commit` closes."""
        self.begin()
        try:
            self._execute_many(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error

    # For read-only commands

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Read within one snapshot, also while another program writes."""
        self._all("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def before_newest(self, count: int, state: str | None = None) -> int:
        """Return the number before the newest `count` runs, of all or of those in one state."""
        where = "" if state is None else f"WHERE {_condition(state)} "
        query = f"SELECT min(run) FROM (SELECT run FROM runs {where}ORDER BY run DESC LIMIT ?)"
        ((first,),) = self._all(query, (count,))
        return 0 if first is None else max(int(first) - 1, 0)

    def damage(self, limit: int = 100) -> list[str]:
        """Return the errors of SQLite's integrity check; empty if the file is sound."""
        found = [str(text) for (text,) in self._all(f"PRAGMA integrity_check({int(limit)})")]
        return [] if found == ["ok"] else found

    def strays(self, limit: int = 100) -> list[int | str]:
        """Return the numbers of missing runs that have deliveries; a value that is not a number is returned as text."""
        return [run if run.__class__ is int else shown(run) for (run,) in self._all(STRAYS, (limit,))]

    def wrong_cells(self, limit: int = 100) -> list[str]:
        """Return a sentence for each row with an illegal cell, in the tables beside runs and deliveries."""
        below = self._all("SELECT run FROM runs WHERE run < 1 LIMIT ?", (limit,))
        found = [f"runs, row {run}: run: expected a number above 0" for (run,) in below]
        for table in BESIDE:
            columns = ", ".join(CELLS[table])
            for row in self._all(f"SELECT {columns} FROM {table} ORDER BY 1 LIMIT {ROWS_JUDGED_MAX}"):
                wrong = "; ".join(wrong_cells(table, row))
                if wrong and len(found) < limit:
                    found.append(f"{table}, row {shown(row[0])}: {wrong}")
        return found

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._reads_any_text and NO_UTF8 in str(error):
                return self._all_as_it_is(query, values)
            raise self._failed(error, "read") from error

    def _all_as_it_is(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return all rows of a query; undecodable text is escaped, and is illegal for that reason."""
        self._reads_any_text = True
        self._connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
        try:
            return self._all(query, values)
        finally:
            self._reads_any_text = False
            self._connection.text_factory = str

    def _unreadable(self, why: str) -> UnreadableRow:
        return UnreadableRow(f"expected a journal that is sound, got {self.path!r}: {why}")

    def _insert(self, statements: Mapping[int, str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert many rows for each statement, in two thirds of the time of one statement for each row."""
        if len(rows) == 1:
            self._execute(statements[1], rows[0])
            return
        at, count = 0, len(rows)
        for size, statement in statements.items():
            while count - at >= size:
                self._execute(statement, tuple(chain.from_iterable(rows[at : at + size])))
                at += size

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.begin()
        try:
            yield
            self._execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error
        except BaseException:
            self._connection.rollback()
            raise

    def _failed(self, error: sqlite3.Error, what: str) -> JournalError:
        if self._connection.in_transaction:
            self._connection.rollback()
        return explained(error, self.path, what)


def _first_wrong(rows: Sequence[Sequence[Any]]) -> str:
    """Describe the first of these rows that no node writes."""
    for row in rows:
        wrong = "; ".join(wrong_cells("deliveries", row))
        if wrong:
            return f"delivery {shown(row[1])} cannot be read: {wrong}"
    return "its deliveries cannot be read"


def _condition(state: str) -> str:
    """Return the SQL condition for a state.

    It is part of the query's text, so that SQLite uses the index of that state.
    """
    if state not in CONDITIONS:
        raise ValueError(f"state: expected {', '.join(CONDITIONS)}, got {state!r}")
    return CONDITIONS[state]

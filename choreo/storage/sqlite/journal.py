"""The journal's rows: written in one transaction each time, and read back.

Laws: the SQL about runs, their deliveries and the services stands here; `schema.py` has the tables, `opening.py` checks
the file itself, and `file.py` keeps transactions atomic. Rows are read run by run, so that memory does not grow with
the journal.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

from choreo.saga.outcome import State
from choreo.storage.cells import shown, wrong_cells
from choreo.storage.errors import UnreadableRow
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
from choreo.storage.sqlite.file import JournalFile
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
KEEP_ORIGIN = "INSERT OR REPLACE INTO origins VALUES (?, ?)"
KEEP_SAGA = "INSERT OR IGNORE INTO sagas VALUES (?, ?)"
KEEP_RECORDS = (
    "INSERT INTO services VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, records = excluded.records"
)

RUNS_MAX = 2**63 - 1
"""The highest number of a run: the widest integer of SQLite."""

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


class Journal(JournalFile):
    """An open journal. Every method raises `JournalError` if the file cannot be read or written."""

    @classmethod
    def open(cls, path: str, factory: Factory = sqlite3.Connection) -> "Journal":
        """Open it for writing."""
        return cls(path, connect(path, factory))

    @classmethod
    def open_to_read(cls, path: str) -> "Journal":
        """Open it for reading."""
        return cls(path, connect_to_read(path))

    # Writing

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
        try:  # `transaction` inlined: a context manager for each round takes two hundredths of a saga's time
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

    def keep_catalogue(self, module: str) -> None:
        """Store the module whose services execute the sagas of this journal from now on."""
        with self.transaction():
            self._execute("DELETE FROM catalogue")
            self._execute("INSERT INTO catalogue VALUES (?)", (module,))

    # Reading

    def counts(self) -> dict[str, int]:
        """Count the runs in each state; held runs are not counted as running."""
        counts = dict(self.select("SELECT state, count(*) FROM runs GROUP BY state"))
        ((held,),) = self.select("SELECT count(*) FROM held JOIN runs USING (run) WHERE state = 'running'")
        if held:
            counts |= {RUNNING: counts[RUNNING] - held, HELD: held}
        return {state: count for state, count in counts.items() if count}

    def last_run(self) -> int:
        """Return the number of the newest run; 0 if there is none."""
        (newest,) = self.select("SELECT coalesce(max(run), 0) FROM runs")
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
        (row,) = self.select(NEWEST, key)
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
        return self.select(f"SELECT {RUN_COLUMNS} FROM runs WHERE {where}run > ? ORDER BY run LIMIT ?", (after, limit))

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
        rows = self.select(DELIVERIES, (run,))
        if not SOUND_DELIVERIES.issuperset([tuple(map(type, row)) for row in rows]):
            raise self._unreadable(f"run {run}, {_first_wrong(rows)}")
        return [DeliveryRow(*row) for row in rows]

    def catalogue(self) -> str | None:
        """Return the module whose services have executed the sagas so far."""
        found = self.select("SELECT module FROM catalogue")
        return str(found[0][0]) if found else None

    def records(self) -> Iterator[RecordsRow]:
        """Yield the records of the services."""
        yield from self.select("SELECT name, kind, records FROM services ORDER BY name")

    def before_newest(self, count: int, state: str | None = None) -> int:
        """Return the number before the newest `count` runs, of all or of those in one state."""
        where = "" if state is None else f"WHERE {_condition(state)} "
        query = f"SELECT min(run) FROM (SELECT run FROM runs {where}ORDER BY run DESC LIMIT ?)"
        ((first,),) = self.select(query, (count,))
        return 0 if first is None else max(int(first) - 1, 0)

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

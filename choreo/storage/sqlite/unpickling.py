"""The step from schema 5 to 6: receipts and service records that were pickles become JSON.

Laws: part of the one transaction of the migration. A pickle that an unfinished or stuck run, or a service, still needs
is read or the migration fails, and the file stays as it was; one of a run that has ended is kept unread if need be.
"""

import json
import sqlite3
from typing import Any

from choreo.saga.codec import encode
from choreo.saga.plan import plan
from choreo.storage.errors import JournalError
from choreo.storage.pickles import NotPlain, kept_unread, receipt_from_pickle, records_from_pickle
from choreo.storage.values import read_steps

TOGETHER = "*"
ROWS_AT_ONCE = 1000
PICKLED = (
    "SELECT run, number, seat, receipt, state, steps FROM deliveries LEFT JOIN runs USING (run) "
    "WHERE typeof(receipt) = 'blob' AND (run, number) > (?, ?) ORDER BY run, number LIMIT ?"
)
ENDED = ("completed", "compensated")
REMEDY = "finish its runs with the choreo that has written it, or make that class a dataclass, and then open it again"


def rewrite_pickles(connection: sqlite3.Connection, path: str) -> None:
    """Write all values of a journal of schema 5 as JSON. Raises `JournalError` for one that is still needed."""
    _rewrite_records(connection, path)
    run, number = -(2**63), 0
    while rows := connection.execute(PICKLED, (run, number, ROWS_AT_ONCE)).fetchall():
        texts = [(_receipt(path, *row), row[0], row[1]) for row in rows]
        connection.executemany("UPDATE deliveries SET receipt = ? WHERE run = ? AND number = ?", texts)
        run, number = rows[-1][0], rows[-1][1]


def _rewrite_records(connection: sqlite3.Connection, path: str) -> None:
    for name, kind, records in connection.execute("SELECT name, kind, records FROM services").fetchall():
        if isinstance(records, bytes):
            kind, records = TOGETHER, _common_row(path, kind, records)
        else:
            records = _legible(records)
        connection.execute("UPDATE services SET kind = ?, records = ? WHERE name = ?", (kind, records, name))


def _common_row(path: str, kind: Any, records: bytes) -> str:
    try:
        return records_from_pickle(records, json.loads(kind))
    except (NotPlain, TypeError, ValueError) as error:
        raise _not_plain(path, f"services, row {TOGETHER!r}: {error}") from None


def _legible(records: Any) -> Any:
    """Write fields in the codec's form; a damaged cell stays, and is reported by who reads it."""
    try:
        fields = json.loads(records)
    except (TypeError, ValueError, RecursionError):
        return records
    return encode(fields, "the fields of a service") if isinstance(fields, dict) else records


def _receipt(path: str, run: Any, number: Any, seat: Any, receipt: bytes, state: Any, steps: Any) -> str:
    try:
        return receipt_from_pickle(receipt)
    except NotPlain as error:
        if state is None or state in ENDED:
            return kept_unread(receipt)
        where = f"deliveries, run {run}, delivery {number}, the receipt of {_step(steps, seat)}"
        raise _not_plain(path, f"{where}: {error}") from None


def _step(steps: Any, seat: Any) -> str:
    try:
        return f"step {plan(read_steps(steps)).steps[seat]!r}"
    except (TypeError, ValueError, IndexError, RecursionError):  # a damaged row may hold any value
        return f"seat {seat!r}"


def _not_plain(path: str, why: str) -> JournalError:
    return JournalError(f"expected a journal whose values can be written as JSON, got {path!r}: {why}; {REMEDY}")

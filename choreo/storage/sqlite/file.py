"""The open file of a journal: its transactions, its queries, and the errors of both.

Laws: knows no table. A transaction is atomic; every error of SQLite becomes a `JournalError`, and ends the transaction.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from choreo.storage.errors import JournalError, LeftAsItLies, explained

NO_UTF8 = "Could not decode to UTF-8"


class JournalFile:
    """An open file. Every method raises `JournalError` if it cannot be read or written."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._execute = connection.execute
        self._execute_many = connection.executemany
        self._data_version = -1
        self._reads_any_text = False
        self._process = os.getpid()

    def close(self) -> None:
        self._connection.close()

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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write what the block writes in one transaction."""
        self.begin()
        try:
            yield
            self._execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error
        except BaseException:
            self._connection.rollback()
            raise

    def select(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        try:
            return self._execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._reads_any_text and NO_UTF8 in str(error):
                return self._select_as_it_is(query, values)
            raise self._failed(error, "read") from error

    def change(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each of these rows, in the transaction that the next `commit` closes."""
        self.begin()
        try:
            self._execute_many(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error, "written") from error

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Read within one snapshot, also while another program writes."""
        self.select("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def has_changed(self) -> bool:
        """Return whether another program has written since the last call."""
        ((version,),) = self.select("PRAGMA data_version")
        before, self._data_version = self._data_version, int(version)
        return self._data_version != before

    def _select_as_it_is(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return all rows of a query; undecodable text is escaped, and is illegal for that reason."""
        self._reads_any_text = True
        self._connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
        try:
            return self.select(query, values)
        finally:
            self._reads_any_text = False
            self._connection.text_factory = str

    def _failed(self, error: sqlite3.Error, what: str) -> JournalError:
        if self._connection.in_transaction:
            self._connection.rollback()
        return explained(error, self.path, what)

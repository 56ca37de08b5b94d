"""Helpers for tests of journals: services that fail on request, journals of real runs, rows changed by hand.

Laws: real files, a real runner or a real node. A test that waits for a process waits on its pipe. Also a module of
services for a separate node: `--services tests.journals`.
"""

import os
import signal
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.keys import execution_key
from choreo.saga.plan import Itinerary
from choreo.saga.request import Request, Sender
from choreo.saga.service import Refused, Service, ServiceOf
from choreo.storage.sqlite.journal import Journal
from choreo.terminal.views.durations import now_ms

TRIP: Itinerary = ("book_flight", "book_hotel", "book_car")
SIGNS = "CHOREO_TEST_SIGNS"
"""Environment variable with a folder. While a file `closed` is in it, no compensation works; `deadly-execute` or
`deadly-compensate` kills the process at the next call, once.
"""


class Desk:
    """Service for every step. Stores a number, returns a tuple as receipt, and refuses on request."""

    def __init__(self, is_closed: bool = False) -> None:
        self.held = 0
        self.is_closed = is_closed

    def __getstate__(self) -> dict[str, Any]:
        return {"held": self.held}

    def execute(self, reference: str) -> tuple[str, str]:
        _obey("deadly-execute")
        self.held += 1
        return "receipt", reference

    def compensate(self, reference: str, receipt: object) -> None:
        _obey("deadly-compensate")
        if self.is_closed or _sign("closed").exists():
            raise Refused("the desk is closed")
        assert receipt == ("receipt", execution_key(reference))
        self.held -= 1


def _sign(name: str) -> Path:
    return Path(os.environ.get(SIGNS, "/nowhere"), name)


def _obey(name: str) -> None:
    sign = _sign(name)
    if sign.exists():
        sign.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def catalogue() -> ServiceOf:
    desk = Desk()
    return lambda step: desk


def always(service: Service) -> ServiceOf:
    return lambda step: service


@contextmanager
def runner_on(path: str, service: Service, at_ms: int | None = None) -> Iterator[DurableRunner]:
    """Open a runner as a process does, and close it at the end of the block. The clock is the wall clock, or stands
    still.
    """
    journal = Journal.open(path)
    try:
        yield DurableRunner(always(service), journal, now_ms if at_ms is None else lambda: at_ms)
    finally:
        journal.close()


def write(path: str, *requests: Request, service: Service | None = None, at_ms: int | None = None) -> str:
    """Write a journal of these runs, each run to its end."""
    with runner_on(path, service or Desk(), at_ms) as runner:
        for number, request in enumerate(requests, start=1):
            runner.begin(request, Sender("tester", number))
            runner.run_until_idle()
        runner.commit()
    return path


class Died(BaseException):
    """Simulates the death of the process."""


def write_cut(path: str, request: Request, commits: int, at_ms: int | None = None) -> str:
    """Write a journal of a run cut off after `commits` transactions."""
    left = commits
    with runner_on(path, Desk(), at_ms) as runner:
        rounds = runner._rounds  # noqa: SLF001  # each of them ends in a commit
        commit = rounds.commit

        def commit_or_die() -> None:
            nonlocal left
            if left == 0:
                raise Died
            left -= 1
            commit()

        rounds.commit = commit_or_die  # type: ignore[method-assign]  # the death is planted here
        try:
            runner.begin(request, Sender("tester", 1))
            runner.run_until_idle()
        except Died:
            return path
    raise AssertionError(f"expected a run of more than {commits} transactions")


def resume(path: str, saga_id: str | int, service: Service | None = None, at_ms: int | None = None) -> None:
    """Resume a run as an operator does without a node."""
    with runner_on(path, service or Desk(), at_ms) as runner:
        row = runner_journal(runner).find(saga_id)
        assert row is not None
        runner.resume(row)
        runner.commit()


def runner_journal(runner: DurableRunner) -> Journal:
    return runner._journal  # noqa: SLF001  # the same file, as the runner sees it


def change(path: str, *statements: str) -> str:
    """Execute SQL statements on the journal, bypassing every check of a node."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def rows(path: str, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, tuple(values)).fetchall()


def state_of(path: str, saga_id: str | int) -> str:
    journal = Journal.open_to_read(path)
    try:
        row = journal.find(saga_id)
        assert row is not None
        return row.state
    finally:
        journal.close()


COMPLETED = Request("done", TRIP)
COMPENSATED = Request("undone", ("a", ("b", "c"), "d"), "d")
STUCK = Request("stuck", ("a", ("b", "c"), "d"), "d", "b")
ORCHESTRATED = Request("directed", ("a", ("b", "c"), "d"), "d", None, "orchestration")
STUCK_TOO = Request("stuck too", ("a", "b", "c"), "c", "a", "orchestration")
EVERY_KIND = (COMPLETED, COMPENSATED, STUCK, ORCHESTRATED, STUCK_TOO, Request(7, ()), Request("twice", ("x", "x"), "y"))

"""The tables about held runs: the service of each step, the calls that ended the process, and the runs that are held.

Laws: all SQL about these tables stands here. Changes are written with the next commit of the journal.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from choreo.storage.cells import wrong_cells
from choreo.storage.sqlite.journal import RUNS_MAX, Journal
from choreo.storage.values import quote, quote_or_none, read, read_or_none

SERVED = "SELECT kind FROM served WHERE step = ? AND run <= ? ORDER BY run DESC LIMIT 1"
NOTE_SERVED = "INSERT OR REPLACE INTO served VALUES (?, ?, ?)"
HOLD = "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)"
HELD_AMONG = "SELECT run, at_ms, step, reason FROM held WHERE run BETWEEN ? AND ? ORDER BY run"
RELEASE = "DELETE FROM held WHERE run = ?"
DEADLY = "SELECT run, seat, call, deaths FROM deadly_calls ORDER BY run, seat"
COUNT_DEATH = "INSERT OR REPLACE INTO deadly_calls VALUES (?, ?, ?, ?)"
FORGET_DEATHS = "DELETE FROM deadly_calls WHERE run = ? AND seat = ?"
IS_UNFINISHED = "SELECT 1 FROM runs WHERE run = ? AND state = 'running'"


class HeldRow(Struct, frozen=True):
    """A held run: since when, in milliseconds since 1970, at which step, and why."""

    run: int
    at_ms: int
    step: str | None
    reason: str


class DeadlyRow(Struct, frozen=True):
    """A call of a service, and the number of consecutive processes that it ended."""

    run: int
    seat: int
    call: str
    deaths: int


def held_among(journal: Journal, first: int, last: int = RUNS_MAX) -> dict[int, HeldRow]:
    """Return the held runs in this range of numbers; a run whose row cannot be read counts as held."""
    return {row[0]: _held_row(row) for row in journal.select(HELD_AMONG, (first, last))}


def held_run(journal: Journal, run: int) -> HeldRow | None:
    return held_among(journal, run, run).get(run)


def hold(journal: Journal, row: HeldRow) -> None:
    journal.change(HOLD, [(row.run, row.at_ms, quote_or_none(row.step), quote(row.reason))])


def release(journal: Journal, run: int) -> None:
    """Mark the run as no longer held."""
    journal.change(RELEASE, [(run,)])


def served_by(journal: Journal, step: str, run: int) -> str | None:
    """Return the kind of the service that served a step when that run began; None: a stand-in, or unknown."""
    found = journal.select(SERVED, (quote(step), run))
    return None if not found or found[0][0] is None else str(found[0][0])


def note_served(journal: Journal, step: str, run: int, kind: str | None) -> None:
    """Record that from that run on a service of that kind serves the step; None: the stand-in."""
    journal.change(NOTE_SERVED, [(quote(step), run, kind)])


def deadly_calls(journal: Journal) -> list[DeadlyRow]:
    """Return all calls that ended a process; an unreadable row counts as zero."""
    return [DeadlyRow(*row) for row in journal.select(DEADLY) if not any(wrong_cells("deadly_calls", row))]


def count_death(journal: Journal, row: DeadlyRow) -> None:
    journal.change(COUNT_DEATH, [(row.run, row.seat, row.call, row.deaths)])


def forget_deaths(journal: Journal, calls: Iterable[tuple[int, int]]) -> None:
    """Delete the counts of those calls (run, subscriber index), which have returned."""
    journal.change(FORGET_DEATHS, list(calls))


def is_unfinished(journal: Journal, run: int) -> bool:
    return bool(journal.select(IS_UNFINISHED, (run,)))


def _held_row(row: tuple[Any, ...]) -> HeldRow:
    run, at_ms, step, reason = row
    wrong = "; ".join(wrong_cells("held", row))
    if wrong:
        return HeldRow(run, 0, None, f"its row in the table held cannot be read: {wrong}")
    return HeldRow(run, at_ms, read_or_none(step), read(reason))

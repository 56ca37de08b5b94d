"""`choreo sagas`: the runs of a journal, the newest last.

Laws: read-only, also while a node runs. Memory is bounded by one batch of runs.
"""

import json as json_module
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.naming import enumerated
from choreo.analysis.next_events import ENDED, NextEvents, NextEventsReader, as_json, next_events_text
from choreo.render.names import cut, padded
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.storage.errors import JournalError
from choreo.storage.rows import HELD, RUNNING, RunRow
from choreo.storage.sqlite.holds import HeldRow, held_among
from choreo.storage.sqlite.journal import Journal
from choreo.terminal.options.choices import choice
from choreo.terminal.options.command import Command, finish, wrong_use
from choreo.terminal.options.journal_file import JournalFile, journal_to_read
from choreo.terminal.options.panels import OPERATE
from choreo.terminal.options.trace_file import text_of
from choreo.terminal.views.durations import age_text, now_ms
from choreo.trace.record import time_text

SAGAS_HELP = "List the runs of a journal, newest last: state, age, and the next events of unfinished runs."
SAGAS_EPILOG = """[bold]Examples[/]
  choreo sagas --journal sagas.db
  choreo sagas --journal sagas.db --state stuck --limit 0
  choreo sagas --journal sagas.db --state held
  choreo sagas --journal sagas.db --state running --json

[bold]Exit status[/]
  0  listed, whatever the runs are like
  2  wrong use, or a journal that cannot be read"""

LIMIT, BATCH = 20, 500
SAGA_MAX, SAGA_MIN = 32, 12
STATES = {RUNNING: "cyan", HELD: "bold red", "completed": "green", "compensated": "yellow", "stuck": "bold red"}
"""Style of each state."""

HEAD = ("run", "saga", "state", "age", "expected next")


class OfState(StrEnum):
    RUNNING = "running"
    HELD = "held"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


def register(app: typer.Typer) -> None:
    app.command("sagas", cls=Command, rich_help_panel=OPERATE, help=SAGAS_HELP, epilog=SAGAS_EPILOG)(_sagas)


def _sagas(
    journal: JournalFile,
    state: Annotated[
        OfState | None,
        choice("--state", OfState, "STATE", "Only runs in this state: running, held, stuck, completed or compensated."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help=f"Number of runs, the newest; 0: all (default: {LIMIT}, all with --json).",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON for programs, one object a run, each on a line.")
    ] = False,
) -> None:
    screen = Screen()
    with wrong_use(), journal_to_read(journal) as opened:
        if json:
            for batch in _batches(opened, state, limit or 0):
                screen.plain("\n".join(json_module.dumps(_plain(run)) for run in batch))
        else:
            _List(screen, opened, state, LIMIT if limit is None else limit).show()
    finish(is_finding=False)


class Seen(Struct, frozen=True):
    """One run: its number, and its row, or the reason why the row cannot be read."""

    number: int
    row: RunRow | None
    next_events: NextEvents = ENDED
    wrong: str | None = None
    held: HeldRow | None = None


def _batches(journal: Journal, state: str | None, limit: int) -> Iterator[list[Seen]]:
    """Yield the newest runs in batches, oldest first; all runs without a limit."""
    next_events = NextEventsReader(journal)
    after = journal.before_newest(limit, state) if limit else 0
    while True:
        with journal.at_one_moment():
            rows = journal.run_rows(after, BATCH, state)
            held = held_among(journal, rows[0][0], rows[-1][0]) if rows else {}
            batch = [_seen(journal, columns, next_events, held.get(columns[0])) for columns in rows]
        if not batch:
            return
        yield batch
        after = batch[-1].number


def _seen(journal: Journal, columns: Sequence[Any], next_events: NextEventsReader, held: HeldRow | None) -> Seen:
    try:
        row = journal.read(columns)
    except JournalError as error:
        return Seen(columns[0], None, wrong=str(error))
    return Seen(row.number, row, next_events.of(row), held=held if row.state == RUNNING else None)


# Text


class _List:
    """One line for each run; every line fits the width."""

    def __init__(self, screen: Screen, journal: Journal, state: str | None, limit: int) -> None:
        self._screen = screen
        self._journal = journal
        self._state = state
        self._limit = limit
        self._now_ms = now_ms()
        self._widths = [0] * (len(HEAD) - 1)

    def show(self) -> None:
        counts = self._journal.counts()
        older = sum(c for s, c in counts.items() if self._state in (None, s)) - self._limit if self._limit else 0
        is_first = True
        for batch in _batches(self._journal, self._state, self._limit):
            rows = [self._cells(seen) for seen in batch]
            self._widen([HEAD, *rows])
            if is_first:
                self._screen.lines([self._line(HEAD, TITLE)])
                if older > 0:
                    dots = self._screen.glyphs.ellipsis
                    self._screen.one_line((f"{dots} {older:,} older, which --limit 0 lists as well", FAINT))
            is_first = False
            self._screen.lines([self._line(row) for row in rows])
        if not is_first:
            self._screen.one_line()
        self._screen.one_line(self._summary(counts))

    def _cells(self, seen: Seen) -> tuple[str, ...]:
        row, run = seen.row, f"run-{seen.number}"
        if row is None:
            return run, "?", "?", "?", "cannot be read: choreo check says why"
        saga = self._screen.name(str(text_of(row.request.saga_id)))
        age = age_text(self._now_ms - row.begun_ms)
        if seen.held is not None:
            return run, saga, HELD, age, f"nothing: {self._screen.prose(seen.held.reason)}"
        return run, saga, self._screen.prose(row.state), age, next_events_text(row, seen.next_events, self._screen.name)

    def _widen(self, rows: Sequence[Sequence[str]]) -> None:
        for column in range(len(self._widths)):
            width = max(cell_len(row[column]) for row in rows)
            if HEAD[column] == "saga":
                width = min(width, SAGA_MAX, max(SAGA_MIN, self._screen.width // 4))
            self._widths[column] = max(self._widths[column], width)

    def _line(self, cells: Sequence[str], style: str | None = None) -> Text:
        line = Text()
        ellipsis = self._screen.glyphs.ellipsis
        for name, cell, width in zip(HEAD, cells, self._widths, strict=False):
            shown = padded(cut(cell, width, ellipsis), width)
            line.append(shown, style or (STATES.get(cell, "") if name == "state" else ""))
            line.append("  ")
        line.append(cut(cells[-1], max(self._screen.width - line.cell_len, 0), ellipsis), style or "")
        line.rstrip()
        return line

    def _summary(self, counts: dict[str, int]) -> str:
        total = sum(counts.values())
        if not total:
            return "no run"
        known = [state for state in dict.fromkeys((*STATES, *counts)) if state in counts]
        each = enumerated([f"{counts[state]:,} {self._screen.prose(str(state))}" for state in known])
        return f"{total:,} {'run' if total == 1 else 'runs'}: {each}"


# JSON


def _plain(seen: Seen) -> dict[str, Any]:
    row, run = seen.row, f"run-{seen.number}"
    if row is None:
        return {"run": run, "state": None, "wrong": seen.wrong}
    return {
        "run": run,
        "saga_id": row.request.saga_id,
        "state": row.state if seen.held is None else HELD,
        "held": held_as_json(seen.held),
        "style": row.request.style,
        "begun": time_text(row.begun_ms),
        "ended": None if row.ended_ms is None else time_text(row.ended_ms),
        "age_s": max(now_ms() - row.begun_ms, 0) / 1000,
        "next": as_json(seen.next_events),
        "wrong": seen.next_events.unknown,
        "outcome": msgspec.to_builtins(row.outcome),
        "resolution": msgspec.to_builtins(row.resolution),
    }


def held_as_json(held: HeldRow | None) -> dict[str, Any] | None:
    """Return the step at which a run is held, the reason, and the time."""
    return None if held is None else {"step": held.step, "reason": held.reason, "since": time_text(held.at_ms)}

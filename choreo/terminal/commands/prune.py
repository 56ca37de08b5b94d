"""`choreo prune`: deletes runs that ended long ago.

Laws: never deletes an unfinished or stuck run. Deletes in small batches, one transaction each, and pauses in between so
that a node can write. It may be stopped at any moment and run again.
"""

import time
from typing import Annotated

import typer
from msgspec import Struct

from choreo.render.screen import FAINT, TITLE, Screen
from choreo.saga.usage import UsageError
from choreo.storage.errors import JournalFails
from choreo.storage.sqlite import pruning
from choreo.storage.sqlite.journal import Journal
from choreo.terminal.options.command import Command, Json, finish, wrong_use
from choreo.terminal.options.journal_file import JournalFile, journal_errors, journal_to_read
from choreo.terminal.options.lab import Bar, progress_bar
from choreo.terminal.options.panels import OPERATE
from choreo.terminal.views.durations import now_ms, read_age

PRUNE_HELP = (
    "Delete runs that completed or were compensated longer ago than an age; never an unfinished or stuck run, nor "
    "the newest.\n\nA repeated request for a deleted saga executes it again. A node may run at the same time."
)
PRUNE_EPILOG = """[bold]Examples[/]
  choreo prune --journal sagas.db --older-than 30d --dry-run
  choreo prune --journal sagas.db --older-than 12h

[bold]Exit status[/]
  0  deleted, or no run is old enough
  1  stopped before the end, or the journal could not be written (disk full, disk error)
  2  wrong use"""

BATCH = 200
REST_S_MIN = 0.01
"""Minimum pause after a batch; the pause is as long as the batch took, and at least this."""


class Pruned(Struct):
    """Number of runs deleted, and of old runs kept because they are unfinished or stuck.

    `failure` is the reason why the journal could not be written any more.
    """

    count: int
    kept: int
    is_stopped: bool = False
    failure: str | None = None


def register(app: typer.Typer) -> None:
    app.command("prune", cls=Command, rich_help_panel=OPERATE, help=PRUNE_HELP, epilog=PRUNE_EPILOG)(_prune)


def _prune(
    journal: JournalFile,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Age, such as 30d, 12h, 90m or 45s.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", metavar="", help="Count, and delete nothing.")] = False,
    json: Json = False,
) -> None:
    screen = Screen()
    with wrong_use():
        try:
            age_ms = read_age(older_than)
        except ValueError as error:
            raise UsageError("--older-than", str(error)) from None
        before_ms = now_ms() - age_ms
        with journal_to_read(journal, writes=True) as opened:
            prunable, kept = pruning.prunable(opened, before_ms)
        pruned = Pruned(prunable, kept)
        if not dry_run:
            with journal_errors(writes=True):
                pruned = _forget(journal, before_ms, prunable, kept)
    if json:
        screen.json({"pruned": pruned.count, "kept": kept, "dry_run": dry_run, "stopped": pruned.is_stopped})
    else:
        _show(screen, pruned, older_than, dry_run)
    finish(is_finding=pruned.is_stopped)


def _forget(path: str, before_ms: int, total: int, kept: int) -> Pruned:
    """Delete in batches. Raises `JournalError`."""
    pruned = Pruned(0, kept)
    journal = Journal.open(path)
    try:
        with progress_bar("pruning") as bar:
            _forget_all(journal, before_ms, total, pruned, bar)
    except KeyboardInterrupt:  # committed batches stay deleted, all other runs stay
        pruned.is_stopped = True
    except JournalFails as error:
        pruned.is_stopped, pruned.failure = True, str(error)
    finally:
        journal.close()
    return pruned


def _forget_all(journal: Journal, before_ms: int, total: int, pruned: Pruned, bar: Bar) -> None:
    after = 0
    while True:
        began = time.monotonic()
        count, after = pruning.prune(journal, before_ms, after, BATCH)
        if not count:
            return
        pruned.count += count
        bar.move(pruned.count, max(total, pruned.count))
        time.sleep(max(time.monotonic() - began, REST_S_MIN))


def _show(screen: Screen, pruned: Pruned, age: str, dry_run: bool) -> None:
    verb = "would be forgotten" if dry_run else "forgotten"
    screen.one_line((f"{_runs(pruned.count)} {verb}", TITLE), f" that ended more than {age} ago")
    if pruned.kept:
        are = "was begun before that and is" if pruned.kept == 1 else "were begun before that and are"
        screen.sentence((f"  kept: {_runs(pruned.kept)} that {are} unfinished or stuck", FAINT), indent=4)
    if pruned.failure is not None:
        screen.sentence("  ", ("stopped", "bold red"), f": {screen.prose(pruned.failure)}", indent=4)
    elif pruned.is_stopped:
        screen.sentence("  ", ("stopped", "bold yellow"), ": what is left goes with the next prune", indent=4)


def _runs(count: int) -> str:
    return f"{count:,} {'run' if count == 1 else 'runs'}"

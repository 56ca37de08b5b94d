"""Options of the laboratory's commands: the kinds of faults, their number, and the guarantees to disable.

Laws: an error names the expected and the received value, before any run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

WithoutOption = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="GUARANTEE", help="Switch a guarantee off; repeatable."),
]
WithOption = Annotated[
    list[str] | None, typer.Option("--with", metavar="GUARANTEE", help="Switch a guarantee on; repeatable.")
]


@contextmanager
def progress_bar(what: str) -> Iterator["Bar"]:
    """Progress bar on stderr; only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress)


@contextmanager
def state_counter(what: str) -> Iterator[Callable[[int, int], None]]:
    """Counter on stderr, only on a terminal: states explored so far. The total is unknown in advance."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda looked, known: None
        return
    with console.status(what) as line:
        yield lambda looked, known: line.update(f"{what}: {looked:,} states looked at, {known - looked:,} to go so far")


class Bar:
    """Moves the bar; the total may grow."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def move(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

"""Journal that a command reads, and the run in it that the command is about.

Laws: an unusable journal file is wrong use of `--journal`, reported with the journal's own error text. A full disk, a
failing disk or a lock that is not released is a failure of a command that writes, not wrong use.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from choreo.analysis.naming import enumerated
from choreo.runtime.process import DESCRIPTORS_OF_JOURNAL, missing_descriptors
from choreo.saga.file.errors import quoted
from choreo.saga.usage import UsageError
from choreo.storage.errors import JournalError, JournalFails
from choreo.storage.rows import RunRow
from choreo.storage.sqlite.journal import Journal
from choreo.terminal.options.arguments import Failure
from choreo.terminal.options.trace_file import Alike, text_of

JournalFile = Annotated[str, typer.Option("--journal", metavar="FILE", help="Journal of a node.", show_default=False)]
SagaId = Annotated[str, typer.Argument(metavar="SAGA_ID", help="The caller's name for the saga.", show_default=False)]
OfRun = Annotated[str | None, typer.Option("--run", metavar="RUN", help="One run of a saga that has several.")]

LOOKED_AT_MAX = 2000
"""Number of runs searched for a name similar to an unknown one."""


@contextmanager
def journal_errors(writes: bool = False) -> Iterator[None]:
    """Report errors of the journal as wrong use; in a command that writes, report failed writes as failures."""
    try:
        yield
    except JournalError as error:
        if writes and isinstance(error, JournalFails):
            raise Failure(str(error)) from None
        raise UsageError("--journal", str(error)) from None


def expect_descriptors() -> None:
    """Raise `UsageError` where too few descriptors are left to open the files of a journal."""
    missing = missing_descriptors(DESCRIPTORS_OF_JOURNAL)
    if missing is not None:
        raise UsageError("--journal", missing)


@contextmanager
def journal_to_read(path: str, writes: bool = False) -> Iterator[Journal]:
    """Open the journal for reading, also before a write. Raises `UsageError`, and `Failure`."""
    expect_descriptors()
    with journal_errors(writes):
        journal = Journal.open_to_read(path)
        try:
            yield journal
        finally:
            journal.close()


def find_run(journal: Journal, saga_id: str, run: str | None = None) -> RunRow:
    """Return the newest run of the saga, or the named one. Raises `UsageError` where there is none."""
    runs = [found for name in names_of(saga_id) if (found := journal.find(name)) is not None]
    if run is not None:
        return _named(journal, run, names_of(saga_id))
    if not runs:
        alike = Alike(saga_id, "the journal has no saga")
        for row in journal.runs(journal.before_newest(LOOKED_AT_MAX), LOOKED_AT_MAX):
            alike.meet(str(text_of(row.request.saga_id)))
        why = f"expected the saga_id of a saga in {journal.path}, got {quoted(saga_id)}{alike.suggestion()}"
        raise UsageError("SAGA_ID", why)
    if len(runs) > 1:
        names = enumerated([f"run-{row.number} of {row.request.saga_id!r}" for row in runs])
        raise UsageError("SAGA_ID", f"expected one saga, got {names}, a text and a number: --run tells them apart")
    return runs[0]


def names_of(saga_id: str) -> list[str | int]:
    """Return the saga ids that a typed name may mean: a text, or a number."""
    try:
        number = int(saga_id)
    except ValueError:
        return [saga_id]
    return [saga_id, number] if str(number) == saga_id else [saga_id]


def _named(journal: Journal, run: str, names: list[str | int]) -> RunRow:
    digits = run.removeprefix("run-")
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else 0
    found = journal.run(number)
    if found is None or found.request.saga_id not in names:
        raise UsageError("--run", f"expected a run of this saga, such as run-1, got {quoted(run)}")
    return found

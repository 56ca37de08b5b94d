"""A process that dies at any point leaves a journal from which the next one continues as if without a crash."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.resumptions import ask_to_resume
from tests.crash.files import NO_FILES, Files, files_of, in_memory, put_back
from tests.crash.injection import (
    NEVER,
    QUESTION,
    asks_for,
    die,
    poll_operator,
    promises_of,
    promises_of_resuming,
    sweep,
)
from tests.crash.planted import BUGS
from tests.crash.workload import STYLES, Saga

STEPS = ("ledger_a", "shelf_a", "ledger_b")
"""Two whose records are legible, and one of those that are kept together; the receipt of each is of another kind."""

ENDINGS = {
    "completed": Saga("trip", STEPS, STYLES[0]),
    "compensated": Saga("trip", STEPS, STYLES[0], fail_step="ledger_b"),
    "stuck": Saga("trip", STEPS, STYLES[0], fail_step="ledger_b", fail_compensation="ledger_a"),
}


class Points(NamedTuple):
    """Number of points of each kind. It changes with every new statement or event."""

    statement: int
    publish: int
    delivery: int
    call: int
    reply: int = 2
    close: int = 2


POINTS = {
    ("completed", "choreography"): Points(statement=128, publish=5, delivery=10, call=6),
    ("completed", "orchestration"): Points(statement=134, publish=8, delivery=16, call=6),
    ("compensated", "choreography"): Points(statement=146, publish=7, delivery=18, call=8),
    ("compensated", "orchestration"): Points(statement=152, publish=12, delivery=24, call=8),
    ("stuck", "choreography"): Points(statement=144, publish=7, delivery=18, call=6),
    ("stuck", "orchestration"): Points(statement=150, publish=12, delivery=24, call=6),
}


@pytest.fixture
def path() -> Iterator[Path]:
    """A killed process loses no data that it has written, on disk or in memory."""
    with in_memory() as directory:
        yield directory / "journal.db"


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_death_at_any_point_changes_nothing(ending: str, style: str, path: Path) -> None:
    """Before and after every statement, delivery, call and reply: the same effects once, and the same reply always."""
    saga = ENDINGS[ending]._replace(style=style)

    swept = sweep(path, asks_for(saga), promises_of(saga))

    assert swept.findings == {}
    assert swept.points == POINTS[ending, style]._asdict()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "style"), [("completed", STYLES[0]), ("compensated", STYLES[1]), ("stuck", STYLES[0])]
)
def test_a_second_death_while_the_next_process_recovers_changes_nothing(ending: str, style: str, path: Path) -> None:
    """A run that was cut in its middle is resumed, and that is cut as well, at any point."""
    saga = ENDINGS[ending]._replace(style=style)
    begin = cut_in_its_middle(path, saga)

    swept = sweep(path, asks_for(saga), promises_of(saga), begin)

    assert swept.findings == {}
    assert swept.points["call"] >= 2  # there was something left to do


def cut_in_its_middle(path: Path, saga: Saga) -> Files:
    """A journal whose run has executed two of its steps, and the second of them is not on disk."""
    fatal = die(path, asks_for(saga), NEVER).reached.index("after executing shelf_a") + 1
    put_back(path, NO_FILES)
    assert die(path, asks_for(saga), fatal).has_died
    return files_of(path)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_a_death_while_a_stuck_run_is_resumed_changes_nothing(style: str, path: Path) -> None:
    """The operator's request is executed once; the reply to the client stays the same."""
    saga = ENDINGS["stuck"]._replace(style=style)
    resumed = saga._replace(fail_compensation=None)
    begin = asked_to_resume(path, saga)

    swept = sweep(path, poll_operator, promises_of_resuming(saga, resumed), begin)

    assert swept.findings == {}
    assert swept.points["call"] == 2


def asked_to_resume(path: Path, saga: Saga) -> Files:
    """A journal whose run is stuck, and is to be resumed."""
    die(path, asks_for(saga), NEVER)
    with closing(Journal.open(str(path))) as journal:
        assert ask_to_resume(journal, 1, 0) == QUESTION
    return files_of(path)


# One run has no second number: tests/test_crash.py has that bug.
@pytest.mark.parametrize("name", [name for name in BUGS if name != "numbers of runs begin again"])
def test_a_planted_bug_is_found(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thing changed, some death has consequences."""
    BUGS[name](monkeypatch)
    saga = ENDINGS["compensated"]

    swept = sweep(path, asks_for(saga), promises_of(saga), stops_early=True)

    assert swept.findings, f"survived: {name}"

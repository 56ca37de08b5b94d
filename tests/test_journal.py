"""The journal as a file: opened, brought forward, written whole or not at all, pruned."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from choreo.compile import STYLES
from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.keys import execution_key
from choreo.saga.outcome import State
from choreo.saga.request import Request
from choreo.storage.errors import JournalError
from choreo.storage.replay import Replayer, Unreplayable
from choreo.storage.sqlite import resumptions
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.pruning import prune
from choreo.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, VERSION
from services.simulated import Simulated

TRIP = ("book_flight", "book_hotel", "book_car")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sagas.db")


def runner_on(journal: Journal, now_ms: int = 0) -> DurableRunner:
    service = Simulated()
    return DurableRunner(lambda step: service, journal, lambda: now_ms)


def query(path: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


# --- versions ---------------------------------------------------------------------------------------------------------


def old_journal(path: str, version: int) -> None:
    """A journal as an earlier version has left it: its tables, and a saga that was cut after its first step."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(
            "INSERT INTO runs (run, saga_id, style, steps, begun_ms) VALUES (1, '\"old\"', 'choreography', "
            '\'["a", "b"]\', 0)'
        )
        connection.execute("INSERT INTO deliveries VALUES (1, 1, 0, 0, 'started', 'succeeded:0', NULL, NULL)")


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_an_older_journal_is_brought_forward(path: str, version: int) -> None:
    """The content is complete: the interrupted saga continues, and new features work."""
    old_journal(path, version)

    with closing(Journal.open(path)) as journal:
        (((request, _, under_way),),) = runner_on(journal).recover()
        resumptions.ask_to_resume(journal, 1, 0)
        assert resumptions.asked_to_resume(journal) == [(1, 1)]

    assert request == Request("old", ("a", "b"))
    assert under_way.outcome is not None
    assert under_way.outcome.completed_steps == 2
    assert query(path, "PRAGMA user_version") == [(VERSION,)]


def test_a_migration_that_fails_leaves_the_journal_as_it_was(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction: half of a version is none."""
    old_journal(path, 1)
    broken = (MIGRATIONS[0], (MIGRATIONS[1][0], "CREATE TABLE runs (it is there already)"))
    monkeypatch.setattr("choreo.storage.sqlite.opening.MIGRATIONS", broken)

    with pytest.raises(JournalError, match="expected a journal that can be opened"):
        Journal.open(path)

    assert query(path, "PRAGMA user_version") == [(1,)]
    assert query(path, "SELECT name FROM sqlite_schema WHERE name = 'resumptions'") == []


def test_who_only_looks_brings_nothing_forward(path: str) -> None:
    """An older journal is a clear error then: it says which version, and who brings it forward."""
    old_journal(path, 1)

    with pytest.raises(JournalError, match=f"expected a journal of schema {VERSION}, .* of schema 1; a node brings it"):
        Journal.open_to_read(path)

    assert query(path, "PRAGMA user_version") == [(1,)]


def test_a_newer_journal_is_not_touched(path: str) -> None:
    """An older choreo does not know the promises of a newer one."""
    Journal.open(path).close()
    query(path, f"PRAGMA user_version = {VERSION + 1}")
    before = Path(path).read_bytes()

    for open_journal in (Journal.open, Journal.open_to_read):
        with pytest.raises(JournalError, match=f"of schema {VERSION + 1}: a newer choreo has written it"):
            open_journal(path)

    assert Path(path).read_bytes() == before


def test_who_looks_makes_no_file(path: str) -> None:
    """A mistyped name is told, and no empty journal is left behind."""
    with pytest.raises(JournalError, match="there is no such file"):
        Journal.open_to_read(path)

    assert not Path(path).exists()


def test_who_looks_cannot_write(path: str) -> None:
    """A command that only shows the journal never changes it."""
    Journal.open(path).close()
    journal = Journal.open_to_read(path)

    with closing(journal), pytest.raises(JournalError, match="expected a journal that can be written"):
        resumptions.ask_to_resume(journal, 1, 0)


# --- transactions -----------------------------------------------------------------------------------------------------


def test_a_round_is_written_whole_or_not_at_all(path: str) -> None:
    """One row that cannot be written: none of the others is."""
    with closing(Journal.open(path)) as journal:
        handled = (1, 1, 0, 0, "started", "succeeded:0", None, None)
        begun = (1, '"a"', None, None, None, "choreography", '["a"]', None, None, 0, None, None)

        with pytest.raises(JournalError, match="UNIQUE constraint failed"):
            journal.commit([begun], [handled, handled], [("completed", 0, "{}", 1)], [('"a"', "kind", "{}")])

        assert (journal.counts(), list(journal.records()), journal.deliveries(1)) == ({}, [], [])
        journal.commit([begun], [handled], [], [])
        assert journal.counts() == {"running": 1}


@pytest.mark.parametrize("count", [1, 3, 4, 5, 63, 64, 65, 200])
def test_any_number_of_rows_is_written(path: str, count: int) -> None:
    """Many rows go with one statement; those that are left over go as well."""
    with closing(Journal.open(path)) as journal:
        runner = runner_on(journal)
        for number in range(count):
            runner.begin(Request(number, TRIP))
        runner.run_until_idle()

        assert journal.counts() == {"completed": count}
        assert [len(list(journal.deliveries(run))) for run in range(1, count + 1)] == [4] * count


# --- prune ------------------------------------------------------------------------------------------------------------


def test_only_what_has_ended_long_ago_is_forgotten(path: str) -> None:
    """Unfinished, stuck and recent runs stay, and so does the newest: it holds the numbering."""
    with closing(Journal.open(path)) as journal:
        runner = runner_on(journal, now_ms=1_000)
        runner.execute("completed", TRIP)
        runner.execute("compensated", TRIP, "book_car")
        runner.execute("stuck", TRIP, "book_car", "book_flight")
        runner.begin(Request("running", TRIP))
        runner.commit()
        runner_on(journal, now_ms=5_000).execute("young", TRIP)
        runner_on(journal, now_ms=1_000).execute("newest", TRIP)

        assert prune(journal, before_ms=5_000) == (2, 2)
        assert prune(journal, before_ms=5_000) == (0, 0)
        left = [row.request.saga_id for row in journal.runs()]
        deliveries = query(path, "SELECT DISTINCT run FROM deliveries ORDER BY run")

    assert left == ["stuck", "running", "young", "newest"]
    assert deliveries == [(3,), (5,), (6,)]


def test_pruning_goes_batch_by_batch(path: str) -> None:
    """Batches keep a node that works meanwhile from waiting long."""
    with closing(Journal.open(path)) as journal:
        runner = runner_on(journal)
        for number in range(7):
            runner.execute(number, ("a",))

        steps = [prune(journal, 1, after=after, limit=3) for after in (0, 3, 6)]

        assert steps == [(3, 3), (3, 6), (0, 0)]
        assert journal.last_run() == 7, "a number is never given out twice"


# --- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE deliveries SET published = 'succeeded:1' WHERE number = {}", "succeeded:1 published, not succeeded:0"),
        ("DELETE FROM deliveries WHERE number = {}", "which is not due"),
        ("UPDATE deliveries SET heard = 'compensated:2' WHERE number = {}", "which is not due"),
    ],
)
def test_rows_that_do_not_follow_are_told(path: str, style: str, change: str, told: str) -> None:
    """For an impossible history: the run, the delivery, the expected and the received value."""
    with closing(Journal.open(path)) as journal:
        runner_on(journal).execute("trip", TRIP, style=style)
    query(path, change.format(1 if style == "choreography" else 2))

    with closing(Journal.open_to_read(path)) as journal:
        (row,) = journal.runs()
        with pytest.raises(Unreplayable, match=f"run-1, delivery .* what follows from the rows before, got .*{told}"):
            Replayer(style, TRIP).replay(row, journal.deliveries(1))


def test_a_run_that_cannot_be_replayed_harms_no_other(path: str) -> None:
    """Its client gets an error, the others their outcome; it stays in the journal as it is."""
    with closing(Journal.open(path)) as journal:
        runner = runner_on(journal)
        for saga_id in ("good", "bad"):
            runner.begin(Request(saga_id, TRIP))
        runner.commit()
        runner._rounds.publish()  # noqa: SLF001  # one round, and the process is gone
        runner.commit()
    query(path, "UPDATE deliveries SET published = 'succeeded:1' WHERE run = 2")

    with closing(Journal.open(path)) as journal:
        ((good, bad),) = runner_on(journal).recover()
        counts = journal.counts()

    assert good[2].outcome is not None
    assert good[2].outcome.state is State.COMPLETED
    assert bad[2].defect is not None
    assert "run-2, delivery 1" in bad[2].defect.summary
    assert counts == {"completed": 1, "running": 1}


def test_no_receipt_is_decoded_by_who_only_looks(path: str) -> None:
    """A receipt stays as it is, whatever it names."""
    with closing(Journal.open(path)) as journal:
        DurableRunner(lambda step: Paired(), journal, lambda: 0, origin="test").execute("trip", ("a", "b"))
        (row,) = journal.runs()

        stood = Replayer("choreography", ("a", "b"), unkeep=repr).replay(row, journal.deliveries(1))

    assert [cell.receipt for cell in stood.cells[:2]] == [
        repr(f'{{"$tuple":["test.1.{step}",1]}}') for step in range(2)
    ]


class Paired:
    """Hands back a pair."""

    def execute(self, reference: str) -> object:
        return reference, 1

    def compensate(self, reference: str, receipt: object) -> None:
        assert receipt == (execution_key(reference), 1)

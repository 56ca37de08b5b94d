"""SQLite's log is taken away from a node, or cut: it stops before it answers. What other programs do is no alarm."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from choreo.runtime.durable.runner import DurableRunner
from choreo.storage.errors import JournalError, LeftAsItLies
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.lock import Lock
from services.simulated import Simulated
from tests.node_client import ROOT, TIMEOUT_S, Node, execute, line

ANSWERED = 3
"""Number of sagas answered before the log is changed."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


# What somebody may do to the log


def removed(path: Path) -> None:
    log_of(path).unlink()


def moved(path: Path) -> None:
    log_of(path).rename(f"{path}.moved")


def replaced(path: Path) -> None:
    """By a copy of itself, so that only the file is another one."""
    copy = Path(f"{path}.copy")
    copy.write_bytes(log_of(path).read_bytes())
    copy.replace(log_of(path))


def index_removed(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def index_replaced(path: Path) -> None:
    copy = Path(f"{path}.copy")
    copy.write_bytes(Path(f"{path}-shm").read_bytes())
    copy.replace(f"{path}-shm")


def emptied(path: Path) -> None:
    os.truncate(log_of(path), 0)


def cut_in_half(path: Path) -> None:
    os.truncate(log_of(path), log_of(path).stat().st_size // 2)


def cut_by_a_byte(path: Path) -> None:
    os.truncate(log_of(path), log_of(path).stat().st_size - 1)


def cut_and_made_long_again(path: Path) -> None:
    size = log_of(path).stat().st_size
    os.truncate(log_of(path), size // 2)
    os.truncate(log_of(path), size)


def written_over(path: Path) -> None:
    size = log_of(path).stat().st_size
    with log_of(path).open("r+b") as log:
        log.write(b"\xa5" * size)


WHOLE = (removed, moved, replaced, index_removed, index_replaced)
"""All that was committed is still there, in a file that SQLite has open."""
TORN = (emptied, cut_in_half, cut_by_a_byte, cut_and_made_long_again, written_over)
"""It is not."""

Harm = Callable[[Path], None]


def answered(node: Node) -> list[str]:
    return [node.ask(execute(number, "a", "b", "c")) for number in range(ANSWERED)]


@pytest.mark.parametrize("harm", [*WHOLE, *TORN])
def test_a_node_whose_log_is_harmed_answers_nothing_more(harm: Harm, path: Path) -> None:
    """Its next reply would rest on data that is not, or will not be, on disk."""
    with Node("--journal", str(path)) as node:
        answered(node)

        harm(path)
        node.send(line(execute(7, "a")))
        replies = node.rest()

        assert (replies, node.process.returncode) == ([], 1)
        assert "expected" in node.stderr
        assert ("was cut off or written over" if harm in TORN else "was moved or removed") in node.stderr
        assert "Traceback" not in node.stderr


@pytest.mark.parametrize("harm", [removed, emptied, index_removed])
def test_a_node_whose_log_is_harmed_stops_although_nobody_asks(harm: Harm, path: Path) -> None:
    """It looks now and then."""
    with Node("--journal", str(path)) as node:
        answered(node)

        harm(path)

        assert node.process.wait(TIMEOUT_S) == 1


@pytest.mark.slow
@pytest.mark.parametrize("harm", WHOLE)
def test_what_was_answered_is_saved_where_the_log_was_taken_away(harm: Harm, path: Path) -> None:
    """The next node knows every saga that was answered, and answers the same."""
    with Node("--journal", str(path)) as node:
        replies = answered(node)
        harm(path)
        node.finish()

    with Node("--journal", str(path)) as node:
        again = answered(node)

    assert again == replies
    assert is_sound(path)


@pytest.mark.slow
@pytest.mark.parametrize("harm", TORN)
def test_a_log_that_was_cut_harms_nothing_but_itself(harm: Harm, path: Path) -> None:
    """The rest of the log is not written into the journal: the next node finds an intact, older journal."""
    with Node("--journal", str(path)) as node:
        first = answered(node)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(10, 14):
            node.ask(execute(number, "a", "b"))
        harm(path)
        node.finish()

    with Node("--journal", str(path)) as node:
        for number in range(ANSWERED):
            node.send(line(execute(number, "a", "b", "c")))
        replies = node.finish()  # also those of what it has cut short, and the next node brings to its end

    assert set(first) <= set(replies)
    assert is_sound(path)


def is_sound(path: Path) -> bool:
    command = [sys.executable, "-m", "choreo", "check", "--journal", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


# What other programs may do

VISITOR = """
import sqlite3, sys
path, target = sys.argv[1:]
def visit(*statements):
    connection = sqlite3.connect(path, 10, isolation_level=None)
    for statement in statements:
        connection.execute(statement).fetchall()
    return connection
print(flush=True)
visits = 0
while True:
    for way in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
        visit(f"PRAGMA wal_checkpoint({way})").close()
    visit("SELECT count(*) FROM runs").close()
    visit("PRAGMA journal_size_limit = 0", "UPDATE services SET kind = kind").close()
    visit("PRAGMA wal_autocheckpoint = 1", "UPDATE services SET kind = kind", "SELECT * FROM deliveries").close()
    copy, here = sqlite3.connect(target), visit()
    here.backup(copy)
    here.close(), copy.close()
    if visits % 5 == 0:
        visit("VACUUM").close()
    visits += 1
    print(flush=True)
"""
VISITS, LOOKS = 30, 100_000


def test_what_other_programs_do_is_no_alarm(path: Path) -> None:
    """Checkpoints of every kind, a backup, a vacuum, a log that is cut off by SQLite itself: the node goes on."""
    with Node("--journal", str(path)) as node:
        node.ask(execute(0, "a"))
        command = [sys.executable, "-c", VISITOR, str(path), f"{path}.copy"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as visitor:
            assert visitor.stdout is not None
            visited, asked = 0, 0
            while visited < VISITS:
                asked += 1
                assert "saga_completed" in node.ask(execute(asked, "a", "b")), node.stderr
                if asked % 10 == 0:
                    assert visitor.stdout.readline() == b"\n"
                    visited += 1
            visitor.kill()
        rest = node.finish()

        assert (rest, node.process.returncode, node.stderr) == ([], 0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("sagas",),
        ("show", "booking-1"),
        ("check",),
        ("prune", "--older-than", "0s"),
        ("resume", "booking-0"),
    ],
)
def test_a_command_beside_a_node_is_no_alarm(command: tuple[str, ...], path: Path) -> None:
    """It opens the journal and closes it again; also when it is killed over it."""
    with Node("--journal", str(path)) as node:
        node.ask(execute(0, "a", "b", fail_step="b", fail_compensation="a"))
        answered(node)

        choreo = [sys.executable, "-m", "choreo", *command, "--journal", str(path)]
        subprocess.run(choreo, cwd=ROOT, capture_output=True, check=False, timeout=TIMEOUT_S)

        assert "saga_completed" in node.ask(execute(9, "a", "b"))
        assert (node.finish(), node.process.returncode, node.stderr) == ([], 0, "")


# Looking itself


@pytest.mark.slow
@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_a_log_is_whole_at_every_moment_of_its_life(path: Path, page_bytes: int) -> None:
    """While it grows, begins again and is cut off by a checkpoint; and it is not, once a byte is missing."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("VACUUM")
    lock = Lock(str(path))
    with closing(Journal.open(str(path))) as journal:
        lock.watch_log()
        service = Simulated()
        runner = DurableRunner(lambda step: service, journal, lambda: 0)
        ends = set()
        for number in range(1500):
            runner.execute(number, ("a",))
            lock.expect_held()
            ends.add(log_of(path).stat().st_size)
            if number % 500 == 250:
                with closing(sqlite3.connect(path)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    lock.expect_held()

        assert len(ends) > 100
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        runner.execute("last", ("a",))
        lock.expect_held()
        cut_by_a_byte(path)
        with pytest.raises(LeftAsItLies, match="was cut off or written over"):
            lock.expect_held()


@pytest.mark.slow
def test_a_log_that_is_being_changed_is_looked_at_again(path: Path) -> None:
    """Between the look at the log and that at its index another program may have written both, or cut both off."""
    lock = Lock(str(path))
    with closing(Journal.open(str(path))):
        lock.watch_log()
        command = [sys.executable, "-c", VISITOR, str(path), f"{path}.copy"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as visitor:
            assert visitor.stdout is not None
            visitor.stdout.readline()
            for _ in range(LOOKS):
                lock.expect_held()
            visitor.kill()


def test_a_journal_without_a_log_cannot_be_watched(path: Path) -> None:
    """The log does not exist before SQLite opens the journal, or was removed in between."""
    lock = Lock(str(path))

    with pytest.raises(JournalError, match="expected a journal with its log beside it"):
        lock.watch_log()

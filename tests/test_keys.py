"""Idempotency keys: the same for every attempt of one action, never for two actions, after any change of a journal.

A bank that deduplicates by key, and keeps a record of every call, is the judge.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.lab.model.world import World
from choreo.protocol.participant import COMPENSATION_ATTEMPTS
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.runtime.origins import new_origin
from choreo.saga.definition import RunOf, Saga, Step
from choreo.saga.keys import (
    KEY_CHARACTERS_MAX,
    ORIGIN_CHARACTERS_MAX,
    UNRESERVED,
    Key,
    compensation_key,
    execution_key,
    key_prefix,
    read_key,
)
from choreo.saga.outcome import State
from choreo.saga.service import Refused
from choreo.storage.errors import JournalError
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.pruning import prune
from choreo.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tests import bank as banking
from tests.bank import Bank, Call
from tests.crash.life import Life
from tests.node_client import Node, execute, line

origins = st.text(sorted(UNRESERVED), min_size=1, max_size=ORIGIN_CHARACTERS_MAX)
LARGEST_RUN, LARGEST_POSITION = 2**63 - 1, 100_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The bank of all services, in this process and in those that it starts."""
    monkeypatch.setenv(banking.FILE, str(tmp_path / "bank"))
    return Bank(tmp_path / "bank")


# --- the form ---------------------------------------------------------------------------------------------------------


@given(origins, st.integers(1, LARGEST_RUN), st.integers(0, LARGEST_POSITION))
def test_a_key_can_be_read_back(origin: str, run: int, position: int) -> None:
    """It says where it is from, which run, which step and which action, in characters that any URL takes."""
    key = f"{key_prefix(origin, run)}{position}"
    undo = compensation_key(key)

    assert read_key(key) == Key(origin, str(run), position, is_compensation=False)
    assert read_key(undo) == Key(origin, str(run), position, is_compensation=True)
    assert execution_key(undo) == execution_key(key) == key
    assert len(undo) <= KEY_CHARACTERS_MAX
    assert UNRESERVED.issuperset(undo.replace(".", ""))


def test_an_old_key_can_be_read_back() -> None:
    """An older choreo has given both actions one key; it stays so, for a call may have been made under it."""
    key = f"{key_prefix(None, 5)}1"

    assert key == "run-5/1" == compensation_key(key) == execution_key(key)
    assert read_key(key) == Key(None, "5", 1, is_compensation=False)


@pytest.mark.parametrize("text", ["", "run-1", "run-1/", "a.1", "a.1.", "a..1", ".1.1.undo.undo", "a.1.x", "a.1.1.2"])
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="key: expected <origin>"):
        read_key(text)


@pytest.mark.parametrize("origin", ["", "a.b", "a/b", "a b", "ä", "x" * (ORIGIN_CHARACTERS_MAX + 1)])
def test_an_origin_that_makes_no_keys_is_refused(origin: str) -> None:
    """One that has a separator in it could make the key of another run."""
    with pytest.raises(ValueError, match="origin: expected 1 to 20 letters"):
        InProcessRunner(banking.catalogue("/nowhere"), origin=origin)


def test_origins_are_drawn_evenly() -> None:
    """Each has 60 bits: all 32 characters come up, and no origin comes twice."""
    drawn = [new_origin() for _ in range(2000)]

    assert len(set(drawn)) == len(drawn)
    assert len(set("".join(drawn))) == 32


# --- in memory --------------------------------------------------------------------------------------------------------


def test_two_runners_never_share_a_key(bank: Bank) -> None:
    """Each counts its runs from 1, and a bank tells them apart all the same; an undo has a key of its own."""
    for number in range(3):
        runner = InProcessRunner(banking.catalogue())
        runner.execute("trip", (f"flight {number}", f"hotel {number}", "refused"))

    assert len(bank.payments) == 6
    assert len(set(bank.keys)) == len(bank.calls) == 12
    assert bank.collisions == []


def test_two_processes_of_one_runner_never_share_a_key(bank: Bank) -> None:
    """A runner that was made before a fork draws again in the child."""
    runner = InProcessRunner(banking.catalogue())

    for number in range(3):
        if not (child := os.fork()):
            try:
                runner.execute("trip", (f"flight {number}",))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    runner.execute("trip", ("flight of the parent",))

    assert len(bank.payments) == len(set(bank.keys)) == 4


def test_every_try_of_an_undo_has_one_key() -> None:
    """A retry is the same action."""
    seen: list[str] = []

    class Stubborn:
        def execute(self, reference: str) -> None:
            if read_key(reference).position == 1:
                raise Refused("sold out")

        def compensate(self, reference: str, receipt: None) -> None:
            seen.append(reference)
            raise Refused("not now")

    outcome = InProcessRunner(lambda step: Stubborn(), origin="one").execute("trip", ("a", "b"))

    assert outcome.state is State.STUCK
    assert seen == ["one.1.0.undo"] * COMPENSATION_ATTEMPTS


@pytest.mark.parametrize("has_journal", [False, True])
def test_two_nodes_never_share_a_key(has_journal: bool, bank: Bank, tmp_path: Path) -> None:
    """Four orders through two nodes, with journals and without, are four payments."""
    for number in range(2):
        journal = ("--journal", str(tmp_path / f"{number}.db")) if has_journal else ()
        with Node("--services", "tests.bank", *journal) as node:
            for msg_id in (1, 2):
                assert "saga_completed" in node.ask(execute(msg_id, f"order {number} {msg_id}"))

    assert len(bank.payments) == len(set(bank.keys)) == 4


# --- in a journal -----------------------------------------------------------------------------------------------------


@contextmanager
def node_on(path: Path, bank: Bank) -> Iterator[DurableRunner]:
    """A node as far as its runs are concerned: it recovers, and leaving the block is its death."""
    with closing(Journal.open(str(path))) as journal:
        runner = DurableRunner(banking.catalogue(), journal, lambda: 0)
        list(runner.recover())
        yield runner


def pay(path: Path, bank: Bank, *purposes: str) -> None:
    """A node that pays for each purpose in a saga of its own, which undoes it at the end."""
    with node_on(path, bank) as runner:
        for purpose in purposes:
            assert runner.execute(purpose, (purpose, "refused")).state is State.COMPENSATED


def die_paying(path: Path, bank: Bank, purpose: str) -> None:
    """A node that is killed while it pays: the bank has the payment, and the journal has not."""
    with Life(path, services="tests.bank") as life:
        life.send(line(execute(1, f"{banking.DEADLY} {purpose}", "refused")))
        assert life.status() == -9
    assert bank.calls[-1].purpose == f"{banking.DEADLY} {purpose}"


def test_a_call_that_was_cut_off_comes_again_under_its_key(path: Path, bank: Bank) -> None:
    """The process was killed after the payment: the next one pays under the same key, and so it is paid once."""
    pay(path, bank, "before")

    die_paying(path, bank, "flight")
    pay(path, bank, "after")

    flight = [call for call in bank.calls if call.purpose == "deadly flight"]
    (key,) = {call.key for call in flight if call.action == "pay"}
    assert flight == [Call(key, "pay", "deadly flight")] * 2 + [Call(f"{key}.undo", "refund", "deadly flight")]
    assert len({read_key(call.key).origin for call in bank.calls}) == 3
    assert bank.collisions == []


def test_a_process_that_begins_nothing_leaves_no_origin(path: Path, bank: Bank) -> None:
    """There is one for each process that has begun a run; pruning takes along those of forgotten runs."""
    for number in range(3):
        pay(path, bank, f"flight {number}")
        pay(path, bank)

    with closing(Journal.open(str(path))) as journal:
        before = [(row.number, row.origin) for row in journal.runs()]
        prune(journal, 1)
        after = [(row.number, row.origin) for row in journal.runs()]

    assert [run for run, _ in before] == [1, 2, 3]
    assert len({origin for _, origin in before}) == 3
    assert after == before[-1:]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM origins").fetchall() == after


def copied(source: Path, target: Path) -> None:
    """A backup by SQLite's own means."""
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)


def put_back(backup: Path, path: Path) -> Path:
    """As the documentation has it."""
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    shutil.copyfile(backup, path)
    return path


def put_back_over_the_same_inode(backup: Path, path: Path) -> Path:
    inode = path.stat().st_ino
    shutil.copyfile(backup, path)
    assert path.stat().st_ino == inode
    return path


def put_back_by_sqlite(backup: Path, path: Path) -> Path:
    copied(backup, path)
    return path


def used_side_by_side(backup: Path, path: Path) -> Path:
    return backup


def put_back_without_its_lock(backup: Path, path: Path) -> Path:
    Path(f"{path}-lock").unlink(missing_ok=True)
    return put_back(backup, path)


def put_back_with_an_older_lock(backup: Path, path: Path) -> Path:
    """A snapshot of a whole disk or machine does this: no other file shows that time went back."""
    shutil.copyfile(f"{backup}-lock", f"{path}-lock")
    return put_back(backup, path)


WAYS = (
    put_back,
    put_back_over_the_same_inode,
    put_back_by_sqlite,
    used_side_by_side,
    put_back_without_its_lock,
    put_back_with_an_older_lock,
)


@pytest.mark.parametrize("way", WAYS)
def test_a_backup_that_goes_another_way_makes_no_key_again(
    way: Callable[[Path, Path], Path], path: Path, bank: Bank, tmp_path: Path
) -> None:
    """The numbers of runs repeat those of runs unknown to the backup, and the bank sees different payments."""
    backup = tmp_path / "backup.db"
    pay(path, bank, "one", "two")
    copied(path, backup)
    Path(f"{backup}-lock").write_text("1\n")
    pay(path, bank, "three", "four")

    for number in range(2):  # the same backup, and once more
        pay(way(backup, path), bank, f"other three {number}", f"other four {number}")

    assert sorted(bank.payments) == sorted({call.purpose for call in bank.calls})
    assert len(set(bank.keys)) == len(bank.calls) == 2 * (4 + 2 * 2)
    assert bank.collisions == []


@pytest.mark.parametrize("way", WAYS)
def test_an_unfinished_run_of_a_backup_keeps_its_keys(
    way: Callable[[Path, Path], Path], path: Path, bank: Bank, tmp_path: Path
) -> None:
    """It is the same run, however it ended in the other copy: its payment is not made again."""
    backup = tmp_path / "backup.db"
    die_paying(path, bank, "flight")
    copied(path, backup)
    Path(f"{backup}-lock").write_text("1\n")
    pay(path, bank, "three")

    pay(way(backup, path), bank, "other three")

    flight = [call for call in bank.calls if call.purpose == "deadly flight"]
    assert [call.action for call in flight] == ["pay", "pay", "refund", "pay", "refund"]
    assert len({call.key for call in flight}) == 2
    assert bank.payments.count("deadly flight") == 1
    assert bank.collisions == []


def test_a_copy_that_is_put_back_while_a_node_runs_ends_it(path: Path, bank: Bank, tmp_path: Path) -> None:
    """The node has begun runs that the file does not have any more; the next node continues from the file."""
    backup = tmp_path / "backup.db"
    with Life(path, services="tests.bank") as life:
        life.send(line(execute(1, "one")))
        next(life.lines())
        copied(path, backup)
        life.send(line(execute(2, "two")))
        next(life.lines())

        copied(backup, path)

        assert life.status() == 1
        assert "run-2, which was committed, as the newest, got run-1: a copy was put back" in life.stderr
    pay(path, bank, "other two")
    assert bank.collisions == []


# --- of an older choreo -----------------------------------------------------------------------------------------------


def test_runs_of_an_older_choreo_keep_their_keys(path: Path, bank: Bank) -> None:
    """A call may have been made under them. New runs have keys of the new kind."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statements in MIGRATIONS[:3]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 3")
        steps = json.dumps(["one", "two", "refused"])
        connection.execute(
            "INSERT INTO runs (run, saga_id, style, steps, begun_ms) VALUES (7, '\"old\"', 'choreography', ?, 0)",
            (steps,),
        )
        connection.execute("INSERT INTO deliveries VALUES (7, 1, 0, 0, 'started', 'succeeded:0', NULL, NULL)")

    pay(path, bank, "new")

    old = [Call("run-7/1", "pay", "two"), Call("run-7/1", "refund", "two"), Call("run-7/0", "refund", "one")]
    new = bank.calls[3:]
    key = new[0].key
    assert bank.calls[:3] == old
    assert new == [Call(key, "pay", "new"), Call(f"{key}.undo", "refund", "new")]
    assert read_key(key).run == "8"


def test_an_origin_that_no_node_has_written_is_told(path: Path, bank: Bank) -> None:
    """A key that is made of it might be the key of another run."""
    pay(path, bank, "one")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE origins SET origin = 'a.1'")

    with (
        closing(Journal.open_to_read(str(path))) as journal,
        pytest.raises(JournalError, match="origin: expected an origin of idempotency keys"),
    ):
        journal.runs()


# --- in the laboratory ------------------------------------------------------------------------------------------------


def test_the_laboratory_has_the_same_keys_always() -> None:
    """One seed is one history. The run that a repeated request would start is another run."""
    definition = Saga("shop", steps=(Step("a"),), runs=(RunOf("one", ask_again_ms=5), RunOf("two")))

    world = World(definition, "choreography", banking.catalogue("/nowhere"))

    assert [run.run.key_prefix for run in world.runs] == ["lab.run-1.", "lab.run-1-again.", "lab.run-2."]

"""A disk that is full, read-only, torn or damaged, a foreign file: a clear error or recovery, no data lost."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from choreo.conformance.journal import check_runs
from choreo.node.session import Session
from choreo.runtime.durable.runner import DurableRunner
from choreo.storage.errors import JournalError
from choreo.storage.sqlite import opening
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.schema import VERSION
from tests.crash.client import Ask, Client
from tests.crash.files import Files, files_of, in_memory, put_back
from tests.crash.judge import judge
from tests.crash.life import Life
from tests.crash.services import LAST_CALL, catalogue
from tests.crash.workload import Saga, Workload
from tests.journals import COMPLETED, STUCK, change, write
from tests.node_client import ROOT, Node, execute

CLEAR = "choreo node: "
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Under this even root may do no more than the modes of the files say."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Customer(Client):
    """Client that sends requests drawn from a seed, one after the other, and repeats all of them at the end."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(Random(f"client {seed}"))  # noqa: S311  # it is to be the same again
        self._workload = Workload(Random(f"sagas {seed}"))  # noqa: S311  # it is to be the same again

    def ask_for(self, life: Life, sagas: int) -> bool:
        """Send new sagas and repeat unanswered ones; return whether all new ones were answered."""
        return self.ask(life, self.next_asks(self._workload.draw(sagas, 0), 0))

    def ask(self, life: Life, asks: Sequence[Ask]) -> bool:
        return all(self._ask_one(life, ask) for ask in asks)

    def _ask_one(self, life: Life, ask: Ask) -> bool:
        life.send(self.bytes_of([ask]))
        return any(self.hear(line) == ask.msg_id for line in life.lines())

    def is_content_with(self, path: Path) -> bool:
        """Send every request to the next node, unanswered ones included; then check the journal."""
        with Life(path) as life:
            assert self.ask(life, self.every_ask()), life.stderr
            life.end_input()
            assert life.status() == 0, life.stderr
        assert self.findings == []
        assert self.unanswered == []
        assert judge(path, self.sagas).findings == []
        return True


def said_clearly(life: Life, status: int) -> str:
    """The one line that a node had for people when it gave up with that status."""
    assert life.status() == status, life.stderr
    (told,) = life.stderr.splitlines()
    assert told.startswith(CLEAR)
    return told


# --- disk full --------------------------------------------------------------------------------------------------------


class TinyDisk:
    """A file system of its own, with room for little."""

    under: Sequence[str] = ()

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], check=True, capture_output=True)

    def fill(self) -> None:
        ballast = os.open(self._directory / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(ballast, bytes(4096)):
                pass
        except OSError:
            os.close(ballast)

    def make_room(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=16m", self._directory], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", self._directory], check=True)


class TinyFiles:
    """Files of limited size; works also where mounting is not permitted."""

    def __init__(self, directory: Path) -> None:
        self.under: Sequence[str] = ("sh", "-c", 'ulimit -f 1500; exec "$@"', "sh")

    def fill(self) -> None:
        self.under = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh")

    def make_room(self) -> None:
        self.under = ()

    def close(self) -> None:
        pass


@pytest.fixture(params=["a disk", "files"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TinyDisk | TinyFiles]:
    """File system with little room."""
    place: TinyDisk | TinyFiles
    try:
        place = TinyDisk(tmp_path) if request.param == "a disk" else TinyFiles(tmp_path)
    except (OSError, subprocess.CalledProcessError):  # nobody but root mounts anything
        place = TinyFiles(tmp_path)
    yield place
    place.close()


def test_a_full_disk_ends_the_node_and_loses_nothing(tiny: TinyDisk | TinyFiles, path: Path) -> None:
    """The node says why and exits with 1; with room again the next one continues, and every reply sent was right."""
    customer = Customer()

    with Life(path, under=tiny.under) as life:
        is_all_answered = customer.ask_for(life, 60)
        told = said_clearly(life, status=1)
    tiny.make_room()

    assert not is_all_answered
    assert len(customer.replies) > 5
    assert "there is no room left for it" in told or "the disk fails" in told
    assert customer.is_content_with(path)


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_read(
    tiny: TinyDisk | TinyFiles, path: Path
) -> None:
    """Also with unfinished runs, and without room even for the name of the journal's holder."""
    customer = Customer()
    with Life(path, environment={LAST_CALL: "7"}) as life:
        assert not customer.ask_for(life, 10)
    put_back(path, files_of(path))  # without the index of the log
    Path(f"{path}-lock").unlink()

    tiny.fill()
    with Life(path, under=tiny.under) as life:
        told = said_clearly(life, status=2)
    tiny.make_room()

    assert "there is no room left for" in told or "the disk fails" in told
    assert customer.is_content_with(path)


# --- read-only --------------------------------------------------------------------------------------------------------


@contextmanager
def modes(*files: Path, mode: int) -> Iterator[None]:
    """These files have this mode meanwhile."""
    before = [(file, file.stat().st_mode) for file in files]
    for file in files:
        file.chmod(mode)
    try:
        yield
    finally:
        for file, each in before:
            file.chmod(each)


@contextmanager
def immutable(*files: Path) -> Iterator[bool]:
    """Make these files unwritable, even where already open. Needs root, and a file system that supports it."""
    is_immutable = _chattr("+i", *files)
    try:
        yield is_immutable
    finally:
        _chattr("-i", *files)


def _chattr(change: str, *files: Path) -> bool:
    try:
        return subprocess.run(["chattr", change, *files], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_modes_that_change_while_a_node_runs_do_not_concern_it(path: Path) -> None:
    """It has its files open and goes on; the next one is refused, until it may write again."""
    customer = Customer()

    with Life(path, under=UNPRIVILEGED) as life:
        assert customer.ask_for(life, 5)
        with modes(path, Path(f"{path}-wal"), mode=0o444), modes(path.parent, mode=0o555):
            is_all_answered = customer.ask_for(life, 5)
            life.kill()
            with Life(path, under=UNPRIVILEGED) as refused:
                told = said_clearly(refused, status=2)

    assert is_all_answered
    assert "it is read-only" in told
    assert customer.is_content_with(path)


def test_a_journal_that_nobody_can_write_any_more_ends_the_node(path: Path) -> None:
    """The node says so and exits with 1; where files cannot be made immutable it continues. No data is lost."""
    customer = Customer()

    with Life(path) as life:
        assert customer.ask_for(life, 5)
        with immutable(path, Path(f"{path}-wal")) as is_immutable:
            is_all_answered = customer.ask_for(life, 5)
            told = said_clearly(life, status=1) if is_immutable else ""

    assert is_all_answered is not is_immutable
    assert "the disk fails" in told or not is_immutable
    assert customer.is_content_with(path)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_journal_that_may_not_be_written_is_refused_at_the_start(path: Path, mode: int) -> None:
    """The refusal comes before any input is read, so no client gets a partial answer."""
    customer = Customer()
    with Life(path) as life:
        assert customer.ask_for(life, 5)

    with modes(path, mode=mode), Life(path, under=UNPRIVILEGED) as refused:
        is_answered = customer.ask_for(refused, 1)
        told = said_clearly(refused, status=2)

    assert not is_answered
    assert ("it is read-only" if mode else "cannot be opened") in told
    assert customer.is_content_with(path)


def test_a_directory_that_may_not_be_written_is_refused_at_the_start(path: Path) -> None:
    """The lock would lie there, and the write-ahead log."""
    with modes(path.parent, mode=0o555), Life(path, under=UNPRIVILEGED) as refused:
        told = said_clearly(refused, status=2)

    assert f"{path}-lock cannot be opened (Permission denied)" in told
    assert list(path.parent.iterdir()) == []


# --- something else at that path --------------------------------------------------------------------------------------


def a_directory(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("not a journal, and long enough to have a header\n" * 20)


def another_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (run)")


def a_newer_journal(path: Path) -> None:
    with closing(Journal.open(str(path))):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


def a_journal_whose_first_page_is_gone(path: Path) -> None:
    with closing(Journal.open(str(path))):
        pass
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 2000)


def a_journal_that_was_cut_short(path: Path) -> None:
    with closing(Journal.open(str(path))):
        pass
    os.truncate(path, 5000)


@pytest.mark.parametrize(
    ("lay_down", "said"),
    [
        (a_directory, "it is a directory"),
        (a_text, "it is something else"),
        (another_database, "a SQLite file of some other program"),
        (a_newer_journal, "a newer choreo has written it"),
        (a_journal_whose_first_page_is_gone, "it is damaged"),
        (a_journal_that_was_cut_short, "it is damaged"),
    ],
)
def test_what_is_no_journal_is_refused_and_left_alone(path: Path, lay_down: Callable[[Path], None], said: str) -> None:
    """One clear line, exit status 2, and not a byte is changed."""
    lay_down(path)
    before = path.read_bytes() if path.is_file() else None

    with Life(path) as life:
        told = said_clearly(life, status=2)

    assert said in told
    assert (path.read_bytes() if path.is_file() else None) == before


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    """An operator may create the file beforehand, to set its mode."""
    path.touch(mode=0o600)
    customer = Customer()

    with Life(path) as life:
        assert customer.ask_for(life, 5)

    assert path.stat().st_mode & 0o777 == 0o600
    assert customer.is_content_with(path)


def test_a_journal_in_no_directory_is_refused(path: Path) -> None:
    with Life(path / "journal.db") as life:
        told = said_clearly(life, status=2)

    assert "cannot be opened (No such file or directory)" in told


# --- somebody else has it ---------------------------------------------------------------------------------------------


@contextmanager
def another_program(path: Path) -> Iterator[Callable[[], None]]:
    """Has the journal locked as a whole until it is told to let go."""
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "connection.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.stdin.close
        finally:
            process.kill()


def test_a_journal_that_another_program_has_locked_is_waited_for(path: Path) -> None:
    """A commit waits until the lock is released, and no reply is sent before."""
    customer = Customer()
    with Life(path) as life:
        assert customer.ask_for(life, 2)

        with another_program(path) as let_go:
            asks = customer.next_asks([Saga("waits", ("ledger_a",), "choreography")], 0)
            life.send(customer.bytes_of(asks))
            let_go()
            told = [customer.hear(line) for _, line in zip(asks, life.lines(), strict=False)]

    assert told == [ask.msg_id for ask in asks]
    assert customer.is_content_with(path)


def test_a_journal_that_stays_locked_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the timeout no reply was sent that is not on disk; once the lock is free, the saga is executed as new."""
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.01)
    saga = Saga("waits", ("ledger_a", "shelf_a"), "choreography")

    with closing(Journal.open(str(path))) as journal:
        session = a_session(journal)
        with another_program(path):
            with pytest.raises(JournalError, match=r"can be written.*another program has it locked"):
                session.feed(saga.line(1))
            with pytest.raises(JournalError, match=r"can be opened.*another program has it locked"):
                Journal.open(str(path))

    with closing(Journal.open(str(path))) as journal:
        assert a_session(journal).feed(saga.line(1)).decode() == saga.reply(1) + "\n"
    assert judge(path, [saga]).findings == []


def a_session(journal: Journal, now_ms: Callable[[], int] | None = None) -> Session:
    runner = DurableRunner(catalogue(), journal, now_ms or count().__next__)
    return Session(runner, print, durable=runner)


def test_a_second_node_is_refused_while_the_first_lives(path: Path) -> None:
    """The error names the owner of the journal; once that process is killed, the next one finishes its runs."""
    customer = Customer()
    with Life(path, environment={LAST_CALL: "9"}) as first:
        first.until_it_has_the_journal()

        with Life(path) as second:
            told = said_clearly(second, status=2)
        is_all_answered = customer.ask_for(first, 10)

    assert f"the process {first.process.pid} has it" in told
    assert not is_all_answered
    assert customer.is_content_with(path)


def test_a_node_that_waits_takes_over(path: Path) -> None:
    """The first node dies in the middle of a saga; the waiting one finishes it, and answers its own clients."""
    customer = Customer()
    with Life(path, environment={LAST_CALL: "9"}) as first:
        first.until_it_has_the_journal()

        with Life(path, "--wait") as second:
            assert not customer.ask_for(first, 10)
            is_all_answered = customer.ask(second, customer.unanswered)

    assert is_all_answered
    assert customer.is_content_with(path)


# --- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_changes_nothing(path: Path) -> None:
    """It runs backward all the time, and starts an hour earlier with the next process: the same replies and effects."""
    sagas = Workload(Random(3)).draw(20, 0)  # noqa: S311  # it is to be the same again
    lines = [saga.line(number) for number, saga in enumerate(sagas)]
    expected = [saga.reply(number) for number, saga in enumerate(sagas)]

    with closing(Journal.open(str(path))) as journal:
        first = b"".join(map(a_session(journal, count(7_200_000, -1).__next__).feed, lines))
    with closing(Journal.open(str(path))) as journal:
        later = a_session(journal, count(3_600_000, -1).__next__)
        again = b"".join(map(later.feed, lines))
        one_more = later.feed(Saga("one more", ("ledger_a",), "choreography").line(99))
        assert check_runs(journal, is_at_rest=True).holds

    assert first.decode().splitlines() == again.decode().splitlines() == expected
    assert b"saga_completed" in one_more


# --- a torn log -------------------------------------------------------------------------------------------------------


@pytest.fixture
def here() -> Iterator[Path]:
    with in_memory() as directory:
        yield directory / "journal.db"


class Noting(Journal):
    """A journal that notes its files before and after each transaction."""

    files: list[Files]

    def commit(self, *rows: Sequence[object]) -> None:  # type: ignore[override]  # it is planted
        super().commit(*rows)  # type: ignore[arg-type]  # it is planted
        files = files_of(Path(self.path))
        if files != self.files[-1]:
            self.files.append(files)


def small_pages(path: Path) -> None:
    """An empty database whose pages are so small that every byte of a transaction can be tried."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")


def transactions(path: Path) -> list[Files]:
    """A journal as it lay on disk after each transaction, while the node lived."""
    sagas = Workload(Random(5)).draw(5, 0)  # noqa: S311  # it is to be the same again
    last = Saga("last", ("ledger_a", "shelf_a", "ledger_b"), "choreography", fail_step="ledger_b")
    with closing(Noting.open(str(path))) as journal:
        assert isinstance(journal, Noting)
        journal.files = [files_of(path)]
        session = a_session(journal)
        for number, saga in enumerate([*sagas, last]):
            session.feed(saga.line(number))
        return journal.files


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Every row that the next node finds."""
    with closing(Journal.open(str(path))), closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]


def torn(files: Files, size: int) -> Files:
    return {"": files[""], "-wal": files["-wal"][:size]}


def test_a_log_that_is_torn_in_its_last_transaction_is_as_before_it(here: Path) -> None:
    """At every byte: the state before, no mixture, and with the last byte the state after."""
    small_pages(here)
    *_, before, after = transactions(here)

    def state(size: int) -> list[tuple[object, ...]]:
        put_back(here, torn(after, size))
        return rows_of(here)

    begin, end = len(before["-wal"]), len(after["-wal"])
    state_before, state_after = state(begin), state(end)
    assert state_before != state_after
    assert end - begin > 2000
    assert [size for size in range(begin, end) if state(size) != state_before] == []


def test_a_log_that_is_torn_anywhere_is_as_after_the_last_whole_transaction(here: Path) -> None:
    """Every complete transaction is recovered, and no part of an incomplete one."""
    files = transactions(here)

    def state(size: int) -> list[tuple[object, ...]]:
        put_back(here, torn(files[-1], size))
        return rows_of(here)

    ends = [len(each["-wal"]) for each in files]
    states = list(map(state, ends))
    found = {size: state(size) for size in range(ends[0], ends[-1], 599)}

    assert len(ends) > 15
    assert [size for size in found if found[size] != states[sum(end <= size for end in ends) - 1]] == []


def test_a_byte_that_is_wrong_in_the_last_transaction_undoes_it(here: Path) -> None:
    """As if it had not been written: every frame has a checksum."""
    small_pages(here)
    *_, before, after = transactions(here)
    begin, end = len(before["-wal"]), len(after["-wal"])
    put_back(here, before)
    state_before = rows_of(here)

    for place in range(begin, end, 7):
        log = bytearray(after["-wal"])
        log[place] ^= 0x10
        put_back(here, {"": after[""], "-wal": bytes(log)})
        found = rows_of(here)

        assert found == state_before, f"byte {place - begin} of the transaction"


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_damaged_anywhere_is_told_or_does_not_matter(here: Path) -> None:
    """Whichever bytes are wrong: the node goes on, or says that the journal is at fault; it never fails otherwise."""
    sagas = Workload(Random(5)).draw(10, 0)  # noqa: S311  # it is to be the same again
    with closing(Journal.open(str(here))) as journal:
        converse(journal, sagas)
    sound = here.read_bytes()
    told = {"fine": 0, "damaged": 0}

    for place in range(0, len(sound), 173):
        for junk in (bytes(24), b"\xff" * 24, b'{x"]:,9' * 3):
            put_back(here, {"": sound[:place] + junk + sound[place + len(junk) :]})
            try:
                with closing(Journal.open(str(here))) as journal:
                    converse(journal, sagas)
                told["fine"] += 1
            except JournalError:
                told["damaged"] += 1

    assert min(told.values()) > 50


def converse(journal: Journal, sagas: Sequence[Saga]) -> None:
    """Do the whole work of a node: recover unfinished runs, and answer requests."""
    runner = DurableRunner(catalogue(), journal, count().__next__)
    session = Session(runner, lambda told: None, durable=runner)
    for _ in session.recover():
        pass
    for number, saga in enumerate(sagas):
        session.feed(saga.line(number))


@pytest.mark.parametrize("first", [8192, 16384])
def test_a_node_on_a_damaged_journal_says_so(path: Path, first: int) -> None:
    """One clear line, whether it finds out at the start or in the middle of its work."""
    customer = Customer()
    with Life(path) as life:
        assert customer.ask_for(life, 10)
        life.end_input()
        assert life.status() == 0
    with path.open("r+b") as file:
        file.seek(first)
        file.write(b"\xa5" * (path.stat().st_size - first))

    with Life(path) as life:
        is_all_answered = customer.ask(life, customer.every_ask())
        status = life.status()
        told = said_clearly(life, status)

    assert not is_all_answered
    assert status in (1, 2)
    assert "it is damaged" in told


@pytest.mark.parametrize("what", ["", "-lock"])
def test_a_node_whose_journal_is_taken_away_stops_before_it_answers(path: Path, what: str) -> None:
    """Moved, or its lock removed: another node may hold another journal by now, and a reply of this one may not be
    durable.
    """
    with Node("--journal", str(path)) as node:
        assert json.loads(node.ask(execute(1, "a")))["in_reply_to"] == 1
        os.rename(f"{path}{what}", f"{path}.moved")

        replies = node.finish()

        assert (replies, node.process.returncode) == ([], 1)
        assert "was moved or removed" in node.stderr


def test_a_journal_with_a_second_name_is_refused(path: Path) -> None:
    """Two nodes could have it under the two names, each with a log of its own."""
    Journal.open(str(path)).close()
    os.link(path, f"{path}.other")

    with Life(path) as life:
        assert "it has another one (a hard link)" in said_clearly(life, status=2)


@pytest.mark.parametrize("what", ["", "-wal", "-lock"])
def test_the_trace_is_not_written_over_the_journal(path: Path, what: str) -> None:
    """A slip of the hand that would cost every saga."""
    Journal.open(str(path)).close()
    before = path.read_bytes()

    with Life(path, "--trace", f"{path}{what}") as life:
        assert "expected another file than the journal" in said_clearly(life, status=2)

    assert path.read_bytes() == before


# --- somebody else's tables -------------------------------------------------------------------------------------------

DELIVERIES = "run, number, at_ms, seat, heard, published, detail, receipt"
FOREIGN = {
    "a view": (
        ["ALTER TABLE deliveries RENAME TO d", f"CREATE VIEW deliveries AS SELECT {DELIVERIES} FROM d"],
        "deliveries is a view, and no table",
    ),
    "a view of runs": (
        ["ALTER TABLE runs RENAME TO r", "CREATE VIEW runs AS SELECT * FROM r"],
        "runs is a view, and no table",
    ),
    "a virtual table": (
        ["DROP TABLE deliveries", f"CREATE VIRTUAL TABLE deliveries USING fts5({DELIVERIES})"],
        "the table deliveries is not as a node makes it ('CREATE VIRTUAL TABLE",
    ),
    "a trigger": (
        ["CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM deliveries; END"],
        "there is a trigger 't'",
    ),
    "a generated column": (
        ["ALTER TABLE runs ADD COLUMN more AS (saga_id || 'x')"],
        "the table runs is not as a node makes it",
    ),
    "a missing table": (["DROP TABLE resumptions"], "resumptions is not there, and no table"),
    "a unique index": (["CREATE UNIQUE INDEX u ON runs (style)"], "the index 'u' is none of a journal's"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_tables_that_are_no_journals_are_refused_by_name(path: Path, what: str) -> None:
    """For writing or for reading; no SQL in the file has run, and the file is unchanged."""
    statements, told = FOREIGN[what]
    write(str(path), COMPLETED)
    change(str(path), *statements)
    before = path.read_bytes()

    for opened in (Journal.open, Journal.open_to_read):
        with pytest.raises(JournalError) as refused:
            opened(str(path))
        assert told in str(refused.value)
    assert path.read_bytes() == before


def test_what_an_operator_adds_for_himself_is_let_be(path: Path) -> None:
    """A view, an index and a table of the operator's, and the tables of ANALYZE."""
    write(str(path), COMPLETED)
    change(
        str(path),
        "CREATE VIEW mine AS SELECT state, count(*) FROM runs GROUP BY state",
        "CREATE INDEX mine_too ON runs (begun_ms)",
        "CREATE TABLE notes (run, note)",
        "ANALYZE",
    )

    write(str(path), replace(COMPLETED, saga_id="more"))

    assert Journal.open_to_read(str(path)).last_run() == 2


# --- few files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", range(5, 15))
@pytest.mark.parametrize("options", [(), ("--journal",)])
def test_a_node_that_may_open_few_files_serves_or_says_so(path: Path, limit: int, options: Sequence[str]) -> None:
    """Never a traceback, for any limit; below the smallest one Python itself does not start."""
    command = [sys.executable, "main.py", *options, *([str(path)] if options else [])]
    under = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh")

    done = subprocess.run(
        [*under, *command], cwd=ROOT, input=b'{"type": "execute", "saga_id": 1, "steps": []}\n', capture_output=True
    )

    told = done.stderr.decode()
    assert done.returncode in (0, 2), told
    if done.returncode == 2:
        assert told.startswith("choreo node: expected to be able to open ")
        assert told.endswith("raise the limit (ulimit -n)\n")
        assert len(told.splitlines()) == 1
    else:
        assert b"saga_completed" in done.stdout


@pytest.mark.parametrize("limit", range(5, 15, 3))
@pytest.mark.parametrize(
    "command", [["sagas"], ["show", "done"], ["check"], ["resume", "done"], ["prune", "--older-than", "1d"]]
)
def test_a_command_that_may_open_few_files_works_or_says_so(path: Path, limit: int, command: list[str]) -> None:
    """Never a traceback."""
    write(str(path), COMPLETED)

    done = subprocess.run(
        [
            "sh",
            "-c",
            f'ulimit -n {limit}; exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "choreo",
            *command,
            "--journal",
            path,
        ],
        cwd=ROOT,
        capture_output=True,
    )

    told = done.stderr.decode()
    assert done.returncode in (0, 2), told
    assert "Traceback" not in told
    assert done.returncode == 0 or "raise the limit" in told


# --- a full disk, and the commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["prune", "--older-than", "0s"], ["resume", "stuck", "--services", "tests.journals"]]
)
def test_a_full_disk_is_no_wrong_use_of_a_command_that_writes(
    tiny: TinyDisk | TinyFiles, path: Path, command: list[str]
) -> None:
    """It fails with 1 and says why, without a word about its options; with room again it completes."""
    write(str(path), STUCK, *(replace(COMPLETED, saga_id=number) for number in range(12)))
    choreo = [sys.executable, "-m", "choreo", *command, "--journal", str(path)]
    tiny.fill()

    failed = subprocess.run([*tiny.under, *choreo], cwd=ROOT, capture_output=True)
    tiny.make_room()
    done = subprocess.run(choreo, cwd=ROOT, capture_output=True)

    told = (failed.stdout + failed.stderr).decode()
    assert failed.returncode == 1, told
    assert any(why in " ".join(told.split()) for why in ("there is no room left for", "the disk fails"))
    assert "Usage" not in told
    assert done.returncode == 0, done.stderr

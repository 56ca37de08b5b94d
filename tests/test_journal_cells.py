"""Any value in any cell of a journal: a command names the damage and its place in a line, or it is harmless."""

import json
import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest

from choreo.api import compose_durable
from choreo.node.session import Session
from choreo.saga.definition import Saga
from choreo.saga.request import Request
from choreo.storage.errors import JournalError
from choreo.storage.sagas import definition_text
from choreo.storage.sqlite.journal import Journal
from tests.journals import COMPENSATED, STUCK, TRIP, change, write, write_cut
from tests.terminal import choreo, prose

GARBAGE: dict[str, object] = {
    "nothing": None,
    "a huge number": 2**63 - 1,
    "a negative number": -(2**63),
    "infinity": float("inf"),
    "a text": "garbage",
    "JSON": '["a", {"b": [null]}]',
    "deep JSON": "[" * 100_000,
    "a lone surrogate": '"\\ud800"',
    "a long number": "9" * 6000,
    "no UTF-8": b"\xff\xfe\xed\xa0\x80",
    "a pickle": b"\x80\x04K\x01.\x00",
    "an unknown tag": '{"$never": 1}',
    "a call": '{"$object": "os:abort", "fields": {}}',
    "a service": '[{"service": "a", "kind": "b", "state": {"$service": []}}]',
    "escapes": "\x1b[31m\u202e\u2066\u2028",
}
COMMANDS = (
    ["sagas"],
    ["show", "stuck", "--all"],
    ["show", "cut", "--json"],
    ["check"],
    ["prune", "--older-than", "0s"],
    ["resume", "stuck", "--services", "tests.journals"],
)
COLUMNS = [
    *(("runs", column) for column in ("run", "saga_id", "src", "msg_id", "reply_as", "style", "steps", "fail_step")),
    *(("runs", column) for column in ("fail_compensation", "begun_ms", "state", "ended_ms", "outcome", "resolution")),
    ("runs", "saga"),
    ("runs", "input"),
    *(("deliveries", column) for column in ("run", "number", "at_ms", "seat", "heard", "published")),
    *(("deliveries", column) for column in ("detail", "receipt")),
    *(("services", column) for column in ("name", "kind", "records")),
    *(("resumptions", column) for column in ("number", "run", "asked_ms", "done_ms", "failure")),
    ("catalogue", "module"),
    ("origins", "first_run"),
    ("origins", "origin"),
    *(("served", column) for column in ("step", "run", "kind")),
    *(("held", column) for column in ("run", "at_ms", "step", "reason")),
    *(("deadly_calls", column) for column in ("run", "seat", "call", "deaths")),
    *(("sagas", column) for column in ("digest", "definition")),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Journal with a value in every table and in every column."""
    path = str(tmp_path_factory.mktemp("sound") / "journal.db")
    write(path, COMPENSATED, STUCK)
    write_cut(path, Request("cut", TRIP), 2)
    return change(
        path,
        "INSERT INTO held VALUES (3, 1, '\"book_car\"', '\"no service serves it\"')",
        "INSERT INTO deadly_calls VALUES (3, 2, 'execute', 1)",
        "INSERT INTO resumptions (run, asked_ms) VALUES (2, 1)",
        "UPDATE runs SET src = '\"c\"', reply_as = '\"n\"'",
        f"INSERT INTO sagas VALUES ('trip', '{definition_text(Saga('trip', *TRIP))}')",
        "UPDATE runs SET saga = 'trip', input = '{}' WHERE run = 3",
        "INSERT INTO catalogue VALUES ('tests.journals')",
        "INSERT INTO served VALUES ('\"book_car\"', 1, 'tests.journals.Desk')",
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


def damaged(sound: str, path: str, table: str, column: str, value: object) -> bool:
    """A journal at `path` with that value in the column, in as many rows as take it; whether there is any."""
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}-calls"):
        Path(name).unlink(missing_ok=True)
    copyfile(sound, path)
    expression = "CAST(? AS TEXT)" if value == GARBAGE["no UTF-8"] else "?"
    with closing(sqlite3.connect(path)) as connection, connection:
        try:
            statement = f"UPDATE OR IGNORE {table} SET {column} = {expression}"
            return connection.execute(statement, (value,)).rowcount > 0
        except sqlite3.Error:
            return False


def test_every_column_of_every_table_is_damaged_here(sound: str) -> None:
    """A new one is to be added."""
    with closing(sqlite3.connect(sound)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = [(t, row[1]) for t in tables for row in connection.execute(f"PRAGMA table_info({t})")]

    assert columns == COLUMNS


@pytest.mark.slow
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_no_command_is_surprised_by_what_stands_in_a_cell(sound: str, path: str, table: str, column: str) -> None:
    """Never a traceback: only documented exit statuses, and no printed control sequences."""
    for what, value in GARBAGE.items():
        for command in COMMANDS:
            if not damaged(sound, path, table, column, value):
                break

            done = choreo(*command, "--journal", path)

            said = f"{what}: choreo {' '.join(command)} -> {done.exit_code} {done.output}"
            assert done.exception is None or isinstance(done.exception, SystemExit), (said, done.exception)
            assert done.exit_code in (0, 1, 2), said
            assert not any(escape in done.output for escape in "\x1b\u202e\u2066\u2028"), said


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_no_node_is_surprised_by_what_stands_in_a_cell(sound: str, path: str, table: str, column: str) -> None:
    """It says in a sentence why it cannot start or go on, or serves; and never is a request passed over."""
    for what, value in GARBAGE.items():
        if not damaged(sound, path, table, column, value):
            continue
        journal = Journal.open(path)
        notices: list[str] = []

        try:
            runner = compose_durable("tests.journals", journal, notice=notices.append)
            session = Session(runner, notices.append, durable=runner)
            list(session.recover())
            session.poll_operator()
            reply = session.feed(b'{"type": "execute", "msg_id": 1, "saga_id": "new", "steps": ["a"]}\n')
            refused = ""
        except JournalError as error:
            reply, refused = b"", str(error)
        finally:
            journal.close()

        assert "expected" in refused or json.loads(reply)["type"] == "saga_completed", (what, refused, reply)


CELLS = {
    ("runs", "begun_ms"): ("run 2 cannot be read: begun_ms: expected a number, got 'garbage'", "garbage"),
    ("runs", "saga_id"): (
        "run 2 cannot be read: saga_id: expected JSON of a text or a number, got 'garbage'",
        "garbage",
    ),
    ("runs", "outcome"): ("run 2 cannot be read: outcome: expected JSON of an outcome, got '5'", "5"),
    ("deliveries", "at_ms"): ("run 2, delivery 1 cannot be read: at_ms: expected a number, got 'garbage'", "garbage"),
    ("deliveries", "heard"): ("run 2, delivery 1 cannot be read: heard: expected a text, got b'garbage'", b"garbage"),
    ("deliveries", "receipt"): ("run 2, delivery 1 cannot be read: receipt: expected a text, got 5", 5),
}


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_a_damaged_cell_is_told_with_its_run_and_its_column(sound: str, path: str, table: str, column: str) -> None:
    """By show and by check; the other runs are listed and shown as ever."""
    told, value = CELLS[table, column]
    copyfile(sound, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE run = 2", (value,))

    shown = choreo("show", "stuck", "--journal", path)
    checked = choreo("check", "--journal", path, "--json")
    others = [choreo("show", saga_id, "--journal", path).exit_code for saga_id in ("undone", "cut")]

    assert shown.exit_code == 2
    assert told.replace("delivery 1 ", "delivery ") in prose(shown.output).replace("delivery 1 ", "delivery ")
    assert checked.exit_code == 1
    assert column in json.loads(checked.stdout)["first"]["sentence"]
    assert "run-2" in checked.stdout
    assert others == [0, 0]
    assert choreo("sagas", "--journal", path).exit_code == 0


class Stranger:
    """A pickle that makes a folder when it is read."""

    def __init__(self, sign: Path) -> None:
        self._sign = str(sign)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self._sign,)


@pytest.mark.parametrize("form", ["pickle", "json"])
@pytest.mark.parametrize("table", ["services", "deliveries"])
def test_nothing_in_a_journal_is_executed(sound: str, path: str, tmp_path: Path, table: str, form: str) -> None:
    """By those who only look, and by those who drive runs: a cell may name a function, and none is called."""
    sign = tmp_path / "sign"
    bomb: object = pickle.dumps(Stranger(sign))
    if form == "json":
        bomb = json.dumps({"$object": "os:mkdir", "fields": {"path": str(sign)}})
        bomb = f'[{{"service": "book_car", "kind": "", "state": {bomb}}}]' if table == "services" else bomb
    column = "records" if table == "services" else "receipt"
    commands = [["sagas"], ["sagas", "--json"], ["check"], ["prune", "--older-than", "0s"]]
    commands += [["show", name, *form] for name in ("stuck", "cut") for form in ([], ["--json"], ["--mermaid"])]
    commands += [["resume", name, "--services", "tests.journals"] for name in ("stuck", "cut")]

    for command in commands:
        assert damaged(sound, path, table, column, bomb)
        if table == "services":
            change(path, "UPDATE services SET name = '*'")
        done = choreo(*command, "--journal", path)

        assert not sign.exists(), command
        assert done.exit_code != 0 or command[0] != "resume"

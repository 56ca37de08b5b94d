"""Journals of schema 5, whose values are pickles, are brought forward to JSON, or stay as they are."""

import json
import os
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.codec import Undecodable, decode
from choreo.saga.outcome import State
from choreo.saga.service import Service
from choreo.storage.errors import JournalError
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, VERSION
from tests.codec_values import VALUES, Bank, Ledger, Money
from tests.terminal import choreo

KIND = "tests.test_unpickling"


class Desk:
    """Hands back what it is told to, and keeps its receipts in a ledger that it may share."""

    def __init__(self, ledger: list[Any] | None = None, other: Service | None = None) -> None:
        self.ledger = [] if ledger is None else ledger
        self.other = other

    def execute(self, reference: str) -> object:
        self.ledger.append(reference)
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.ledger.append(receipt)


class Plain:
    """Holds numbers."""

    def __init__(self) -> None:
        self.count, self.rate = 0, 0.0

    def execute(self, reference: str) -> object:
        self.count += 1
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.count -= 1


class OldPickler(pickle.Pickler):
    """As schema 5 was written: another service is a reference to the step that found it first."""

    def persistent_id(self, obj: Any) -> str | None:
        return "plain" if isinstance(obj, Plain) else None


def pickled(value: object) -> bytes:
    file = BytesIO()
    OldPickler(file).dump(value)
    return file.getvalue()


class Calls:
    """A pickle that makes a folder where it is read without care."""

    def __init__(self, sign: Path) -> None:
        self._sign = str(sign)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._sign,)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sagas.db")


def write_old(path: str, receipts: dict[int, bytes | str], records: list[tuple[str, str, Any]], state: str) -> None:
    """A journal of schema 5 with one run of the steps `one` and `two`, the second of which has not begun."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statements in MIGRATIONS[:5]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 5")
        outcome = None if state == "running" else '{"state": "compensated", "compensated_steps": ["one"]}'
        connection.execute(
            "INSERT INTO runs (run, saga_id, style, steps, fail_step, begun_ms, state, outcome) VALUES "
            "(1, '\"old\"', 'choreography', '[\"one\", \"two\"]', '\"two\"', 0, ?, ?)",
            (state, outcome),
        )
        connection.execute("INSERT INTO origins VALUES (1, 'old')")
        for number, receipt in receipts.items():
            connection.execute(
                "INSERT INTO deliveries VALUES (1, ?, 0, 0, 'started', 'succeeded:0', NULL, ?)", (number, receipt)
            )
        connection.executemany("INSERT INTO services VALUES (?, ?, ?)", records)


def rows(path: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def together(**states: Any) -> tuple[str, str, bytes]:
    kinds = dict.fromkeys(states, f"{KIND}.Desk")
    return "*", json.dumps(kinds), pickled(states)


def test_a_receipt_and_records_are_read_and_the_run_goes_on(path: str) -> None:
    """The compensation gets the receipt that the older choreo kept, and what two services share is one object."""
    receipt, ledger = Ledger("me", [Money(5)]), ["before"]
    records = [
        together(one={"ledger": ledger, "other": Plain()}, two={"ledger": ledger, "other": None}),
        ('"plain"', f"{KIND}.Plain", '{"count": 3, "rate": NaN}'),
    ]
    write_old(path, {1: pickled(receipt)}, records, "running")
    plain = Plain()
    services: dict[str, Any] = {"one": Desk(None, plain), "two": Desk(), "plain": plain}

    with closing(Journal.open(path)) as journal:
        runner = DurableRunner(services.__getitem__, journal, lambda: 0)
        (((_, _, under_way),),) = runner.recover()

    assert under_way.outcome is not None
    assert under_way.outcome.state is State.COMPENSATED
    assert services["one"].ledger == ["before", receipt]
    assert services["one"].ledger is services["two"].ledger
    assert services["one"].other is plain
    assert (plain.count, str(plain.rate)) == (3, "nan")
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]
    assert {type(cell) for row in rows(path, "SELECT receipt, NULL FROM deliveries") for cell in row} == {
        str,
        type(None),
    }
    assert {kind for (kind,) in rows(path, "SELECT typeof(records) FROM services")} == {"text"}


@pytest.mark.parametrize("value", [each for each in VALUES if each is not None], ids=lambda value: type(value).__name__)
def test_every_value_that_the_codec_keeps_is_read_from_a_pickle(path: str, value: Any) -> None:
    """As a receipt, in each protocol that pickle has had since Python 3.8."""
    for protocol in (4, 5):
        Path(path).unlink(missing_ok=True)
        write_old(path, {1: pickle.dumps((value, 1), protocol)}, [], "running")
        Journal.open(path).close()

        ((text,),) = rows(path, "SELECT receipt FROM deliveries")
        assert repr(decode(text)) == repr((value, 1)) if not isinstance(value, int) else decode(text) == (value, 1)


def test_numbers_that_were_not_json_are_read(path: str) -> None:
    """Python's json wrote NaN and Infinity, which no other reader takes."""
    write_old(path, {1: "NaN", 2: "Infinity", 3: "-Infinity", 4: '"NaN"'}, [], "completed")

    Journal.open(path).close()

    values = [decode(text) for (text,) in rows(path, "SELECT receipt FROM deliveries ORDER BY number")]
    assert repr(values) == "[nan, inf, -inf, 'NaN']"


def not_plain(sign: Path) -> Iterator[tuple[str, bytes | None, list[tuple[str, str, Any]], str]]:
    receipt = "deliveries, run 1, delivery 1, the receipt of step 'one': "
    yield "a class", pickle.dumps([Bank()]), [], f"{receipt}it holds a tests.codec_values.Bank: .*which is none"
    yield "a call", pickle.dumps(Calls(sign)), [], f"{receipt}it holds a {os.mkdir.__module__}.mkdir"
    yield "eval", b"cbuiltins\neval\n(S'1'\ntR.", [], f"{receipt}it holds a builtins.eval"
    yield (
        "getattr",
        b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'add'\ntR.",
        [],
        f"{receipt}it looks up the attribute 'add'",
    )
    yield "damage", b"\x80\x04garbage", [], f"{receipt}it cannot be read"
    yield "a reference", pickled([Plain()]), [], f"{receipt}expected a value, got a reference to a service"
    cycle: list[Any] = []
    cycle.append(cycle)
    yield "a cycle", pickle.dumps(cycle), [], f"{receipt}.*contains itself"
    row = r"services, row '\*': "
    yield "a field", None, [together(one={"bank": [Bank()]})], f"{row}it holds a tests.codec_values.Bank"
    yield "a list", None, [("*", "{}", pickle.dumps(["a"]))], f"{row}expected the state of each service"
    yield "kinds", None, [("*", "garbage", pickle.dumps({}))], f"{row}Expecting value"


NOT_PLAIN = [name for name, *_ in not_plain(Path())]


@pytest.mark.parametrize("state", ["running", "stuck"])
@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_pickle_that_is_not_plain_is_named_and_nothing_is_lost(
    path: str, tmp_path: Path, name: str, state: str
) -> None:
    """The table, the row, the step, the class and the remedy; the file stays as it was, and nothing is called."""
    sign = tmp_path / "sign"
    data, records, told = next(each[1:] for each in not_plain(sign) if each[0] == name)
    write_old(path, {1: data or pickle.dumps((1,))}, [*records, ('"plain"', f"{KIND}.Plain", '{"rate": NaN}')], state)
    before = list(sqlite3.connect(path).iterdump())

    with pytest.raises(
        JournalError, match=f"{told}.*; finish its runs with the choreo that has written it, or make that"
    ):
        Journal.open(path)

    assert list(sqlite3.connect(path).iterdump()) == before
    assert rows(path, "PRAGMA user_version") == [(5,)]
    assert not sign.exists()


@pytest.mark.parametrize("state", ["completed", "compensated"])
def test_a_receipt_that_nobody_needs_any_more_is_kept_unread(path: str, tmp_path: Path, state: str) -> None:
    """The run has ended: no compensation will ask for it. Its bytes are still there, and no command runs them."""
    sign = tmp_path / "sign"
    data = pickle.dumps(Calls(sign))
    write_old(path, {1: data, 2: pickle.dumps((1,))}, [], state)

    Journal.open(path).close()

    (unread,), (read,) = rows(path, "SELECT receipt FROM deliveries ORDER BY number")
    with pytest.raises(Undecodable, match="a pickle that an older choreo has kept and that could not be read"):
        decode(unread)
    assert json.loads(unread).keys() == {"$pickle"}
    assert decode(read) == (1,)
    for command in (["show", "old"], ["check"], ["sagas"]):
        assert choreo(*command, "--journal", path).exit_code in (0, 1), command
    assert not sign.exists()


def test_many_receipts_are_read(path: str) -> None:
    """More than are read at once."""
    write_old(path, {number: pickle.dumps((number,)) for number in range(1, 2101)}, [], "completed")

    Journal.open(path).close()

    texts = rows(path, "SELECT receipt FROM deliveries ORDER BY number")
    assert [decode(text) for (text,) in texts] == [(number,) for number in range(1, 2101)]

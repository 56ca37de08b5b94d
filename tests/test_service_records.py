"""Records of services are restored after a restart, without the services' knowledge."""

import json
import sqlite3
import threading
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.calls.call import Call
from choreo.saga.calls.catalogue import catalogue_of
from choreo.saga.calls.steps import step
from choreo.saga.codec import encode
from choreo.saga.keys import execution_key, read_key
from choreo.saga.outcome import State
from choreo.saga.request import Request
from choreo.saga.service import NotSnapshotable, Refused, ResourceLocked, Service, ServiceOf
from choreo.storage.errors import JournalError
from choreo.storage.sqlite.journal import Journal
from services import catalogue
from services.cars import Cars
from services.flights import Flights
from services.simulated import Simulated
from tests.codec_values import Ledger, Money
from tests.journals import change


class Wordless(Refused):
    """A refusal that cannot say why."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Process:
    """A node as far as its services are concerned: opened on a journal, used, and gone."""

    def __init__(self, path: Path, service_of: ServiceOf) -> None:
        self.journal = Journal.open(str(path))
        self.runner = DurableRunner(service_of, self.journal, lambda: 0, origin="test")

    def __enter__(self) -> DurableRunner:
        return self.runner

    def __exit__(self, *error: object) -> None:
        self.journal.close()


def kept(path: Path) -> dict[str, Any]:
    """The rows of the services."""
    journal = Journal.open_to_read(str(path))
    rows = {name: json.loads(held) for name, _, held in journal.records()}
    journal.close()
    return rows


class Counter:
    """Holds one number, or any other value given to it."""

    def __init__(self, **fields: Any) -> None:
        self.count = 0
        vars(self).update(fields)

    def execute(self, reference: str) -> object:
        self.count += 1
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.count -= 1


def test_every_service_of_the_catalogue_goes_on_where_it_was(tmp_path: Path) -> None:
    """Numbers, lists and receipts: after a restart the compensation returns the items taken before it."""
    path = tmp_path / "sagas.db"
    steps = ("book_flight", "book_hotel", "book_car", "ship", "charge", "reserve", "notify", "place_order", "other")
    with Process(path, catalogue()) as runner:
        runner.execute("kept", steps)

    services = catalogue()
    with Process(path, services) as runner:
        runner.execute("undone", steps, "other")

    held = {step: services(step).__getstate__() for step in steps}
    assert held["book_flight"]["booked"] == 1
    assert held["book_hotel"] == {"capacity": None, "booked": 1, "earned": 80}
    assert held["book_car"]["lot"] == ["CAR 001", "CAR 002"]
    assert held["ship"]["parcels"] == [1, 0, 0]
    assert (held["charge"]["charged"], held["reserve"]["reserved"]) == (100, 1)
    assert (held["notify"]["sent"], held["notify"]["corrected"]) == (2, 1)
    assert held["other"] == {"held": 1}


def test_numbers_and_texts_are_legible(tmp_path: Path) -> None:
    """A service with such fields only has a row that any SQLite tool can read: the fields that changed."""
    path = tmp_path / "sagas.db"
    with Process(path, catalogue()) as runner:
        runner.execute("a", ("book_flight", "book_hotel", "anything"))

    assert kept(path) == {
        '"book_flight"': {"booked": 1},
        '"book_hotel"': {"booked": 1, "earned": 80},
        '"anything"': {"held": 1},
    }


def test_what_never_changed_is_the_services_own(tmp_path: Path) -> None:
    """A capacity is no record: a node that is started with another one uses that."""
    path = tmp_path / "sagas.db"
    small, large = Flights(capacity=1), Flights(capacity=2)
    with Process(path, lambda step: small) as runner:
        runner.execute("a", ("book_flight",))
        assert runner.execute("b", ("book_flight",)).state is State.COMPENSATED

    with Process(path, lambda step: large) as runner:
        assert runner.execute("c", ("book_flight",)).state is State.COMPLETED

    assert (large.capacity, large.booked) == (2, 2)


def test_what_services_share_stays_shared(tmp_path: Path) -> None:
    """Two services with one till: after a restart it is still one."""
    path = tmp_path / "sagas.db"

    def open_services() -> dict[str, Service]:
        till: list[str] = []
        return {"a": Till(till), "b": Till(till)}

    with Process(path, open_services().__getitem__) as runner:
        runner.execute("one", ("a", "b"))
    services = open_services()
    with Process(path, services.__getitem__) as runner:
        runner.execute("two", ("a",))

    a, b = services["a"], services["b"]
    assert isinstance(a, Till)
    assert isinstance(b, Till)
    assert a.till is b.till
    assert len(a.till) == 3


def test_what_services_share_stays_shared_with_one_that_is_used_later(tmp_path: Path) -> None:
    """A service that was never called has a separate till until its first call; the recorded till is the shared one."""
    path = tmp_path / "sagas.db"

    def open_services() -> dict[str, Service]:
        till: list[str] = []
        return {"a": Till(till), "b": Till(till)}

    with Process(path, open_services().__getitem__) as runner:
        runner.execute("one", ("b",))
    with Process(path, open_services().__getitem__) as runner:
        runner.execute("two", ("a",))
    services = open_services()
    with Process(path, services.__getitem__) as runner:
        runner.execute("three", ("b", "a"))

    a, b = services["a"], services["b"]
    assert isinstance(a, Till)
    assert isinstance(b, Till)
    assert a.till is b.till
    assert a.till == ["test.1.0", "test.2.0", "test.3.0", "test.3.1"]


class Till:
    """Puts its payments into a till, which it may share with other services."""

    def __init__(self, till: list[str]) -> None:
        self.till = till

    def execute(self, reference: str) -> object:
        self.till.append(reference)
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.till.remove(execution_key(reference))


def test_a_service_that_cannot_be_kept_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    """It holds an open file: the saga is refused with the service's name, and is not in the journal."""
    path = tmp_path / "sagas.db"
    with open(__file__) as file, Process(path, lambda step: Counter(file=file)) as runner:
        with pytest.raises(
            NotSnapshotable,
            match=r"service Counter: field 'file': expected a value that JSON can keep, got a .*TextIOWrapper.*; leave",
        ):
            runner.execute("a", ("step",))

        assert runner.status("a") is None


def test_a_step_whose_receipt_cannot_be_kept_is_in_doubt_and_undone(tmp_path: Path) -> None:
    """A compensation impossible after a restart runs at once, and the step fails with an error that says so."""
    service = Opening()
    with Process(tmp_path / "sagas.db", lambda step: service) as runner:
        outcome = runner.execute("a", ("before", "step"))

    assert outcome.state is State.COMPENSATED
    assert outcome.defect is not None
    assert "the result of step: expected a value that JSON can keep" in outcome.defect
    assert service.count == 0


class Leaving(Counter):
    """Exits the process when its state is read, once it has some."""

    def __getstate__(self) -> dict[str, Any]:
        if self.count:
            raise SystemExit(0)
        return dict(vars(self))


class Unkeepable:
    """A plain object, with methods and an identity that JSON has no form for."""


class Holding(Counter):
    """Acquires a value that cannot be kept."""

    def execute(self, reference: str) -> None:
        self.held = Unkeepable()


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Leaving, "Leaving: .*SystemExit"), (Holding, "Holding: field 'held': .*make Unkeepable a datacl")],
)
def test_what_a_service_raises_when_it_is_kept_is_told(tmp_path: Path, kind: type[Counter], told: str) -> None:
    """The journal names the service; the process does not end without a word."""
    service = kind()

    process = Process(tmp_path / "sagas.db", lambda step: service)

    with process as runner, pytest.raises(JournalError, match=told):
        runner.execute(1, ("a",))


class Opening(Counter):
    """Its receipt is a lock, where the step is called `step`."""

    def execute(self, reference: str) -> object:
        self.count += 1
        return threading.Lock() if read_key(reference).position == 1 else None

    def compensate(self, reference: str, receipt: object) -> None:
        self.count -= 1


def test_a_service_that_comes_to_hold_what_cannot_be_kept_stops_the_node(tmp_path: Path) -> None:
    """Its first state could be recorded. No unwritten effect was promised, and the error names the service."""
    service = Locking()
    with Process(tmp_path / "sagas.db", lambda step: service) as runner:
        with pytest.raises(
            JournalError, match=r"service Locking: field 'lock': expected a value that JSON can keep, got a .* lock"
        ):
            runner.execute("a", ("step",))

        assert kept(tmp_path / "sagas.db") == {}


class Locking(Counter):
    """Makes itself a lock when it is first asked."""

    def execute(self, reference: str) -> object:
        self.lock = threading.Lock()
        return super().execute(reference)


def test_a_field_that_is_now_a_number_and_now_more_is_what_it_was_last(tmp_path: Path) -> None:
    """A service that has once held more than numbers and texts stays in the common row: that one counts."""
    path = tmp_path / "sagas.db"
    service = Flipping()
    with Process(path, lambda step: service) as runner:
        for number in range(5):
            runner.execute(number, ("step",))
    later = Flipping()
    with Process(path, lambda step: later) as runner:
        runner.execute("more", ("step",))

    assert later.count == 6


class Flipping(Counter):
    """Holds a pair every other time."""

    def execute(self, reference: str) -> object:
        super().execute(reference)
        self.last = (reference,) if self.count % 2 else None
        return None


def test_a_service_that_holds_another_holds_the_very_same_afterwards(tmp_path: Path) -> None:
    """Whichever of the two is used first, before and after the restart."""
    path = tmp_path / "sagas.db"
    for number, steps in enumerate([("outer",), ("inner", "outer"), ("outer", "inner"), ("inner",)]):
        inner = Counter()
        outer = Outer(inner)
        with Process(path, {"outer": outer, "inner": inner}.__getitem__) as runner:
            runner.execute(number, steps)
            records = runner._records  # noqa: SLF001  # whichever object is the service of that step now
            of_inner, of_outer = records.service("inner").recorded.inner, records.service("outer").recorded.inner

        assert isinstance(of_outer, Outer)
        assert of_outer.inner is of_inner is inner

    assert inner.count == 6


class Outer(Counter):
    """Has another service count as well."""

    def __init__(self, inner: Counter) -> None:
        super().__init__(inner=inner)

    def execute(self, reference: str) -> object:
        return self.inner.execute(reference)


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), ResourceLocked("a lock")])
def test_whatever_a_service_raises_ends_its_step_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    """The process survives: recovery would repeat the call and die as well. The exception is reported as a defect."""
    service = Raising(error)
    with Process(tmp_path / "sagas.db", lambda step: service) as runner:
        outcome = runner.execute("a", ("step",))

    assert outcome.state is State.COMPENSATED
    assert outcome.defect is not None
    assert type(error).__name__ in outcome.defect


def test_a_refusal_without_words_is_as_definite_as_any_other(tmp_path: Path) -> None:
    """Its class stands for its text."""
    service = Raising(Wordless())
    with Process(tmp_path / "sagas.db", lambda step: service) as runner:
        outcome = runner.execute("a", ("step",))

    assert outcome.state is State.COMPENSATED
    assert (outcome.defect, outcome.reason) == (None, "Wordless: its text cannot be read")


class Raising(Counter):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.kind = error

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count}

    def execute(self, reference: str) -> object:
        raise self.kind


@pytest.mark.parametrize(
    "value",
    [10**5000, {5: 1}, (1, 2), float("nan"), True, 0.0],
    ids=["a very long number", "a dict", "a pair", "no number", "true", "a fraction"],
)
def test_any_value_that_json_can_keep_is_kept(tmp_path: Path, value: Any) -> None:
    """As a field and as a receipt, even where JSON has no form of its own for it."""
    path = tmp_path / "sagas.db"
    service, again = Giving(value), Giving(None)
    with Process(path, lambda step: service) as runner:
        outcome = runner.execute("a", ("step", "step"))
    with Process(path, lambda step: again):
        held = again.held

    assert outcome.state is State.COMPLETED
    assert encode(held, "held") == encode(value, "value")


class Giving(Counter):
    """Holds the value, and hands it back."""

    def __init__(self, value: Any) -> None:
        super().__init__(held=0, value=value)

    def execute(self, reference: str) -> object:
        self.held = self.value
        return self.value


def test_services_of_another_kind_are_refused(tmp_path: Path) -> None:
    """A stand-in would compensate steps that it never executed: the catalogue must be the same."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Counter()) as runner:
        runner.execute("a", ("step",))

    with pytest.raises(JournalError, match=r"of the kind .*\.Counter, as it was kept, got .*\.Simulated: are these"):
        Process(path, lambda step: Simulated())


def test_a_service_whose_state_could_not_be_given_back_is_refused_at_once(tmp_path: Path) -> None:
    """Its `__getstate__` returns a list, and it has no `__setstate__`."""
    told = "service Listing: expected fields from __getstate__, or a __setstate__"
    with Process(tmp_path / "sagas.db", lambda step: Listing()) as runner, pytest.raises(NotSnapshotable, match=told):
        runner.execute("a", ("step",))


class Listing(Counter):
    def __getstate__(self) -> list[int]:
        return [self.count]


def test_a_service_may_say_what_is_to_be_kept(tmp_path: Path) -> None:
    """Python's own protocol: fields that `__getstate__` leaves out are restored by the service itself."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Connected()) as runner:
        runner.execute("a", ("step",))
    service = Connected()
    with Process(path, lambda step: service):
        assert service.count == 1
        assert service.connection == "opened again"


class Connected(Counter):
    """Has a connection, which no journal can keep."""

    def __init__(self) -> None:
        super().__init__(connection=lambda: None)

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count, self.connection = state["count"], "opened again"


def test_services_that_became_one_are_refused(tmp_path: Path) -> None:
    """Two services had records, and it is undecidable which of them the one service takes over."""
    path = tmp_path / "sagas.db"
    with Process(path, {"a": Counter(), "b": Counter()}.__getitem__) as runner:
        runner.execute("saga", ("a", "b"))
    one = Counter()

    with pytest.raises(JournalError, match="expected a service of 'b' and another of 'a'"):
        Process(path, lambda step: one)


def test_a_service_that_is_gone_is_refused(tmp_path: Path) -> None:
    """Its records stay in the journal, and the node says whose they are."""
    path = tmp_path / "sagas.db"
    with Process(path, {"a": Counter()}.__getitem__) as runner:
        runner.execute("saga", ("a",))

    with pytest.raises(JournalError, match="expected a service of 'a' that takes back what it held, got KeyError"):
        Process(path, {}.__getitem__)


def test_a_list_that_was_emptied_is_empty_after_a_restart(tmp_path: Path) -> None:
    """Records are the service's state, also where it has less than a new one."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Cars(2)) as runner:
        runner.execute("a", ("book_car", "book_car"))
    cars = Cars(2)
    with Process(path, lambda step: cars) as runner:
        assert runner.execute("b", ("book_car",)).state is State.COMPENSATED

    assert cars.lot == []


class Slotted:
    """Keeps its records in slots, a dataclass among them."""

    __slots__ = ("free", "ledger")

    def __init__(self, ledger: Ledger) -> None:
        self.free, self.ledger = 3, ledger

    def execute(self, reference: str) -> Money:
        self.free -= 1
        self.ledger.entries.append(Money(Decimal(self.free)))
        return self.ledger.entries[-1]

    def compensate(self, reference: str, receipt: object) -> None:
        assert receipt == self.ledger.entries.pop()
        self.free += 1


def test_slots_and_a_shared_dataclass_are_restored(tmp_path: Path) -> None:
    """Two services with one ledger: it is one after a restart, with its fields; a receipt is of its class again."""
    path = tmp_path / "sagas.db"

    def open_services() -> dict[str, Service]:
        ledger = Ledger("me")
        return {"a": Slotted(ledger), "b": Slotted(ledger)}

    with Process(path, open_services().__getitem__) as runner:
        runner.execute("one", ("a", "b"))
    services: dict[str, Any] = open_services()
    with Process(path, services.__getitem__) as runner:
        outcome = runner.execute("two", ("b", "a"), "a")

    assert outcome.compensated_steps == ("b",)
    assert services["a"].ledger is services["b"].ledger
    assert services["a"].ledger.entries == [Money(Decimal(2)), Money(Decimal(2))]
    assert (services["a"].free, services["b"].free) == (2, 2)


def test_a_service_that_only_another_one_holds_stays_where_it_is(tmp_path: Path) -> None:
    """It has records of its own, and is no service of a step: the object that the catalogue has made takes them."""
    path = tmp_path / "sagas.db"
    for number in range(3):
        inner = Counter()
        services = {"outer": Outer(inner), "other": Outer(inner)}
        with Process(path, services.__getitem__) as runner:
            runner.execute(number, ("outer", "other"))

        assert services["outer"].inner is services["other"].inner is inner
        assert inner.count == 2 * (number + 1)
    assert kept(path)['["outer", "inner"]'] == {"count": 6}


def test_a_service_that_no_field_holds_any_more_is_refused(tmp_path: Path) -> None:
    """Its records are there, and have no owner."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Outer(Counter())) as runner:
        runner.execute("a", ("outer",))

    with pytest.raises(JournalError, match=r"expected a service of 'outer', in its field inner.*, got none"):
        Process(path, lambda step: Outer(None))  # type: ignore[arg-type]  # it is the bug


def test_a_class_that_has_changed_is_named(tmp_path: Path) -> None:
    """With its field; the journal stays as it is."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Counter(ledger=Ledger("me"))) as runner:
        runner.execute("a", ("step",))
    change(str(path), "UPDATE services SET records = replace(records, 'owner', 'holder')")

    with pytest.raises(JournalError, match=r"records of \* cannot be read \(expected .*field 'holder'"):
        Process(path, lambda step: Counter(ledger=Ledger("me")))


def test_a_receipt_of_a_class_that_has_changed_is_named(tmp_path: Path) -> None:
    """With its run and its delivery; the run waits until its class is there again."""
    path = tmp_path / "sagas.db"
    service = Giving(Money(Decimal(1)))
    with Process(path, lambda step: service) as runner:
        runner.begin(Request("a", ("step", "step")))
        runner.commit()
        runner.run_until_idle()
    change(
        str(path),
        "UPDATE runs SET state = 'running', outcome = NULL",
        "DELETE FROM deliveries WHERE number > 1",
        "UPDATE deliveries SET receipt = replace(receipt, 'Money', 'Cash')",
    )

    with Process(path, lambda step: Giving(None)) as runner:
        (((_, _, under_way),),) = runner.recover()

    assert under_way.defect is not None
    told = "run-1, delivery 1: receipt: expected the class 'tests.codec_values:Cash'"
    assert told in under_way.defect.summary


@pytest.mark.parametrize(
    "records",
    [
        "{}",
        "5",
        "[5]",
        '[{"service": 5, "kind": "", "state": {}}]',
        '[{"service": [], "kind": "", "state": {}}]',
        '[{"service": "step", "kind": ""}]',
        '[{"service": "step", "kind": "tests.test_service_records.Counter", "state": 5}]',
        '[{"service": "step", "kind": "", "state": {"a": {"$service": "gone"}}}]',
        '[{"service": "step", "kind": "", "state": {"a": {"$ref": 1}}}]',
        b"\x80\x04K\x01.",
    ],
)
def test_a_common_row_that_no_node_writes_is_told(tmp_path: Path, records: object) -> None:
    """Whatever its shape is."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Counter(ledger=Ledger("me"))) as runner:
        runner.execute("a", ("step",))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE services SET records = ?", (records,))

    with pytest.raises(JournalError, match="expected "):
        Process(path, {"step": Counter()}.__getitem__)


class Payments:
    """Two steps of one object, with a ledger of its own."""

    def __init__(self) -> None:
        self.ledger, self.noted = Ledger("me"), 0

    @step
    def charge(self, call: Call) -> Money:
        money = Money(Decimal(60))
        self.ledger.entries.append(money)
        return money

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.ledger.entries.remove(call.result)

    @step
    def note(self, call: Call) -> None:
        assert call.results["charge"] == Money(Decimal(60))
        self.noted += 1

    @note.compensation
    def forget(self, call: Call) -> None:
        self.noted -= 1


def test_an_object_with_several_steps_has_one_state(tmp_path: Path) -> None:
    """It is restored once, whichever of its steps is called; results are of their class again."""
    path = tmp_path / "sagas.db"
    for number, payments in enumerate([Payments(), Payments(), Payments()]):
        with Process(path, catalogue_of([payments, Failing()])) as runner:
            runner.execute(number, ("charge", "note"))
            runner.execute(f"{number} fails", ("charge", "note", "fail"))

        assert payments.ledger.entries == [Money(Decimal(60))] * (number + 1)
        assert payments.noted == number + 1
    assert [each["kind"] for each in kept(path)["*"]] == [f"{__name__}.Payments"]


class Failing:
    steps = ("fail",)

    def execute(self, call: Call) -> None:
        raise Refused("it is planted")

    def compensate(self, call: Call) -> None: ...


class Shop:
    """Has its payments in a field, and calls them itself."""

    def __init__(self, payments: Payments) -> None:
        self.payments = payments

    @step
    def sell(self, call: Call) -> Money:
        return self.payments.charge(call)  # type: ignore[no-any-return]  # a method of the object

    @sell.compensation
    def take_back(self, call: Call) -> None:
        self.payments.refund(call)


def test_an_object_with_steps_in_a_field_stays_where_it_is(tmp_path: Path) -> None:
    """It has records of its own, although no step of it is called by the saga."""
    path = tmp_path / "sagas.db"
    for number in range(2):
        payments = Payments()
        shop = Shop(payments)
        with Process(path, catalogue_of(shop)) as runner:
            runner.execute(number, ("sell",))

        assert shop.payments is payments
        assert len(payments.ledger.entries) == number + 1

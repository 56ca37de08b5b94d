"""What the services hold is given back after a restart, and the services do not know."""

import json
from pathlib import Path
from typing import Any

import pytest

from choreo.domain.copying import NoCopy
from choreo.domain.outcome import State
from choreo.domain.service import Service, ServiceOf
from choreo.journal.errors import JournalError
from choreo.journal.journal import Journal
from choreo.runners.durable import DurableRunner
from services import catalogue
from services.cars import Cars
from services.flights import Flights


class Process:
    """A node as far as its services are concerned: opened on a journal, used, and gone."""

    def __init__(self, path: Path, service_of: ServiceOf) -> None:
        self.journal = Journal.open(str(path))
        self.runner = DurableRunner(service_of, self.journal, lambda: 0)

    def __enter__(self) -> DurableRunner:
        return self.runner

    def __exit__(self, *error: object) -> None:
        self.journal.close()


def kept(path: Path) -> dict[str, Any]:
    """The rows of the services: legible ones as values, the others as bytes."""
    journal = Journal.open_to_read(str(path))
    rows = {name: json.loads(held) if isinstance(held, str) else held for name, _, held in journal.records()}
    journal.close()
    return rows


class Counter:
    """Holds one number; or whatever else it is given."""

    def __init__(self, **fields: Any) -> None:
        self.count = 0
        vars(self).update(fields)

    def execute(self, reference: str) -> object:
        self.count += 1
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.count -= 1


def test_every_service_of_the_catalogue_goes_on_where_it_was(tmp_path: Path) -> None:
    """Numbers, lists and receipts: after a restart the compensation gives back what was taken before it."""
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
    """A service that holds nothing else has a row that can be read with any SQLite tool: the fields that changed."""
    path = tmp_path / "sagas.db"
    with Process(path, catalogue()) as runner:
        runner.execute("a", ("book_flight", "book_hotel", "anything"))

    assert kept(path) == {
        '"book_flight"': {"booked": 1},
        '"book_hotel"': {"booked": 1, "earned": 80},
        '"anything"': {"held": 1},
    }


def test_what_never_changed_is_the_services_own(tmp_path: Path) -> None:
    """A capacity is no record: whoever starts the node with another one has that."""
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
    """The other has a till of its own as long as it was never asked; the till that was kept is everybody's."""
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
    assert a.till == ["run-1/0", "run-2/0", "run-3/0", "run-3/1"]


class Till:
    """Puts what it is asked for into a till, which it may have in common with others."""

    def __init__(self, till: list[str]) -> None:
        self.till = till

    def execute(self, reference: str) -> object:
        self.till.append(reference)
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        self.till.remove(reference)


def test_a_service_that_cannot_be_kept_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    """It holds an open file: the saga is refused with the service's name, and is not in the journal."""
    path = tmp_path / "sagas.db"
    with open(__file__) as file, Process(path, lambda step: Counter(file=file)) as runner:
        with pytest.raises(NoCopy, match="service Counter: expected what can be copied, got TypeError"):
            runner.execute("a", ("step",))

        assert runner.status("a") is None


def test_a_receipt_that_cannot_be_kept_is_given_back(tmp_path: Path) -> None:
    """What could not be undone after a restart is undone at once, and the step fails with a defect that says so."""
    service = Opening()
    with Process(tmp_path / "sagas.db", lambda step: service) as runner:
        outcome = runner.execute("a", ("before", "step"))

    assert outcome.state is State.COMPENSATED
    assert outcome.defect is not None
    assert "a receipt of service Opening: expected what can be copied" in outcome.defect
    assert service.count == 0


class Opening(Counter):
    """Its receipt is an open file, where the step is called `step`."""

    def execute(self, reference: str) -> object:
        self.count += 1
        return open(__file__) if reference.endswith("/1") else None

    def compensate(self, reference: str, receipt: Any) -> None:
        self.count -= 1
        if receipt is not None:
            receipt.close()


def test_a_service_may_say_what_is_to_be_kept(tmp_path: Path) -> None:
    """Python's own protocol: what `__getstate__` leaves out is the service's business after a restart."""
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
    """Two of them had records; which of the two the one is to take back, nobody can know."""
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
    """Records are what the service holds, also where it holds less than a fresh one."""
    path = tmp_path / "sagas.db"
    with Process(path, lambda step: Cars(2)) as runner:
        runner.execute("a", ("book_car", "book_car"))
    cars = Cars(2)
    with Process(path, lambda step: cars) as runner:
        assert runner.execute("b", ("book_car",)).state is State.COMPENSATED

    assert cars.lot == []

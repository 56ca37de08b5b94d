"""The services: what each does, what undoes it, and how a new one is found."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import services
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary
from choreo.saga.service import Refused, Service
from services.cars import Cars
from services.flights import Flights
from services.hotels import EARLY_RATE, EARLY_ROOMS, FULL_RATE, Hotels
from services.notifications import Notifications
from services.orders import Orders
from services.payments import Payments
from services.shipping import CARRIERS, Shipping
from services.simulated import Simulated
from services.stock import Stock

KINDS = [Flights, Hotels, Cars, Payments, Orders, Stock, Shipping, Notifications, Simulated]
THAT_UNDO = [kind for kind in KINDS if kind is not Notifications]

EXHAUSTED: list[tuple[Callable[[], Service], str]] = [
    (lambda: Flights(capacity=0), "the flight is sold out"),
    (lambda: Hotels(capacity=0), "no room is free"),
    (lambda: Cars(capacity=0), "every car is on the road"),
    (lambda: Payments(limit=150, price=200), "declined: 200 asked, 150 left"),
    (lambda: Orders(is_open=False), "the shop is closed"),
    (lambda: Stock(capacity=2, lot=3), "out of stock: 3 wanted, 2 on hand"),
    (lambda: Shipping(capacity=0), "no carrier takes another parcel"),
    (lambda: Notifications(capacity=0), "the quota of messages is used up"),
]

MANY = 10_000
RECORDS_LENGTH_MAX = 200

both_styles = pytest.mark.parametrize("style", ["choreography", "orchestration"])


def records(service: Service) -> dict[str, Any]:
    return deepcopy(vars(service))


# What holds for every service.


@pytest.mark.parametrize("kind", THAT_UNDO)
def test_a_compensation_restores_the_records(kind: Callable[[], Service]) -> None:
    """`compensate` reverses every change of `execute`, also when other calls came in between."""
    service = kind()

    for number in range(20):
        service.execute(f"kept/{number}")
        earlier = records(service)

        receipt = service.execute(f"undone/{number}")
        changed = records(service)
        service.compensate(f"undone/{number}", receipt)

        assert changed != earlier
        assert records(service) == earlier


@pytest.mark.parametrize("kind", THAT_UNDO)
def test_the_order_of_compensations_leaves_no_mark(kind: Callable[[], Service]) -> None:
    """Parallel steps may be compensated in any order; the records come out the same."""
    for order in permutations(range(5)):
        service = kind()
        earlier = records(service)
        receipts = [service.execute(f"run/{number}") for number in range(5)]

        for number in order:
            service.compensate(f"run/{number}", receipts[number])

        assert records(service) == earlier


@pytest.mark.parametrize(("exhausted", "reason"), EXHAUSTED)
def test_a_refusal_gives_its_reason_and_changes_nothing(exhausted: Callable[[], Service], reason: str) -> None:
    """Every service has a business no of its own, and leaves its records alone when it says it."""
    service = exhausted()
    earlier = records(service)

    with pytest.raises(Refused) as refusal:
        service.execute("run/0")

    assert str(refusal.value) == reason
    assert records(service) == earlier


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_with_defaults_never_refuses(kind: Callable[[], Service]) -> None:
    """Capacity is for those who ask for it: a node that runs for ever must not run out of seats."""
    service = kind()

    for number in range(MANY):
        service.execute(f"run/{number}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_records_stay_small_however_many_runs_are_served(kind: Callable[[], Service]) -> None:
    """A service keeps counters and small pools, and no data of single runs."""
    service = kind()

    receipts = [service.execute(f"run/{number}") for number in range(MANY)]
    for number in range(0, MANY, 2):
        service.compensate(f"run/{number}", receipts[number])
        service.execute(f"again/{number}")

    assert len(repr(records(service))) < RECORDS_LENGTH_MAX


# Flights.


def test_a_sold_out_flight_refuses_and_changes_nothing() -> None:
    """The seat after the last one is refused, and the seats that were sold stay sold."""
    flights = Flights(capacity=2)
    flights.execute("a")
    flights.execute("b")

    with pytest.raises(Refused, match="sold out"):
        flights.execute("c")

    assert flights.booked == 2


def test_a_seat_that_was_given_up_is_for_sale_again() -> None:
    """A compensation makes room for the next."""
    flights = Flights(capacity=1)
    flights.execute("a")
    flights.compensate("a", None)

    flights.execute("b")

    assert flights.booked == 1


# Hotels.


def test_a_full_hotel_refuses() -> None:
    """The guest after the last room is refused."""
    hotels = Hotels(capacity=1)
    hotels.execute("a")

    with pytest.raises(Refused, match="no room is free"):
        hotels.execute("b")

    assert (hotels.booked, hotels.earned) == (1, EARLY_RATE)


def test_a_cancelled_room_is_refunded_at_the_rate_that_was_paid() -> None:
    """An early guest who cancels late gets the early rate back, not the current price of a room."""
    hotels = Hotels()
    early = hotels.execute("early")
    for number in range(EARLY_ROOMS - 1):
        hotels.execute(f"other/{number}")
    late = hotels.execute("late")

    hotels.compensate("early", early)

    assert (early, late) == (EARLY_RATE, FULL_RATE)
    assert hotels.earned == (EARLY_ROOMS - 1) * EARLY_RATE + FULL_RATE


# Cars.


def test_no_two_runs_drive_the_same_car() -> None:
    """Each plate is handed out once."""
    cars = Cars(capacity=5)

    plates = [cars.execute(f"run/{number}") for number in range(5)]

    assert len(set(plates)) == 5
    assert cars.lot == []


def test_the_very_car_that_was_booked_comes_back() -> None:
    """The receipt says which car returns to the lot."""
    cars = Cars(capacity=2)
    first, second = cars.execute("a"), cars.execute("b")

    cars.compensate("a", first)

    assert cars.lot == [first]
    assert first != second


def test_with_the_fleet_on_the_road_a_partner_helps_out() -> None:
    """A partner's car has no plate here, and goes back to the partner, not to the lot."""
    cars = Cars()
    while cars.lot:
        cars.execute("own")

    receipt = cars.execute("run")
    from_partner = cars.from_partner
    cars.compensate("run", receipt)

    assert receipt is None
    assert from_partner == 1
    assert cars.from_partner == 0
    assert cars.lot == []


# Payments.


def test_a_charge_beyond_the_limit_is_declined_and_changes_nothing() -> None:
    """The charges together stay within the limit; reaching it is allowed."""
    payments = Payments(limit=250, price=125)
    payments.execute("a")
    payments.execute("b")

    with pytest.raises(Refused, match="declined: 125 asked, 0 left"):
        payments.execute("c")

    assert payments.charged == 250


def test_a_refund_is_what_was_charged_whatever_the_price_is_now() -> None:
    """The receipt carries the amount, so a new price cannot falsify an old charge."""
    payments = Payments(price=100)
    receipt = payments.execute("a")
    payments.price = 300

    payments.compensate("a", receipt)

    assert payments.charged == 0


# Orders.


def test_the_reference_is_the_order_number() -> None:
    """A reference is unique already, so the order book needs no numbers of its own."""
    orders = Orders()

    number = orders.execute("origin.7.0")

    assert number == "origin.7.0"
    assert orders.placed == 1


def test_an_order_can_be_cancelled_while_the_shop_is_closed() -> None:
    """A compensation must not be refused for reasons that refuse an execution."""
    orders = Orders()
    number = orders.execute("origin.7.0")
    orders.is_open = False

    orders.compensate("origin.7.0.undo", number)

    assert orders.placed == 0


# Stock.


def test_a_reservation_loses_nothing() -> None:
    """Goods move from on hand to reserved, and the sum of both stays."""
    stock = Stock(capacity=10, lot=4)

    stock.execute("a")

    assert (stock.on_hand, stock.reserved) == (6, 4)


def test_a_lot_that_is_not_wholly_on_hand_is_refused() -> None:
    """A reservation takes a whole lot or none of it."""
    stock = Stock(capacity=10, lot=4)
    stock.execute("a")
    stock.execute("b")

    with pytest.raises(Refused, match="out of stock: 4 wanted, 2 on hand"):
        stock.execute("c")

    assert (stock.on_hand, stock.reserved) == (2, 8)


def test_what_is_on_back_order_counts_below_zero() -> None:
    """Without a capacity the warehouse sells items that it has yet to receive."""
    stock = Stock()

    stock.execute("a")

    assert (stock.on_hand, stock.reserved) == (-1, 1)


# Shipping.


def test_parcels_are_spread_over_the_carriers() -> None:
    """Each parcel goes to the carrier with the fewest."""
    shipping = Shipping(capacity=2)

    carriers = [shipping.execute(f"run/{number}") for number in range(2 * CARRIERS)]

    assert sorted(carriers) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(Refused, match="no carrier takes another parcel"):
        shipping.execute("one too many")


def test_a_parcel_is_recalled_from_the_carrier_that_has_it() -> None:
    """The receipt names the carrier."""
    shipping = Shipping()
    first = shipping.execute("a")
    second = shipping.execute("b")

    shipping.compensate("a", first)

    assert shipping.parcels[first] == 0
    assert shipping.parcels[second] == 1


# Notifications.


def test_a_notification_is_corrected_not_unsent() -> None:
    """The compensation sends a second message; the first one stays sent."""
    notifications = Notifications()
    notifications.execute("a")

    notifications.compensate("a", None)

    assert (notifications.sent, notifications.corrected) == (1, 1)


def test_a_correction_goes_out_though_the_quota_is_used_up() -> None:
    """A quota may stop a notification, but never its compensation."""
    notifications = Notifications(capacity=1)
    notifications.execute("a")

    notifications.compensate("a", None)

    assert notifications.corrected == 1


# The catalogue.


def test_every_service_is_found_by_the_names_of_its_steps() -> None:
    """The catalogue serves each step that a service claims with that service."""
    service_of = services.catalogue()

    for kind in KINDS:
        for step in getattr(kind, "steps", ()):
            assert type(service_of(step)) is kind


def test_the_names_of_one_service_share_its_records() -> None:
    """A service is opened once, however many step names it serves."""
    service_of = services.catalogue()

    assert service_of("charge") is service_of("pay")


def test_a_step_without_a_service_of_its_own_is_simulated() -> None:
    """Any string is a step name, and all unclaimed ones share the one generic service."""
    service_of = services.catalogue()

    strangers = [service_of(step) for step in ("pack a picnic", "", "saga", "steps", "book_flight ", "航班")]

    assert {type(service) for service in strangers} == {Simulated}
    assert len({id(service) for service in strangers}) == 1


def test_every_catalogue_opens_fresh_services() -> None:
    """Two catalogues share no records."""
    one, other = services.catalogue(), services.catalogue()

    one("book_flight").execute("a")

    assert vars(one("book_flight")) != vars(other("book_flight"))
    assert one("anything") is not other("anything")


def test_the_catalogue_imports_nothing_slow() -> None:
    """The node opens the catalogue before it reads its first line, so modules that import slowly stay out."""
    slow = {"asyncio", "importlib.resources", "pathlib", "pkgutil", "rich", "structlog", "typer"}
    program = "import sys, services; services.catalogue(); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "services.flights" in loaded
    assert slow.isdisjoint(loaded)


# A new service is one file.

INSURANCE = """
from choreo.saga.plan import Itinerary
from choreo.saga.service import Refused

class Insurance:
    steps = ("insure",)

    def __init__(self):
        self.policies = 0

    def execute(self, reference):
        if self.policies >= 1:
            raise Refused("no more policies")
        self.policies += 1
        return f"policy {self.policies}"

    def compensate(self, reference, receipt):
        assert receipt == "policy 1"
        self.policies -= 1
"""


class Package:
    """A copy of the services under another name, to put new files into."""

    NAME = "copied_services"

    def __init__(self, folder: Path) -> None:
        self.path = folder / self.NAME
        shutil.copytree(Path(services.__file__).parent, self.path, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, file: str, source: str) -> "Package":
        (self.path / file).write_text(source, encoding="utf-8")
        return self

    def catalogue(self) -> Callable[[str], Any]:
        copied: Any = importlib.import_module(self.NAME)
        service_of: Callable[[str], Any] = copied.catalogue()
        return service_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Package(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == Package.NAME]:
        del sys.modules[name]


@both_styles
def test_a_new_service_is_one_file(package: Package, style: str) -> None:
    """Putting the file there is all: the next catalogue has it, beside all others, and both styles run it."""
    service_of = package.add("insurance.py", INSURANCE).catalogue()
    runner = InProcessRunner(service_of)

    undone = runner.execute("a", ("insure", "book_flight"), fail_step="book_flight", style=style)
    policies_after_the_undone = service_of("insure").policies
    completed = runner.execute("b", ("book_flight", "insure"), style=style)
    refused = runner.execute("c", ("book_flight", "insure"), style=style)

    assert undone == Outcome(State.COMPENSATED, 0, ("insure",), None, "book_flight was told to refuse")
    assert policies_after_the_undone == 0
    assert completed == Outcome(State.COMPLETED, 2)
    assert refused == Outcome(State.COMPENSATED, 0, ("book_flight",), None, "no more policies")
    assert service_of("insure").policies == 1
    assert service_of("book_flight").booked == 1


def test_two_services_that_claim_one_step_are_an_error(package: Package) -> None:
    """The error names the step and both services."""
    package.add("vans.py", INSURANCE.replace("Insurance", "Vans").replace('"insure",', "'book_van', 'book_car'"))

    with pytest.raises(ValueError, match=r"'book_car': expected one service, got \S+\.cars\.Cars and \S+\.vans\.Vans"):
        package.catalogue()


def test_steps_that_are_one_string_are_an_error(package: Package) -> None:
    """A forgotten comma would make a step of every letter."""
    package.add("vans.py", "class Vans:\n    steps = ('book_van')\n")

    with pytest.raises(TypeError, match=r"vans\.Vans\.steps: expected a tuple of step names, got 'book_van'"):
        package.catalogue()


def test_a_service_without_a_compensation_is_an_error(package: Package) -> None:
    """It is told at the start, not by the first saga that goes backward."""
    package.add("vans.py", "class Vans:\n    steps = ('book_van',)\n\n    def execute(self, reference): ...\n")

    with pytest.raises(TypeError, match=r"vans\.Vans: expected a method compensate, got none"):
        package.catalogue()


def test_what_a_service_imports_or_an_editor_leaves_is_no_service(package: Package) -> None:
    """Only a class of the module itself is opened, and only a file that can be a module is imported."""
    package.add("charter.py", "from services.flights import Flights\n\nclass Helper:\n    pass\n")
    package.add(".#flights.py", "left by an editor").add("flights.py.orig", "left by a merge")

    service_of = package.catalogue()

    assert type(service_of("book_flight")).__module__ == f"{Package.NAME}.flights"


# Stories.


class Trip:
    """A trip with real services, and a given number of cars."""

    def __init__(self, cars: int) -> None:
        self.flights, self.hotels, self.cars = Flights(), Hotels(), Cars(capacity=cars)
        by_step: dict[str, Service] = {"book_flight": self.flights, "book_hotel": self.hotels, "book_car": self.cars}
        self.runner = InProcessRunner(by_step.__getitem__)

    def book(self, style: str, steps: Itinerary = ("book_flight", "book_hotel", "book_car")) -> Outcome:
        return self.runner.execute("trip", steps, style=style)

    def records(self) -> list[dict[str, Any]]:
        return [records(service) for service in (self.flights, self.hotels, self.cars)]


@both_styles
def test_a_trip_without_a_car_is_undone(style: str) -> None:
    """Sold-out cars compensate the hotel, then the flight, and the trip before this one stays booked."""
    trip = Trip(cars=1)
    first = trip.book(style)
    earlier = trip.records()

    second = trip.book(style)

    assert first == Outcome(State.COMPLETED, 3)
    assert second == Outcome(State.COMPENSATED, 0, ("book_hotel", "book_flight"), None, "every car is on the road")
    assert trip.records() == earlier
    assert (trip.flights.booked, trip.hotels.booked, trip.cars.lot) == (1, 1, [])


@both_styles
def test_a_trip_that_books_in_parallel_is_undone(style: str) -> None:
    """A flight and a hotel booked in parallel are both compensated, and no customer is left with half a trip."""
    trip = Trip(cars=0)
    earlier = trip.records()

    outcome = trip.book(style, (("book_flight", "book_hotel"), "book_car"))

    assert outcome.state is State.COMPENSATED
    assert sorted(outcome.compensated_steps) == ["book_flight", "book_hotel"]
    assert trip.records() == earlier


@both_styles
def test_a_customer_hears_of_the_correction(style: str) -> None:
    """An order that cannot be shipped gives back money and goods; the notification alone leaves a trace."""
    orders, stock, payments, notifications = Orders(), Stock(capacity=1), Payments(), Notifications()
    by_step: dict[str, Service] = {
        "place_order": orders,
        "reserve": stock,
        "charge": payments,
        "notify": notifications,
        "ship": Shipping(capacity=0),
    }

    outcome = InProcessRunner(by_step.__getitem__).execute("order", tuple(by_step), style=style)

    assert outcome.compensated_steps == ("notify", "charge", "reserve", "place_order")
    assert outcome.reason == "no carrier takes another parcel"
    assert (orders.placed, stock.on_hand, payments.charged) == (0, 1, 0)
    assert (notifications.sent, notifications.corrected) == (1, 1)

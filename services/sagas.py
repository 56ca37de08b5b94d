"""Two sagas, written in Python: the order of a shop, and a trip. A TOML file could define the same.

Laws: values of the domain only. Every command that takes a definition takes these by name: `services.sagas:order`.
"""

from choreo import Saga, Step, pivot, retriable
from choreo.saga.definition import Resource

order = Saga(
    "order",
    Step("place_order", service="orders"),
    Step("charge", service="payments", effect={"credit": -60}),
    Step("reserve", service="stock", effect={"stock": -1}),
    pivot(Step("ship", service="shipping", fails="may")),
    retriable(Step("notify", service="notifications", fails=1)),
    resources={"credit": Resource(100, minimum=0), "stock": Resource(1, minimum=0)},
)
"""Ship is the pivot: every step before it can be compensated, and notify is retried after it until it succeeds."""

trip = Saga(
    "trip",
    Step("book_flight", service="flights"),
    Step("book_hotel", service="hotels"),
    Step("book_car", service="cars", fails="may"),
)
"""The availability of a car is not known beforehand: book_car is the one step of the trip that may be refused."""

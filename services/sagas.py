"""Two sagas, written in Python: the order of a shop, and a trip. The same could be said in a TOML file.

Laws: values of the domain, nothing else. Whoever takes a definition takes these by name: `services.sagas:order`.
"""

from choreo.saga.definition import Definition, Kind, Resource, SagaName, Step

order = Definition(
    saga=SagaName("order"),
    steps=(
        Step("place_order", service="orders"),
        Step("charge", service="payments", effect={"credit": -60}),
        Step("reserve", service="stock", effect={"stock": -1}),
        Step("ship", service="shipping", kind=Kind.PIVOT, fails="may"),
        Step("notify", service="notifications", kind=Kind.RETRIABLE, fails=1),
    ),
    resources={"credit": Resource(100, minimum=0), "stock": Resource(1, minimum=0)},
)
"""Ship is the point of no return: before it everything can be undone, after it notify is tried until it succeeds."""

trip = Definition(
    saga=SagaName("trip"),
    steps=(
        Step("book_flight", service="flights"),
        Step("book_hotel", service="hotels"),
        Step("book_car", service="cars", fails="may"),
    ),
)
"""Whether there is a car is nobody's to say beforehand: the one step of the trip that may be refused."""

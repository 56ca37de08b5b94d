"""Seats on flights: the shortest service, and a template for others.

Seats are assigned at check-in. Until then they are interchangeable, so there is no receipt.
"""

from choreo import Refused


class Flights:
    steps = ("book_flight",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in seats; None: unlimited."""
        self.capacity = capacity
        self.booked = 0

    def execute(self, reference: str) -> None:
        if self.capacity is not None and self.booked >= self.capacity:
            raise Refused("the flight is sold out")
        self.booked += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.booked -= 1

"""Seats on flights: the shortest service there is, and the one to copy.

Seats are given out at check-in. Until then one is as good as another, so there is no receipt to keep.
"""

from choreo import Refused


class Flights:
    steps = ("book_flight",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in seats; None: as many as are asked for."""
        self.capacity = capacity
        self.booked = 0

    def execute(self, reference: str) -> None:
        if self.capacity is not None and self.booked >= self.capacity:
            raise Refused("the flight is sold out")
        self.booked += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.booked -= 1

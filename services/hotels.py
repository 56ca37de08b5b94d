"""Rooms in a hotel, at a rate that goes up when the cheap ones are gone.

The receipt is the rate. A cancellation gives back what this guest paid, which is not what a room costs by then.
"""

from typing import Any

from choreo import Refused

EARLY_ROOMS = 10
EARLY_RATE, FULL_RATE = 80, 120  # whole units of money, for a room


class Hotels:
    steps = ("book_hotel",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in rooms; None: as many as are asked for."""
        self.capacity = capacity
        self.booked = 0
        self.earned = 0

    def execute(self, reference: str) -> int:
        if self.capacity is not None and self.booked >= self.capacity:
            raise Refused("no room is free")
        rate = EARLY_RATE if self.booked < EARLY_ROOMS else FULL_RATE
        self.booked += 1
        self.earned += rate
        return rate

    def compensate(self, reference: str, receipt: Any) -> None:
        self.booked -= 1
        self.earned -= receipt

"""Rooms in a hotel, at a rate that rises when the cheap rooms are gone.

The receipt is the rate. A cancellation refunds the rate that this guest paid, which may differ from the current one.
"""

from typing import Any

from choreo import Refused

EARLY_ROOMS = 10
EARLY_RATE, FULL_RATE = 80, 120  # whole units of money, for a room


class Hotels:
    steps = ("book_hotel",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in rooms; None: unlimited."""
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

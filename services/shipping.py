"""Parcels, handed to the carrier that has the fewest.

The receipt is the carrier, because no other can recall the parcel.
"""

from typing import Any

from choreo import Refused

CARRIERS = 3


class Shipping:
    steps = ("ship",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in parcels for each of the three carriers; None: unlimited."""
        self.capacity = capacity
        self.parcels = [0] * CARRIERS

    def execute(self, reference: str) -> int:
        ddmin = min(self.parcels)
        if self.capacity is not None and ddmin >= self.capacity:
            raise Refused("no carrier takes another parcel")
        carrier = self.parcels.index(ddmin)
        self.parcels[carrier] += 1
        return carrier

    def compensate(self, reference: str, receipt: Any) -> None:
        self.parcels[receipt] -= 1

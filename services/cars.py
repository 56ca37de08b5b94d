"""Rental cars: a fleet with number plates, and a partner for further cars.

The receipt is the plate, because the compensation returns this same car to the lot. A partner's car has no plate here:
it is only counted.
"""

from bisect import insort

from choreo import Refused

OWN_FLEET = 3


class Cars:
    steps = ("book_car",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in cars; None: a fleet of three, and an unlimited number from a partner."""
        fleet = OWN_FLEET if capacity is None else capacity
        width = max(3, len(str(fleet)))  # so that plates sort as numbers do
        self.lot = [f"CAR {number:0{width}}" for number in range(1, fleet + 1)]
        self.has_partner = capacity is None
        self.from_partner = 0

    def execute(self, reference: str) -> str | None:
        if self.lot:
            return self.lot.pop()
        if not self.has_partner:
            raise Refused("every car is on the road")
        self.from_partner += 1
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        if isinstance(receipt, str):
            insort(self.lot, receipt)  # sorted, so that the lot is the same for every order of returns
        else:
            self.from_partner -= 1

"""Charges on one account.

The receipt is the amount. A refund returns the charged amount, even if the price has changed since.
"""

from typing import Any

from choreo import Refused


class Payments:
    steps = ("charge", "charge_card", "pay")

    def __init__(self, limit: int | None = None, price: int = 100) -> None:
        """`limit` of all charges together, and `price` of one, in whole units of money; None: no limit."""
        self.limit = limit
        self.price = price
        self.charged = 0

    def execute(self, reference: str) -> int:
        charged = self.charged + self.price
        if self.limit is not None and charged > self.limit:
            raise Refused(f"declined: {self.price} asked, {self.limit - self.charged} left")
        self.charged = charged
        return self.price

    def compensate(self, reference: str, receipt: Any) -> None:
        self.charged -= receipt

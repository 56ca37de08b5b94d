"""Goods in a warehouse.

A reservation moves a lot from `on_hand` to `reserved`; the sum of both never changes. It takes a whole lot or refuses.
"""

from typing import Any

from choreo import Refused


class Stock:
    steps = ("reserve", "reserve_stock")

    def __init__(self, capacity: int | None = None, lot: int = 1) -> None:
        """`capacity` and `lot` in pieces; None: missing pieces are on back order, and `on_hand` goes below zero."""
        self.on_hand = capacity or 0
        self.takes_back_orders = capacity is None
        self.reserved = 0
        self.lot = lot

    def execute(self, reference: str) -> int:
        if self.on_hand < self.lot and not self.takes_back_orders:
            raise Refused(f"out of stock: {self.lot} wanted, {self.on_hand} on hand")
        return self._reserve(self.lot)

    def compensate(self, reference: str, receipt: Any) -> None:
        self._reserve(-receipt)

    def _reserve(self, pieces: int) -> int:
        self.on_hand -= pieces
        self.reserved += pieces
        return pieces

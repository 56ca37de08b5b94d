"""The order book of a shop.

The receipt is the number of the order. The shop refuses new orders while it is closed, not for lack of capacity; open
orders may still be cancelled then.
"""

from choreo import Refused


class Orders:
    steps = ("place_order",)

    def __init__(self, is_open: bool = True) -> None:
        self.is_open = is_open
        self.placed = 0

    def execute(self, reference: str) -> str:
        if not self.is_open:
            raise Refused("the shop is closed")
        self.placed += 1
        return reference

    def compensate(self, reference: str, receipt: object) -> None:
        self.placed -= 1

"""Messages to customers.

What was sent cannot be unsent. The compensation sends a correction, and the record keeps both: a compensation undoes
the meaning of a local transaction, not the fact of it. The quota does not bind corrections, for they must go out.
"""

from choreo import Refused


class Notifications:
    steps = ("notify",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in messages; None: as many as are asked for."""
        self.capacity = capacity
        self.sent = 0
        self.corrected = 0

    def execute(self, reference: str) -> None:
        if self.capacity is not None and self.sent >= self.capacity:
            raise Refused("the quota of messages is used up")
        self.sent += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.corrected += 1

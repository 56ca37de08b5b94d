"""Messages to customers.

A sent message cannot be unsent. The compensation sends a correction, and the record keeps both: a compensation undoes
the meaning of a local transaction, not the fact of it. The quota does not limit corrections, because they must be sent.
"""

from choreo import Refused


class Notifications:
    steps = ("notify",)

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity` in messages; None: unlimited."""
        self.capacity = capacity
        self.sent = 0
        self.corrected = 0

    def execute(self, reference: str) -> None:
        if self.capacity is not None and self.sent >= self.capacity:
            raise Refused("the quota of messages is used up")
        self.sent += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.corrected += 1

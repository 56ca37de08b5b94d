"""Simulated service: the stand-in for every step without a service of its own.

It counts the steps in force and never refuses; a caller may ask for a refusal.
"""


class Simulated:
    def __init__(self) -> None:
        self.held = 0

    def execute(self, reference: str) -> None:
        self.held += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.held -= 1

"""Stands in for every step that has no service of its own.

It counts what is held and never refuses; a refusal is the caller's to ask for.
"""


class Simulated:
    def __init__(self) -> None:
        self.held = 0

    def execute(self, reference: str) -> None:
        self.held += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.held -= 1

"""Services for the node that is killed: each keeps in its own records what took effect, reference by reference.

Laws: a mark is made for every effect, `+` for a local transaction and `-` for a compensation, so what was done twice
shows. What was handed out as a receipt must come back. A call may be the last thing that the process does.
"""

import os
import signal
from typing import Any

from choreo.saga.keys import execution_key
from choreo.saga.service import Refused, Service, ServiceOf
from services import catalogue as real_catalogue

LAST_CALL = "CHOREO_CRASH_LAST_CALL"
"""The environment says in which call the process dies, counted from 1: before it has an effect, or after (`7+`)."""

WHY_BROKEN = "the machine is broken"

Marks = dict[str, str]


class LastCall:
    """Counts the calls of all services, and kills the process in one of them."""

    def __init__(self, told: str = "") -> None:
        self._remaining = int(told.rstrip("+") or 0)
        self._is_after = told.endswith("+")

    def before(self) -> None:
        self._remaining -= 1
        self._die_if(not self._is_after)

    def after(self) -> None:
        self._die_if(self._is_after)

    def _die_if(self, is_here: bool) -> None:
        if is_here and self._remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)


LAST = LastCall(os.environ.get(LAST_CALL, ""))


class Ledger:
    """Holds nothing but texts, a field for each reference: a row of the journal that people can read."""

    def execute(self, reference: str) -> str:
        LAST.before()
        self._mark(reference, "+")
        LAST.after()
        return f"receipt of {reference}"

    def compensate(self, reference: str, receipt: object) -> None:
        LAST.before()
        if receipt != f"receipt of {execution_key(reference)}":
            raise AssertionError(f"{reference} came back with the receipt {receipt!r}")
        self._mark(execution_key(reference), "-")
        LAST.after()

    def _mark(self, reference: str, mark: str) -> None:
        fields = vars(self)
        fields[reference] = fields.get(reference, "") + mark


class Shelf:
    """Shares what it holds with the other shelves, and hands out receipts that are more than a text."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks

    def execute(self, reference: str) -> tuple[str, list[str]]:
        LAST.before()
        self.marks[reference] = self.marks.get(reference, "") + "+"
        LAST.after()
        return "receipt", [reference]

    def compensate(self, reference: str, receipt: Any) -> None:
        LAST.before()
        executed = execution_key(reference)
        if receipt != ("receipt", [executed]):
            raise AssertionError(f"{reference} came back with the receipt {receipt!r}")
        self.marks[executed] += "-"
        LAST.after()


class SoldOut(Ledger):
    def execute(self, reference: str) -> str:
        LAST.before()
        raise Refused("sold out")


class Broken(Ledger):
    """Takes effect, and its answer is lost."""

    def execute(self, reference: str) -> str:
        super().execute(reference)
        raise ZeroDivisionError(WHY_BROKEN)

    def compensate(self, reference: str, receipt: object) -> None:
        super().compensate(
            reference, f"receipt of {execution_key(reference)}" if receipt is None else "one that nobody handed out"
        )


class Clinging(Ledger):
    """What it has done stays done."""

    def compensate(self, reference: str, receipt: object) -> None:
        LAST.before()
        raise Refused("it cannot be undone")


class Jammed(Ledger):
    """The same, by a defect."""

    def compensate(self, reference: str, receipt: object) -> None:
        LAST.before()
        raise ZeroDivisionError(WHY_BROKEN)


class SecondTry(Ledger):
    """Refuses each compensation once, and remembers that it did."""

    def compensate(self, reference: str, receipt: object) -> None:
        fields = vars(self)
        if fields.get(f"refused {reference}") is None:
            fields[f"refused {reference}"] = True
            raise Refused("not at the first try")
        super().compensate(reference, receipt)


SPECIAL: dict[str, type[Ledger]] = {
    "sold_out": SoldOut,
    "broken": Broken,
    "clinging": Clinging,
    "jammed": Jammed,
    "second_try": SecondTry,
}
SHELVES = ("shelf_a", "shelf_b")


def catalogue() -> ServiceOf:
    """A service of its own for each of these names and for every `ledger…`; for all others the real ones."""
    real = real_catalogue()
    shared: Marks = {}
    own: dict[str, Service] = {name: kind() for name, kind in SPECIAL.items()}
    own |= {name: Shelf(shared) for name in SHELVES}

    def service_of(step: str) -> Service:
        if step.startswith("ledger"):
            return own.setdefault(step, Ledger())
        return own.get(step) or real(step)

    return service_of

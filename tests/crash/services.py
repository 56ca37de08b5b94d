"""Services for the crash tests: each records its effects by reference.

Laws: every effect leaves a mark, `+` for a local transaction and `-` for a compensation, so that a repeated effect is
visible. Each receipt must be returned unchanged. A call may kill the process.
"""

import os
import signal
from typing import Any

from choreo.saga.keys import execution_key
from choreo.saga.service import Refused, Service, ServiceOf
from services import catalogue as real_catalogue

LAST_CALL = "CHOREO_CRASH_LAST_CALL"
"""Environment variable with the number of the call, counted from 1, in which the process dies: before its effect, or
after it (`7+`).
"""

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
    """Stores only texts, a field for each reference: a readable row of the journal."""

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
    """Shares its record with the other shelves, and returns receipts that are structured values."""

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
    """Takes effect, then raises: the answer is unknown. Its compensation is safe to call for what never happened."""

    def execute(self, reference: str) -> str:
        super().execute(reference)
        raise ZeroDivisionError(WHY_BROKEN)

    def compensate(self, reference: str, receipt: object) -> None:
        if receipt is None and not vars(self).get(execution_key(reference)):
            return  # the process ended after the effect, and the records are as they were before
        super().compensate(
            reference, f"receipt of {execution_key(reference)}" if receipt is None else "one that nobody handed out"
        )


class Clinging(Ledger):
    """Refuses every compensation."""

    def compensate(self, reference: str, receipt: object) -> None:
        LAST.before()
        raise Refused("it cannot be undone")


class Jammed(Ledger):
    """Raises an exception in every compensation."""

    def compensate(self, reference: str, receipt: object) -> None:
        LAST.before()
        raise ZeroDivisionError(WHY_BROKEN)


class SecondTry(Ledger):
    """Refuses each compensation once, and records that it did."""

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
    """Return a special service for each of these names and for every `ledger…`; the real service for all others."""
    real = real_catalogue()
    shared: Marks = {}
    own: dict[str, Service] = {name: kind() for name, kind in SPECIAL.items()}
    own |= {name: Shelf(shared) for name in SHELVES}

    def service_of(step: str) -> Service:
        if step.startswith("ledger"):
            return own.setdefault(step, Ledger())
        return own.get(step) or real(step)

    return service_of

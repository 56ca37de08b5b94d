"""The service of a step in the lab: the author's own service, and what the definition adds to it.

Laws: a service like any other, called by participants through `execute` and `compensate`. What it did is noted, which
is what the invariants call an effect. A free choice ("may") is asked of the oracle.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from choreo.domain.copying import as_bytes, from_bytes
from choreo.domain.definition import Fails, Kind, Step
from choreo.domain.raised import reason
from choreo.domain.service import NotTheService, Refused, Service
from choreo.lab.books import Books, Note

Oracle = Callable[[str], bool]
"""Decides a free choice, which it is told by a name: whether this fails."""


class LabService:
    """A step's service. `inner` is the author's own, or None where the definition says everything."""

    def __init__(
        self, step: Step, inner: Service | None, books: Books, oracle: Oracle, note: Callable[[Note], None]
    ) -> None:
        self.step = step
        self.inner = inner
        self._books = books
        self._oracle = oracle
        self._note = note
        self._undoes_nothing = step.kind is not Kind.COMPENSATABLE
        self._has_books = bool(step.effect or step.reads or step.writes or step.locks)

    def execute(self, reference: str) -> object:
        run, _, position = reference.rpartition("/")
        try:
            if self._fails(self.step.fails, reference, "execute"):
                raise Refused(f"{self.step.name} was told to refuse")
            if self._has_books:
                self._books.check(self.step, run)
            receipt = None if self.inner is None else self.inner.execute(reference)
            kept = _kept(receipt)
            overwritten = self._books.execute(self.step, run, int(position)) if self._has_books else ()
        except NotTheService:
            raise
        except BaseException as error:
            in_doubt = not isinstance(error, Refused)
            self._note(Note("execute", self.step.name, int(position), run, reason(error), in_doubt=in_doubt))
            raise
        self._note(Note("execute", self.step.name, int(position), run))
        return (kept, overwritten) if overwritten or receipt is not None else None

    def compensate(self, reference: str, receipt: Any) -> None:
        run, _, position = reference.rpartition("/")
        kept, overwritten = receipt or (None, ())
        try:
            if self._fails(self.step.compensation_fails, reference, "compensate"):
                raise Refused(f"the compensation of {self.step.name} was told to fail")
            if self._undoes_nothing:
                self._note(Note("compensate", self.step.name, int(position), run, "there is nothing that undoes it"))
                return
            if self.inner is not None:
                self.inner.compensate(reference, _restored(kept))
        except BaseException as error:
            self._note(Note("compensate", self.step.name, int(position), run, reason(error)))
            raise
        if self._has_books:
            self._books.compensate(self.step, run, int(position), overwritten)
        self._note(Note("compensate", self.step.name, int(position), run))

    def _fails(self, fails: Fails, reference: str, what: str) -> bool:
        if fails == "never":
            return False
        if fails == "always":
            return True
        if fails == "may":
            return self._oracle(f"{what} {self.step.name} in {reference.rpartition('/')[0]}:")
        return self._books.count(reference, what) <= int(fails)


def _kept(receipt: object) -> object:
    """A receipt as a value, so that what is done with it in one history is not seen in another."""
    if receipt is None or type(receipt) is int or type(receipt) is str:
        return receipt
    return Kept(as_bytes(receipt, "a receipt"))


def _restored(kept: object) -> object:
    return from_bytes(kept.data) if isinstance(kept, Kept) else kept


class Kept(Struct, frozen=True):
    """A receipt that is more than a number or a text."""

    data: bytes

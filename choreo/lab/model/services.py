"""The service of a step in the lab: the author's own service, and the behaviour that the definition adds.

Laws: a service like any other, called by participants through `execute` and `compensate`. Its actions are noted; the
invariants call them effects. The oracle decides each free choice ("may").
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from choreo.lab.model.resources import Effect, ResourceStore
from choreo.saga.calling import ran
from choreo.saga.definition import Fails, Kind, Step
from choreo.saga.keys import read_key
from choreo.saga.raised import defect, expect_no_ctrl_c, in_a_line, reason
from choreo.saga.service import ControlFlow, Refused, Service
from choreo.storage.copying import as_bytes, from_bytes

Oracle = Callable[[str], bool]
"""Decides a free choice, identified by a name: returns whether the call fails."""


class LabService:
    """A step's service. `inner` is the author's own, or None if the definition specifies the whole behaviour."""

    def __init__(
        self, step: Step, inner: Service | None, books: ResourceStore, oracle: Oracle, note: Callable[[Effect], None]
    ) -> None:
        self.step = step
        self.inner = inner
        self._books = books
        self._oracle = oracle
        self._note = note
        self._undoes_nothing = step.kind is not Kind.COMPENSATABLE
        self._has_books = bool(step.effect or step.reads or step.writes or step.locks)

    def execute(self, reference: str) -> object:
        key = read_key(reference)
        run, position = key.run, key.position
        try:
            if self._fails(self.step.fails, reference, "execute"):
                raise Refused(f"{self.step.name} was told to refuse")
            if self._has_books:
                self._books.check(self.step, run)
            receipt = None if self.inner is None else self._called(self.inner.execute, reference)
            kept = _kept(receipt, self.inner)
            overwritten = self._books.execute(self.step, run, position) if self._has_books else ()
        except ControlFlow:
            raise
        except Raised as raised:
            self._note(raised.note("execute", self.step.name, position, run))
            raise raised.error from None
        except Exception as error:
            in_doubt = not isinstance(error, Refused)
            self._note(Effect("execute", self.step.name, position, run, reason(error), in_doubt=in_doubt))
            raise
        self._note(Effect("execute", self.step.name, position, run))
        return (kept, overwritten) if overwritten or receipt is not None else None

    def compensate(self, reference: str, receipt: Any) -> None:
        key = read_key(reference)
        run, position = key.run, key.position
        kept, overwritten = receipt or (None, ())
        try:
            if self._fails(self.step.compensation_fails, reference, "compensate"):
                raise Refused(f"the compensation of {self.step.name} was told to fail")
            if self._undoes_nothing:
                self._note(Effect("compensate", self.step.name, position, run, "there is nothing that undoes it"))
                return
            if self.inner is not None:
                self._called(self.inner.compensate, reference, _restored(kept))
        except Raised as raised:
            self._note(raised.note("compensate", self.step.name, position, run))
            raise raised.error from None
        except Exception as error:
            self._note(Effect("compensate", self.step.name, position, run, reason(error)))
            raise
        if self._has_books:
            self._books.compensate(self.step, run, position, overwritten)
        self._note(Effect("compensate", self.step.name, position, run))

    def _called(self, call: Callable[..., object], *arguments: object) -> object:
        """Call the author's service. Raises `Refused`, or `Raised` for any other exception."""
        try:
            return ran(call(*arguments))
        except Refused as refusal:
            raise Refused(reason(refusal)) from None
        except BaseException as error:  # the exception ends neither the lab nor the proof
            expect_no_ctrl_c(error)
            raise Raised(error) from None

    def _fails(self, fails: Fails, reference: str, what: str) -> bool:
        if fails == "never":
            return False
        if fails == "always":
            return True
        if fails == "may":
            return self._oracle(f"{what} {self.step.name} in {read_key(reference).run}:")
        return self._books.count(reference, what) <= int(fails)


class Raised(Exception):
    """An exception of the author's service other than a refusal. `error` is the exception for the participant."""

    def __init__(self, error: BaseException) -> None:
        behind = error.__traceback__
        told = defect(error.with_traceback(None if behind is None else behind.tb_next))  # from the author's own code on
        self.summary, self.traceback = in_a_line(error), told.traceback
        super().__init__(self.summary)
        is_plain = isinstance(error, Exception) and not isinstance(error, ControlFlow)
        self.error = error if is_plain else RuntimeError(self.summary)

    def note(self, action: str, step: str, position: int, run: str) -> Effect:
        """Return the note of the call that raised it; the answer of a local transaction is unknown."""
        is_in_doubt = action == "execute"
        return Effect(action, step, position, run, self.summary, in_doubt=is_in_doubt, traceback=self.traceback)


def _kept(receipt: object, service: Service | None) -> object:
    """Copy a receipt, so that a change of it in one history is not visible in another."""
    if receipt is None or type(receipt) is int or type(receipt) is str:
        return receipt
    return Kept(as_bytes(receipt, f"a receipt of service {type(service).__name__}"))


def _restored(kept: object) -> object:
    return from_bytes(kept.data) if isinstance(kept, Kept) else kept


class Kept(Struct, frozen=True):
    """A receipt that is neither a number nor a text."""

    data: bytes

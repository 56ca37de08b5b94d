"""The service of a step in the lab: the author's own service, and the behaviour that the definition adds.

Laws: a service like any other, called by participants through `execute` and `compensate`. Its actions are noted; the
invariants call them effects. The oracle decides each free choice ("may").
"""

from collections.abc import Callable
from typing import Any

from choreo.lab.model.resources import Effect, ResourceStore
from choreo.saga.calls.call import Call
from choreo.saga.calls.calling import by_call, ran
from choreo.saga.data import WithUndo, kept
from choreo.saga.definition import Fails, Kind, Step
from choreo.saga.keys import read_key
from choreo.saga.raised import defect, expect_no_ctrl_c, in_a_line, reason
from choreo.saga.service import ControlFlow, Refused, Service, told_to_refuse

Oracle = Callable[[str], bool]
"""Decides a free choice, identified by a name: returns whether the call fails."""


class LabService:
    """A step's service. `inner` is the author's own, or None if the definition specifies the whole behaviour."""

    def __init__(
        self, step: Step, inner: Service | None, books: ResourceStore, oracle: Oracle, note: Callable[[Effect], None]
    ) -> None:
        self.step = step
        self._execute: Callable[[Call], Any] | None = None
        self._compensate: Callable[[Call], Any] | None = None
        if inner is not None:
            self._execute, self._compensate = by_call(inner)
        self._books = books
        self._oracle = oracle
        self._note = note
        self._undoes_nothing = step.kind is not Kind.COMPENSATABLE
        self._has_books = bool(step.effect or step.reads or step.writes or step.locks)

    def execute(self, call: Call) -> object:
        run, position = read_key(call.key).run, call.position
        try:
            if self._fails(self.step.fails, call.key, "execute"):
                raise Refused(told_to_refuse(self.step.name))
            if self._has_books:
                self._books.check(self.step, run)
            result = None if self._execute is None else self._called(self._execute, call)
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
        return WithUndo(result, overwritten) if overwritten else result

    def compensate(self, call: Call) -> None:
        run, position = read_key(call.key).run, call.position
        overwritten = call.kept.undo if isinstance(call.kept, WithUndo) else ()
        try:
            if self._fails(self.step.compensation_fails, call.key, "compensate"):
                raise Refused(f"the compensation of {self.step.name} was told to fail")
            if self._undoes_nothing:
                self._note(Effect("compensate", self.step.name, position, run, "there is nothing that undoes it"))
                return
            if self._compensate is not None:
                self._called(self._compensate, call)
        except Raised as raised:
            self._note(raised.note("compensate", self.step.name, position, run))
            raise raised.error from None
        except Exception as error:
            self._note(Effect("compensate", self.step.name, position, run, reason(error)))
            raise
        if self._has_books:
            self._books.compensate(self.step, run, position, overwritten)
        self._note(Effect("compensate", self.step.name, position, run))

    def _called(self, method: Callable[[Call], object], call: Call) -> object:
        """Call the author's service. Raises `Refused`, or `Raised` for any other exception."""
        try:
            return kept(ran(method(call)), self.step.name)
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

"""Invariant: a property of every correct execution, with its checkers."""

from collections.abc import Callable

from msgspec import Struct

from choreo.invariants.history import History
from choreo.invariants.known import Known, RunModel
from choreo.trace.record import Record

AtRecord = Callable[[History, Record, RunModel, Known], str | None]
"""Safety checker: gets the history before a record, and the record. Returns the violation in a sentence, or None."""

AtRest = Callable[[History, Known], str | None]
"""Liveness checker: gets the history once no further event can occur. Returns the violation in a sentence, or None."""


class Invariant(Struct, frozen=True):
    """One invariant: checked at every record of some actions, or at rest, or both."""

    code: str
    title: str
    actions: tuple[str, ...] = ()
    at_record: AtRecord | None = None
    at_rest: AtRest | None = None

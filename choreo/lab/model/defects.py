"""Defects of the author's services: any exception that is not `Refused`, `SystemExit` included.

Laws: a defect is a violation of its own, D1, independent of the invariants, unless the definition lets the step raise.
A real Ctrl-C is no defect, and stops the lab.
"""

from choreo.invariants.history import History
from choreo.invariants.invariant import Invariant
from choreo.invariants.known import Known, RunModel
from choreo.saga.definition import Saga
from choreo.trace.record import Record
from choreo.trace.vocabulary import CALLS

CODE, TITLE = "D1", "a service raised an exception"


def no_defect(definition: Saga) -> Invariant:
    """D1: no call of a service raises an exception other than `Refused`, except for the steps that may."""
    allowed = frozenset(step.name for step in definition.steps if step.may_raise)

    def check(history: History, record: Record, run: RunModel, known: Known) -> str | None:
        if record.traceback is None or record.step in allowed:
            return None
        return f"{record.action} of {record.step} raised {record.reason}"

    return Invariant(CODE, TITLE, CALLS, check)

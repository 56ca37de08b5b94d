"""Words and questions that the checkers share.

Laws: pure.
"""

from choreo.invariants.known import RunModel
from choreo.saga.definition import Kind
from choreo.trace.record import Record
from choreo.trace.vocabulary import fact_of


def position_of(record: Record) -> int:
    return -1 if record.position is None else record.position


def may_be_undone(run: RunModel, position: int) -> bool:
    return run.kinds[position] is Kind.COMPENSATABLE


def outcome_text(outcome: str | None) -> str:
    return "not known" if outcome is None else fact_of(outcome)

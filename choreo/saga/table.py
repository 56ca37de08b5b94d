"""A saga as a table of steps in Python: `Saga("order", Orders.place, parallel(Payments.charge, Stock.reserve))`.

Laws: pure; a table becomes plain `Step` values, each with its predecessors. Each row follows every step of the row
before it. A row is a step of a service (`@step`), a `Step`, a name, a nested saga, or a group of these in parallel.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from choreo.saga.definition import Kind, Saga, Step
from choreo.saga.raised import shown

ROW = "a step of a service (@step), a Step, a step's name, a Saga, or parallel(...) of these"


class Group(NamedTuple):
    """Rows that run in parallel."""

    rows: tuple[Any, ...]


def parallel(*rows: Any) -> Group:
    """Run these steps in parallel: each starts after the row before, and the next row after all of them."""
    return Group(rows)


def pivot(row: Any) -> Step:
    """Return the step as the pivot: no step before it is compensated once it has succeeded."""
    return replace(_step(row, "pivot"), kind=Kind.PIVOT)


def retriable(row: Any) -> Step:
    """Return the step as retriable: it follows the pivot, and is tried again until it succeeds."""
    return replace(_step(row, "retriable"), kind=Kind.RETRIABLE)


def steps_of_table(table: Sequence[Any]) -> tuple[Step, ...]:
    """Return the steps of a table, each with its predecessors. Raises `TypeError` for a row that is no step.

    As in a file, a step that follows only the step before it needs no `after`.
    """
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    for index, row in enumerate(table):
        last: list[str] = []
        for each in _members(row):
            for step in _steps_of_row(each, f"steps[{index}]"):
                previous = (steps[-1].name,) if steps else ()
                is_said = step.after is not None or before == previous
                steps.append(step if is_said else replace(step, after=before))
            last += _last_of(each, steps)
        before = tuple(last) or before
    return tuple(steps)


def _members(row: Any) -> Iterator[Any]:
    if isinstance(row, Group):
        for each in row.rows:
            yield from _members(each)
    elif isinstance(row, list | tuple):
        yield from row
    else:
        yield row


def _steps_of_row(row: Any, where: str) -> tuple[Step, ...]:
    """Return the steps of a row; a nested saga brings all of its steps."""
    if not isinstance(row, Saga):
        return (_step(row, where),)
    if not row.steps:
        raise TypeError(f"{where}: expected a saga with steps of its own, got {shown(row.name)}")
    return tuple(replace(step, after=step.after or None) for step in row.with_after())


def _last_of(row: Any, steps: Sequence[Step]) -> list[str]:
    """Return the names of the steps of a row that no step of that row follows."""
    if not isinstance(row, Saga):
        return [steps[-1].name]
    inner = row.with_after()
    followed = {name for step in inner for name in step.after or ()}
    return [step.name for step in inner if step.name not in followed]


def _step(row: Any, where: str) -> Step:
    if isinstance(row, str):
        return Step(row)
    if isinstance(row, Step):
        return row
    step = getattr(row, "step", None)
    if isinstance(step, Step):
        return step
    raise TypeError(f"{where}: expected {ROW}, got {shown(row)}")

"""A saga as a table of steps in Python, as in a file, and as step names."""

import pytest

from choreo import Saga, Step, parallel, pivot, retriable
from choreo.saga.definition import Kind
from choreo.saga.file import as_toml, definition_from
from choreo.saga.file.toml import parse_toml


def test_a_table_reads_as_the_file_does() -> None:
    """The same value."""
    table = Saga("order", "place", parallel("charge", Step("reserve", attempts=2)), pivot("ship"), retriable("mail"))

    assert definition_from(parse_toml(as_toml(table))) == table
    assert [step.after for step in table.steps] == [None, None, ("place",), ("charge", "reserve"), None]
    assert [step.kind for step in table.steps[3:]] == [Kind.PIVOT, Kind.RETRIABLE]


def test_a_row_follows_every_step_of_the_row_before() -> None:
    plan = Saga("order", "a", parallel("b", "c"), "d").plan

    assert plan.predecessors == ((), (0,), (0,), (1, 2))


def test_a_list_is_a_group_as_in_a_request() -> None:
    assert Saga("order", "a", ["b", "c"], "d") == Saga("order", "a", parallel("b", "c"), "d")


def test_a_nested_saga_takes_the_place_of_a_step() -> None:
    """Its first steps follow the row before it, and the next row follows its last ones."""
    payment = Saga("payment", parallel("reserve", "score"), "charge")

    order = Saga("order", "place", payment, "ship")

    assert [step.name for step in order.steps] == ["place", "reserve", "score", "charge", "ship"]
    assert order.plan.predecessors == ((), (0,), (0,), (1, 2), (3,))


def test_nested_sagas_run_in_parallel() -> None:
    left, right = Saga("left", "a", "b"), Saga("right", "c", "d")

    assert Saga("both", "start", parallel(left, right), "end").plan.predecessors == ((), (0,), (1,), (0,), (3,), (2, 4))


def test_explicit_predecessors_stand() -> None:
    saga = Saga("order", "a", Step("b", after=()), Step("c", after=("a",)))

    assert saga.plan.predecessors == ((), (), (0,))


def test_a_list_of_names_is_a_saga_with_default_policies() -> None:
    saga = Saga.of(("a", ("b", "c"), "d"))

    assert saga.plan.steps == ("a", "b", "c", "d")
    assert saga.plan.predecessors == ((), (0,), (0,), (1, 2))


@pytest.mark.parametrize("row", [7, None, object, 3.5])
def test_a_row_that_is_no_step_is_refused(row: object) -> None:
    with pytest.raises(TypeError, match=r"steps\[1\]: expected a step of a service"):
        Saga("order", "a", row)

"""Positions: a set of numbers as a value that is cheap to change at its edge."""

from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.protocol.positions import Positions

SETS = st.frozensets(st.integers(0, 40), max_size=30)


def of(members: frozenset[int] | set[int], order: list[int] | None = None) -> Positions:
    positions = Positions()
    for member in sorted(members) if order is None else order:
        positions = positions.add(member)
    return positions


@settings(deadline=None)
@given(SETS, st.integers(0, 45))
def test_what_was_added_is_in_the_set_and_nothing_else(members: frozenset[int], other: int) -> None:
    """Membership is that of a plain set."""
    positions = of(members)

    assert (other in positions) == (other in members)
    assert all(member in positions for member in members)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), unique=True).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_equal_sets_are_equal_values_whatever_their_history(orders: tuple[list[int], list[int]]) -> None:
    """The order in which members came does not show."""
    one, other = orders

    assert of(set(one), one) == of(set(one), other)


@settings(deadline=None)
@given(SETS, st.integers(0, 45))
def test_adding_and_removing_agree_with_a_plain_set(members: frozenset[int], changed: int) -> None:
    """Adding and removing give the same value as building the changed set anew."""
    positions = of(members)

    assert positions.add(changed) == of(members | {changed})
    assert positions.remove(changed) == of(members - {changed})
    assert positions == of(members), "a value does not change"


@settings(deadline=None)
@given(SETS, SETS)
def test_covers_means_contains_all(members: frozenset[int], asked: frozenset[int]) -> None:
    """A set covers ascending positions exactly if each of them is in it."""
    assert of(members).covers(sorted(asked)) == (asked <= members)


@settings(deadline=None)
@given(SETS)
def test_descending_lists_every_position_once_the_last_one_first(members: frozenset[int]) -> None:
    """The order is that in which steps are compensated."""
    assert of(members).descending() == sorted(members, reverse=True)


def test_a_filled_set_is_one_number() -> None:
    """For a chain of any length, a set that filled up from the first position stores only its edge."""
    filled = of(set(range(10_000)))

    assert filled == Positions(10_000, 0)
    assert filled.remove(9_999) == Positions(9_999, 0)


def test_something_that_is_no_position_is_not_in_the_set() -> None:
    """Asking for a string is answered, not raised."""
    assert "0" not in Positions(3)

"""The plan: who precedes and who follows whom, computed from an itinerary."""

from typing import Any

import pytest
from hypothesis import given, settings

from choreo.saga.plan import DEPENDENCIES_MAX, STEPS_MAX, Itinerary, PlanTooLarge, plan
from tests.stories import itineraries


def test_a_chain_gives_each_step_one_neighbour_on_either_side() -> None:
    """In a chain a step follows the one before it and precedes the one after it."""
    itinerary = ("a", "b", "c")

    chain = plan(itinerary)

    assert chain.steps == ("a", "b", "c")
    assert chain.predecessors == ((), (0,), (1,))
    assert chain.successors == ((1,), (2,), ())
    assert (chain.first, chain.last) == ((0,), (2,))


def test_every_member_of_a_group_follows_every_member_of_the_group_before() -> None:
    """Neighbouring groups are joined completely."""
    itinerary = ("a", ("b", "c"), ("d", "e"), "f")

    grouped = plan(itinerary)

    assert grouped.steps == ("a", "b", "c", "d", "e", "f")
    assert grouped.predecessors == ((), (0,), (0,), (1, 2), (1, 2), (3, 4))
    assert grouped.successors == ((1, 2), (3, 4), (3, 4), (5,), (5,), ())
    assert (grouped.first, grouped.last) == ((0,), (5,))


def test_a_group_at_either_end_gives_several_first_and_last_steps() -> None:
    """The first and the last group are the steps without predecessors and without successors."""
    grouped = plan((("a", "b"), ("c", "d", "e")))

    assert grouped.first == (0, 1)
    assert grouped.last == (2, 3, 4)


def test_a_single_group_is_both_first_and_last() -> None:
    """Steps that are neither preceded nor followed stand at both ends."""
    alone = plan((("a", "b"),))

    assert alone.first == alone.last == (0, 1)
    assert alone.predecessors == alone.successors == ((), ())


@pytest.mark.parametrize("itinerary", [(), ((),), ((), (), ())])
def test_an_itinerary_without_steps_is_an_empty_plan(itinerary: Itinerary) -> None:
    """An empty plan has no first step and no last one."""
    empty = plan(itinerary)

    assert empty.steps == empty.first == empty.last == empty.predecessors == empty.successors == ()


def test_an_empty_group_is_nothing_to_do() -> None:
    """The steps on either side of an empty group are neighbours."""
    with_gaps = plan(((), "a", (), (), ("b",), ()))

    assert with_gaps == plan(("a", "b"))


def test_a_group_of_one_is_a_step() -> None:
    """Brackets around a single step have no effect."""
    assert plan((("a",), ("b",))) == plan(("a", "b"))


def test_a_name_may_stand_in_a_saga_twice() -> None:
    """Steps are known by their position; occurrences count those of the same name before."""
    repeated = plan(("a", ("b", "a"), "a", "b"))

    assert repeated.steps == ("a", "b", "a", "a", "b")
    assert repeated.occurrences == (0, 0, 1, 2, 1)
    assert repeated.predecessors == ((), (0,), (0,), (1, 2), (3,))


def test_position_of_is_the_first_of_that_name() -> None:
    """A name that comes twice means its first position."""
    repeated = plan(("b", ("a", "a"), "a"))

    assert repeated.position_of("a") == 1
    assert repeated.position_of("b") == 0


@pytest.mark.parametrize("absent", ["c", "", "A", None])
def test_position_of_an_absent_name_is_none(absent: str) -> None:
    """A name that is not among the steps has no position, and neither has no name."""
    assert plan(("a", "b")).position_of(absent) is None


def test_the_largest_chain_is_accepted() -> None:
    """The bound itself is within the bounds."""
    longest = plan(("a",) * STEPS_MAX)

    assert len(longest.steps) == STEPS_MAX
    assert longest.occurrences[-1] == STEPS_MAX - 1


@pytest.mark.parametrize(
    "itinerary", [("a",) * (STEPS_MAX + 1), (("a",) * (STEPS_MAX + 1),), (("a",) * STEPS_MAX, (), "b")]
)
def test_one_step_too_many_is_refused(itinerary: Itinerary) -> None:
    """The text names the expected and the received value."""
    with pytest.raises(PlanTooLarge) as refused:
        plan(itinerary)

    assert str(refused.value) == "steps: expected at most 100000 steps, got 100001"


def test_the_most_dependencies_are_accepted() -> None:
    """Two groups of 316 are joined by almost as many dependencies as are allowed."""
    group = ("a",) * 316

    widest = plan((group, group))

    assert sum(map(len, widest.successors)) == 316 * 316 <= DEPENDENCIES_MAX


def test_too_many_dependencies_are_refused() -> None:
    """The text names the expected and the received value."""
    group = ("a",) * 317

    with pytest.raises(PlanTooLarge) as refused:
        plan((group, group))

    assert str(refused.value) == "steps: expected at most 100000 dependencies between groups, got 100489"


def test_members_of_a_group_share_their_neighbours() -> None:
    """A plan is as large as its itinerary, not as its dependencies."""
    group = ("a",) * 300

    widest = plan((group, group))

    assert len({id(before) for before in widest.predecessors[300:]}) == 1
    assert len({id(after) for after in widest.successors[:300]}) == 1


@settings(deadline=None)
@given(itineraries())
def test_predecessors_and_successors_are_two_views_of_one_relation(itinerary: Itinerary) -> None:
    """Each predecessor has its successor, positions ascend, and the ends have no neighbour on that side."""
    any_plan = plan(itinerary)
    positions = range(len(any_plan.steps))

    forward = {(before, after) for before in positions for after in any_plan.successors[before]}
    backward = {(before, after) for after in positions for before in any_plan.predecessors[after]}

    assert forward == backward
    assert all(before < after for before, after in forward)
    assert any_plan.first == tuple(p for p in positions if not any_plan.predecessors[p])
    assert any_plan.last == tuple(p for p in positions if not any_plan.successors[p])
    assert len(set(zip(any_plan.steps, any_plan.occurrences, strict=True))) == len(any_plan.steps)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ("book_flight", "steps: expected a tuple of step names and groups, got 'book_flight'"),
        (
            ("a", ("b", ("c", "d"))),
            r"steps\[1\]: expected a step name or a tuple of step names, got \('b', \('c', 'd'\)\)",
        ),
        (("a", 7), r"steps\[1\]: expected a step name or a tuple of step names, got 7"),
    ],
)
def test_what_is_no_itinerary_is_refused(steps: Any, text: str) -> None:
    """A forgotten comma does not become a saga of letters."""
    with pytest.raises(TypeError, match=text):
        plan(steps)

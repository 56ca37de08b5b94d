"""Itineraries, and the plan computed once from each: the predecessors and successors of every step.

Laws: a plan is a value and knows no style. Steps are identified by position, so one name may occur twice in a saga. All
members of a group share one tuple of neighbours, so a plan is as large as its itinerary, not as its dependencies.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from choreo.saga.raised import shown

Itinerary = tuple[str | tuple[str, ...], ...]
"""Steps in order; a nested tuple is a group that runs in parallel."""

STEPS_MAX = 100_000
DEPENDENCIES_MAX = 100_000
CHARACTERS_MAX = 2_000_000
"""Bound on the characters of all step names together."""


class PlanTooLarge(ValueError):
    """An itinerary beyond the bounds, which limit the memory of one request."""


class Plan(Struct, frozen=True):
    """Predecessors and successors by position.

    `first` and `last` are the positions without predecessors and without successors. For each step, `depths` counts the
    groups before it, and `occurrences` the earlier steps of the same name.
    """

    steps: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]
    successors: tuple[tuple[int, ...], ...]
    depths: tuple[int, ...]
    occurrences: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    is_levelled: bool = True
    """True if every step follows all members of the group before it, as in an itinerary; false for a graph."""
    is_chain: bool = False
    """True if every group is known to have one member, so that the depth of each step is its position."""

    def position_of(self, step: str) -> int | None:
        """Return the first position of that name, or None."""
        return self.steps.index(step) if step in self.steps else None


def plan(itinerary: Itinerary) -> Plan:
    """Compute the predecessors and successors of every step.

    Every member of a group follows every member of the group before it. An empty group is ignored. Raises
    `PlanTooLarge` beyond the bounds, and `TypeError` for a value that is not an itinerary.
    """
    _check(itinerary)
    levels = list(_levels(itinerary))
    _bound(itinerary, levels)
    steps = tuple(step for group in itinerary for step in _members(group))
    predecessors: list[tuple[int, ...]] = []
    successors: list[tuple[int, ...]] = []
    for index, level in enumerate(levels):
        before = levels[index - 1] if index else ()
        after = levels[index + 1] if index + 1 < len(levels) else ()
        predecessors.extend([before] * len(level))
        successors.extend([after] * len(level))
    first, last = (levels[0], levels[-1]) if levels else ((), ())
    depths = tuple(depth for depth, level in enumerate(levels) for _ in level)
    return Plan(
        steps,
        tuple(predecessors),
        tuple(successors),
        depths,
        tuple(_occurrences(steps)),
        first,
        last,
        is_chain=len(levels) == len(steps),
    )


def itinerary_of(plan: Plan) -> Itinerary | None:
    """Return the steps of a plan in groups, each after all of the group before; None if they have no such order."""
    levels: list[list[int]] = [[] for _ in range(max(plan.depths, default=-1) + 1)]
    for position, depth in enumerate(plan.depths):
        levels[depth].append(position)
    before: list[int] = []
    for level in levels:
        if any(sorted(plan.predecessors[position]) != before for position in level):
            return None
        before = level
    names = [tuple(plan.steps[position] for position in level) for level in levels]
    return tuple(group[0] if len(group) == 1 else group for group in names)


def plan_of_graph(steps: Sequence[str], after: Sequence[Sequence[int]]) -> Plan:
    """Return the plan of a graph; `after` has the positions of the predecessors of each step.

    Raises `ValueError`, which names the steps, if the graph has a cycle.
    """
    after = [sorted(before) for before in after]  # the author may list them in any order
    successors: list[list[int]] = [[] for _ in steps]
    for position, before in enumerate(after):
        for predecessor in before:
            successors[predecessor].append(position)
    depths = _depths(steps, after, successors)
    return Plan(
        tuple(steps),
        tuple(map(tuple, after)),
        tuple(map(tuple, successors)),
        depths,
        tuple(_occurrences(steps)),
        tuple(p for p, before in enumerate(after) if not before),
        tuple(p for p, behind in enumerate(successors) if not behind),
        is_levelled=False,
    )


def _depths(
    steps: Sequence[str], after: Sequence[Sequence[int]], successors: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Return the length of the longest path to each step, by Kahn's algorithm."""
    depths = [0] * len(steps)
    missing = [len(before) for before in after]
    ready = [position for position, count in enumerate(missing) if not count]
    for position in ready:
        for successor in successors[position]:
            depths[successor] = max(depths[successor], depths[position] + 1)
            missing[successor] -= 1
            if not missing[successor]:
                ready.append(successor)
    if len(ready) < len(steps):
        circle = ", ".join(steps[position] for position, count in enumerate(missing) if count)
        raise ValueError(f"after: expected an order in which the steps can run, got a circle among {circle}")
    return tuple(depths)


def _members(group: str | tuple[str, ...]) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _levels(itinerary: Itinerary) -> Iterator[tuple[int, ...]]:
    position = 0
    for group in itinerary:
        size = len(_members(group))
        if size:
            yield tuple(range(position, position + size))
        position += size


def _occurrences(steps: Sequence[str]) -> Iterator[int]:
    seen: dict[str, int] = {}
    for step in steps:
        occurrence = seen.get(step, 0)
        seen[step] = occurrence + 1
        yield occurrence


def _check(itinerary: object) -> None:
    if not isinstance(itinerary, tuple):
        raise TypeError(f"steps: expected a tuple of step names and groups, got {shown(itinerary)}")
    if len(itinerary) > STEPS_MAX and () in itinerary:  # the caller keeps the itinerary, and its empty groups with it
        raise PlanTooLarge(f"steps: expected at most {STEPS_MAX} groups, empty ones included, got {len(itinerary)}")
    for index, group in enumerate(itinerary):
        if not isinstance(group, str) and not (isinstance(group, tuple) and all(isinstance(s, str) for s in group)):
            raise TypeError(f"steps[{index}]: expected a step name or a tuple of step names, got {shown(group)}")


def _bound(itinerary: Itinerary, levels: Sequence[tuple[int, ...]]) -> None:
    count = sum(map(len, levels))
    if count > STEPS_MAX:
        raise PlanTooLarge(f"steps: expected at most {STEPS_MAX} steps, got {count}")
    characters = sum(len(step) for group in itinerary for step in _members(group))
    if characters > CHARACTERS_MAX:
        raise PlanTooLarge(
            f"steps: expected names of at most {CHARACTERS_MAX} characters in all, got {characters} characters"
        )
    dependencies = sum(len(before) * len(after) for before, after in pairwise(levels))
    if dependencies > DEPENDENCIES_MAX:
        raise PlanTooLarge(
            f"steps: expected at most {DEPENDENCIES_MAX} dependencies between groups, got {dependencies}"
        )

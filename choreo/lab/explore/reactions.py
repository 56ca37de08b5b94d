"""Memoized transition function: each distinct (cell, shared state, delivery) runs the real code once.

Laws: the world is only borrowed; cell and shared state are restored for each run. A free choice is taken both ways.
Cells, shared states and effects (the trace records) are interned.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from choreo.invariants.violation import Violation
from choreo.lab.explore.canonical import canonical_under
from choreo.lab.explore.interning import InternTable
from choreo.lab.model.channels import Channels
from choreo.lab.model.records import handled
from choreo.lab.model.world import Route, World
from choreo.protocol.event import Event
from choreo.saga.service import ResourceLocked
from choreo.trace.record import Record

NO_EFFECT = 0
"""The number of the effect without trace records."""


class Consequence(Struct, frozen=True, eq=False):
    """Result of a delivery to one cell: numbers of the next cell, the shared state and the effect."""

    cell: int
    shared: int
    sent: tuple[int, ...]
    effect: int
    choices: tuple[str, ...]
    only_committed: int
    only_published: int


class Reactions:
    """The reactions of one world. `is_canonical`: cells with the same future behaviour are merged."""

    def __init__(self, world: World, channels: Channels, is_canonical: bool) -> None:
        self.cells = InternTable()
        self.shared = InternTable()
        self.effects: list[tuple[Record, ...]] = [()]
        self._world = world
        self._channels = channels
        self._canonical = canonical_under(world.guarantees) if is_canonical else lambda cell: cell
        self.known: dict[tuple[int, int, int], tuple[Consequence, ...]] = {}
        self._rests: dict[int, tuple[Violation, ...]] = {}

    def start(self) -> tuple[tuple[int, ...], int]:
        """Return the numbers of the initial cells and of the initial shared state."""
        cells = tuple(self._number_of(cell) for cells in self._world.cells.values() for cell in cells)
        return cells, self.shared.number_of(self._world.copy_shared())

    def react(self, cell: int, shared: int, number: int) -> tuple[Consequence, ...]:
        """Return the possible results, one for each combination of free choices; empty if the delivery has to wait."""
        key = (cell, shared, number)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = tuple(self._play(cell, shared, number))
        return found

    def at_rest(self, shared: int) -> tuple[Violation, ...]:
        """Return the violations of the author's invariants, with this shared state at rest."""
        found = self._rests.get(shared)
        if found is None:
            self._world.restore_shared(self.shared.values[shared])
            found = self._rests[shared] = self._world.at_rest()
        return found

    def effect(self, records: tuple[Record, ...]) -> int:
        """Intern the trace records of an effect."""
        self.effects.append(records)
        return len(self.effects) - 1

    def _play(self, cell: int, shared: int, number: int) -> Iterator[Consequence]:
        world, delivery = self._world, self._channels.deliveries[number]
        route, event = delivery.route, delivery.event
        for events, choices in _scripts(lambda choose: self._play_once(cell, shared, event, route, choose)):
            next_cell = self._number_of(world.cells[event.run.id][route.seat])
            next_shared = self.shared.number_of(world.copy_shared())
            world.observe(route)  # every reaction is also reached without a fault
            notes = list(world.notes)
            yield Consequence(
                next_cell,
                next_shared,
                tuple(self._channels.number_of(each) for e in events for each in world.deliveries_of(e)),
                self.effect(handled(event, route, notes, events)),
                choices,
                self.effect(handled(event, route, notes, ())),
                self.effect(handled(event, route, (), events)),
            )

    def _play_once(
        self, cell: int, shared: int, event: Event, route: Route, choose: Callable[[str], bool]
    ) -> list[Event] | None:
        """Run the reaction once; return the published events, or None if the delivery has to wait."""
        world = self._world
        world.cells[event.run.id][route.seat] = self.cells.values[cell]
        world.restore_shared(self.shared.values[shared])
        world.choose = choose
        try:
            return list(world.deliver(event, route))
        except ResourceLocked:
            return None

    def _number_of(self, cell: object) -> int:
        return self.cells.number_of(self._canonical(cell))


def _scripts(
    play: Callable[[Callable[[str], bool]], list[Event] | None],
) -> Iterator[tuple[list[Event], tuple[str, ...]]]:
    """Yield a run for each combination of free choices; none if the delivery has to wait."""
    todo: list[list[bool]] = [[]]
    while todo:
        script = todo.pop()
        asked: list[str] = []

        def choose(what: str, script: list[bool] = script, asked: list[str] = asked) -> bool:
            answer = script[len(asked)] if len(asked) < len(script) else False
            asked.append(f"{what} {'it fails' if answer else 'it works'}")
            return answer

        events = play(choose)
        if events is None:
            return
        todo += [[*script, *[False] * (n - len(script)), True] for n in range(len(script), len(asked))]
        yield events, tuple(asked)

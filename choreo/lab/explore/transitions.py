"""Transitions out of a state, with faults and without.

Laws: a state is seen here as two numbers, its local state (*ground*: all cells, and the shared state) and its
deliveries in flight (*flight*); the explorer owns the history. Every possible fault is among the transitions.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from choreo.invariants.violation import Violation
from choreo.lab.explore.interning import InternTable
from choreo.lab.explore.partial_order_reduction import living_phases
from choreo.lab.explore.reactions import NO_EFFECT, Consequence, Reactions
from choreo.lab.model.actions import CRASHED, DUPLICATED, LOST, NEXT_ALTERNATIVE, POISONED, encoded
from choreo.lab.model.channels import Channels, Flight
from choreo.lab.model.records import fault
from choreo.lab.model.world import Delivery, World, may_be_poisoned
from choreo.protocol.reaction import PHASES
from choreo.saga.definition import CrashPoint, FaultKind
from choreo.trace.records import published_record
from choreo.trace.vocabulary import DEAD_LETTER

Settled = tuple[int, int, tuple[tuple[int, int], ...]]
"""A ground and a flight without dead deliveries, and the numbers and effects of those deliveries."""

Transition = tuple[int, int, int, int]
"""A transition out of a state: the next ground, the next flight, the effect on the history, and the action."""


PLAINEST = (CrashPoint.BEFORE, CrashPoint.AFTER, CrashPoint.UNPUBLISHED, CrashPoint.UNCOMMITTED)
"""Crash points from the simplest on; the simplest represents all points with the same remains."""

FLIGHT_MAX = 2_000
"""Maximum of deliveries in flight: each may be the next, and each next state has all the others."""


class TooMuchUnderWay(Exception):
    """More deliveries are in flight than an exploration can handle in every order."""


EVER = (True,) * len(PHASES)

FaultOf = Callable[[int, int, int], Sequence[Transition]]
"""A fault of a delivery: returns its transitions."""


class Transitions:
    """The transitions of one world.

    `fired` counts faults that lead to the same state; `is_reduced` as for the explorer.
    """

    def __init__(self, world: World, is_reduced: bool) -> None:
        faults = self._faults = world.definition.faults
        self.world = world
        self.channels = Channels(world.guarantees.ordering)
        self.reactions = Reactions(world, self.channels, is_canonical=is_reduced)
        self.grounds, self.flights = InternTable(), InternTable()
        self.fired = dict.fromkeys(map(str, faults.kinds), 0)
        self._offsets = _offsets(world)
        self._living = _living(world)
        self._crashes = _different(world)
        self._may_befall: dict[int, tuple[FaultOf, ...]] = {}
        self._arrivals: dict[int, tuple[tuple[int, Consequence], ...]] = {}
        self._hearings: dict[int, tuple[int, tuple[bool, ...]]] = {}
        self.settlements: dict[int, Settled] = {}
        """Memoized results of `settled`, keyed by ground and flight in one number."""
        self._letters: dict[int, tuple[tuple[int, ...], int]] = {}
        self._flown: dict[Any, int] = {}
        self._next: dict[int, tuple[int, ...]] = {}
        cells, shared = self.reactions.start()
        first = self.channels.sent((), [self.channels.number_of(delivery) for _, delivery in world.start()])
        self.start = self.grounds.number_of((*cells, shared)), self.flights.number_of(first)
        """The initial ground and flight."""

    # Successors

    def steps(self, ground: int, flight: int) -> list[Transition]:
        """Return the transitions without a fault."""
        steps = []
        deliveries, arrivals = self.channels.deliveries, self._arrivals
        for number in self._arriving(flight):
            if deliveries[number].poison:
                steps.append(self._unreadable(ground, flight, number))
                continue
            act = encoded(number)
            for after, each in arrivals.get(number << 48 | ground) or self.arrive(ground, number):
                steps.append((after, self._fly(flight, number, each.sent), each.effect, act))
                act += NEXT_ALTERNATIVE
        return steps

    def faults(self, ground: int, flight: int) -> list[Transition]:
        """Return the transitions with a fault."""
        arriving = self._arriving(flight)
        fired = self.fired
        steps: list[Transition] = []
        if len(arriving) > 1 and FaultKind.DELAY in fired:
            fired[FaultKind.DELAY] += 1  # another delivery comes first: every order is explored
        for number in arriving:
            for apply_fault in self._faults_of(number):
                steps += apply_fault(ground, flight, number)
        return steps

    def _faults_of(self, number: int) -> tuple[FaultOf, ...]:
        """Return the possible faults of a delivery, for every state."""
        found = self._may_befall.get(number)
        if found is None:
            found = self._may_befall[number] = tuple(self._find_faults_of(self.channels.deliveries[number]))
        return found

    def _find_faults_of(self, delivery: Delivery) -> Iterator[FaultOf]:
        route, subscribers, kinds = delivery.route, self._faults.subscribers, self._faults.kinds
        if delivery.poison or (subscribers is not None and route.subscriber not in subscribers):
            return
        if not route.is_local:
            for kind in (FaultKind.DROP, FaultKind.PARTITION):  # a partition drops many deliveries at once
                if kind in kinds:
                    yield partial(self._resent if self.world.resends(route) else self._lost, kind)
            if FaultKind.DUPLICATE in kinds:
                yield self._duplicated
            if FaultKind.POISON in kinds and not route.is_client and may_be_poisoned(delivery.event):
                yield self._poisoned
        if FaultKind.CRASH in kinds and not route.is_client:
            yield self._crashed

    def _resent(self, kind: FaultKind, ground: int, flight: int, number: int) -> tuple[Transition, ...]:
        """Lose a delivery and send it again: it stays in flight."""
        self.fired[kind] += 1
        return ()

    def _lost(self, kind: FaultKind, ground: int, flight: int, number: int) -> tuple[Transition, ...]:
        return ((ground, self._fly(flight, number, ()), NO_EFFECT, encoded(number, 0, LOST[kind])),)

    def _duplicated(self, ground: int, flight: int, number: int) -> tuple[Transition, ...]:
        twice = self._fly_instead(flight, number, (number, number))
        return ((ground, twice, NO_EFFECT, encoded(number, 0, DUPLICATED)),)

    def _poisoned(self, ground: int, flight: int, number: int) -> tuple[Transition, ...]:
        poisoned = self.channels.number_of(self.world.unread(self.channels.deliveries[number]))
        return ((ground, self._fly_instead(flight, number, (poisoned,)), NO_EFFECT, encoded(number, 0, POISONED)),)

    def _crashed(self, ground: int, flight: int, number: int) -> list[Transition]:
        keeps, steps = self.world.resends(self.channels.deliveries[number].route), []
        arrivals = self.arrive(ground, number)
        for happening, is_committed, is_published in self._crashes:
            if not is_committed and not is_published:
                if keeps and arrivals:
                    self.fired[FaultKind.CRASH] += 1  # the delivery is sent again, in the same state
                elif arrivals:
                    steps.append((ground, self._fly(flight, number, ()), NO_EFFECT, encoded(number, 0, happening)))
                continue
            for alternative, (after, each) in enumerate(arrivals):
                sent = each.sent if is_published else ()
                effect = each.effect if is_committed else each.only_published
                effect = effect if is_published else each.only_committed
                flown = self._fly_instead(flight, number, (number, *sent)) if keeps else self._fly(flight, number, sent)
                act = encoded(number, alternative, happening)
                steps.append((after if is_committed else ground, flown, effect, act))
        return steps

    def _unreadable(self, ground: int, flight: int, number: int) -> Transition:
        """Deliver an unreadable event: it is redelivered, and becomes a dead letter in the end."""
        delivery = self.channels.deliveries[number]
        act = encoded(number)
        if not self.world.puts_aside(delivery.poison):
            again = self.channels.number_of(self.world.unread(delivery))
            return ground, self._fly_instead(flight, number, (again,)), NO_EFFECT, act
        if number not in self._letters:
            letter = self.world.dead_letter(delivery)
            sent = tuple(self.channels.number_of(each) for each in self.world.deliveries_of(letter))
            records = fault(delivery, DEAD_LETTER), published_record(letter)
            self._letters[number] = sent, self.reactions.effect(records)
        sent, effect = self._letters[number]
        return ground, self._fly(flight, number, sent), effect, act

    def arrive(self, ground: int, number: int) -> tuple[tuple[int, Consequence], ...]:
        """Return the possible grounds and reactions after a delivery; none if it has to wait."""
        key = number << 48 | ground
        found = self._arrivals.get(key)
        if found is None:
            parts = self.grounds.values[ground]
            seat = self._seat(self.channels.deliveries[number])
            reactions = self.reactions.react(parts[seat], parts[-1], number)
            found = tuple(
                (self.grounds.number_of((*parts[:seat], r.cell, *parts[seat + 1 : -1], r.shared)), r) for r in reactions
            )
            self._arrivals[key] = found
        return found

    def at_rest(self, ground: int) -> tuple[Violation, ...]:
        """Return the violations of the author's invariants in a local state at rest."""
        return self.reactions.at_rest(self.grounds.values[ground][-1])

    def settled(self, ground: int, flight: int) -> Settled:
        """Return the state after all dead deliveries."""
        key = ground << 24 | flight
        found = self.settlements.get(key)
        if found is None:
            dead: list[tuple[int, int]] = []
            while (number := self._dead_in(ground, flight)) is not None:
                ((ground, reaction),) = self.arrive(ground, number)
                flight = self._fly(flight, number, ())
                dead.append((number, reaction.effect))
            found = self.settlements[key] = ground, flight, tuple(dead)
        return found

    def _dead_in(self, ground: int, flight: int) -> int | None:
        """Return a dead delivery that may arrive next."""
        parts, cells, hearings = self.grounds.values[ground], self.reactions.cells.values, self._hearings
        for number in self._arriving(flight):
            seat, living = hearings.get(number) or self._hearing(number)
            if not living[cells[parts[seat]].phase]:
                return number
        return None

    def _hearing(self, number: int) -> tuple[int, tuple[bool, ...]]:
        """Return the index of a delivery's cell, and the phases of that cell in which the delivery is not dead."""
        delivery = self.channels.deliveries[number]
        living = EVER if delivery.poison else self._living[delivery.route.index]
        found = self._hearings[number] = self._seat(delivery), living
        return found

    def _seat(self, delivery: Delivery) -> int:
        return self._offsets[delivery.event.run.id] + delivery.route.seat

    # Deliveries in flight

    def _arriving(self, flight: int) -> tuple[int, ...]:
        found = self._next.get(flight)
        if found is None:
            found = self._next[flight] = self.channels.next(self.flights.values[flight])
        return found

    def _fly(self, flight: int, number: int, sent: tuple[int, ...]) -> int:
        key = (flight, number, sent)
        found = self._flown.get(key)
        if found is None:
            flown: Flight = self.channels.arrived(self.flights.values[flight], number)
            found = self._flown[key] = self.flights.number_of(_bounded(self.channels.sent(flown, sent)))
        return found

    def _fly_instead(self, flight: int, number: int, by: tuple[int, ...]) -> int:
        key = (flight, number, by, None)
        found = self._flown.get(key)
        if found is None:
            flown = self.channels.replaced(self.flights.values[flight], number, by)
            found = self._flown[key] = self.flights.number_of(flown)
        return found


def _bounded(flight: Flight) -> Flight:
    if len(flight) > FLIGHT_MAX:
        raise TooMuchUnderWay(f"more than {FLIGHT_MAX:,} deliveries under way at once")
    return flight


def _different(world: World) -> list[tuple[int, bool, bool]]:
    """Return the crash points with distinct remains, each with its flags: committed, published."""
    points: dict[tuple[bool, bool], CrashPoint] = {}
    for point in sorted(world.definition.faults.crash_points, key=PLAINEST.index):
        remains = world.after_crash(point)
        points.setdefault((remains.is_committed, remains.is_published), point)
    return [(CRASHED[point], *remains) for remains, point in points.items()]


def _offsets(world: World) -> dict[str, int]:
    """Return the index of each run's first cell, among the cells of all runs."""
    offsets, total = {}, 0
    for run, cells in world.cells.items():
        offsets[run] = total
        total += len(cells)
    return offsets


def _living(world: World) -> list[tuple[bool, ...]]:
    """Return, for each lane, the phases in which an arrival is not dead."""
    living: dict[int, tuple[bool, ...]] = {}
    for wiring in {id(run.wiring): run.wiring for run in world.runs}.values():
        rows: dict[tuple[str, int], list[Any]] = {}
        for row in wiring.table.subscriptions:
            rows.setdefault((row.topic.name, row.seat), []).append(row.moves)
        for topic, routes in wiring.routes.items():
            living.update((route.index, living_phases(rows[topic, route.seat], world.guarantees)) for route in routes)
    return [living[route.index] for route in world.routes]

"""Follower: takes the way of a saved counterexample again, on real services, and checks every invariant.

Laws: no clock and no randomness; equal ways over equal services give equal records. After the last move all remaining
deliveries are made without faults, until nothing is in flight.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from choreo.invariants.history import History, outcomes_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.violation import Violation
from choreo.lab.model.channels import Channels, Flight
from choreo.lab.model.records import fault, first_records, handled
from choreo.lab.model.world import Delivery, World
from choreo.lab.simulate.campaign import NO_REST
from choreo.lab.simulate.simulator import DELIVERIES_AN_EVENT_MAX
from choreo.lab.way import Move, Way
from choreo.protocol.dead_letter import ATTEMPTS
from choreo.saga.definition import CrashPoint, FaultKind
from choreo.saga.service import ResourceLocked
from choreo.trace.record import Record
from choreo.trace.records import published_record
from choreo.trace.vocabulary import CRASH, DEAD_LETTER, DUPLICATE, POISON, UNREADABLE

SHOWN_MAX = 8


class CannotFollow(Exception):
    """A move that is not possible: its number from 1, and the reason."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, why)
        self.number, self.why = number, why


class Followed(Struct, frozen=True):
    """The history of a way: its violations, its records, the outcomes of its runs, and the handled deliveries."""

    violations: tuple[Violation, ...]
    records: tuple[Record, ...]
    outcomes: tuple[str, ...]
    handled: int


class Follower:
    """Follows one way, once. With `skips`, a move that is not possible is left out; otherwise it raises."""

    def __init__(self, world: World, monitor: Monitor, way: Way, skips: bool) -> None:
        self._world = world
        self._monitor = monitor
        self._way = way
        self._skips = skips
        self._channels = Channels(world.guarantees.ordering)
        self._flight: Flight = ()
        self._answers: dict[str, deque[bool]] = {}
        for choice in way.choices:
            self._answers.setdefault(choice.call, deque()).append(choice.fails)
        self._records: list[Record] = []
        self._history: History = monitor.begin()
        self._violations: tuple[Violation, ...] = ()
        self._handled = 0

    def follow(self) -> Followed:
        """Take the way, and then play to rest; stop at the first violation. Raises `CannotFollow`."""
        self._world.reset()
        self._world.choose = self._choose
        self._note(first_records(self._world))
        self._send(delivery for _, delivery in self._world.start())
        for number, move in enumerate(self._way.moves, start=1):
            if self._violations:
                break
            why = self._take(move)
            if why is not None and not self._skips:
                raise CannotFollow(number, why)
        if not self._violations and self._play_to_rest():
            self._violations = (*self._monitor.at_rest(self._history), *self._world.at_rest())
        outcomes = tuple(outcomes_of(self._history))
        return Followed(self._violations, tuple(self._records), outcomes, self._handled)

    # The way

    def _take(self, move: Move) -> str | None:
        """Make a move, or return the reason why it is not possible."""
        numbers = self._channels.next(self._flight)
        number = next((each for each in numbers if self._is(move, each)), None)
        if number is None:
            is_blocked = any(self._is(move, each) for each in self._flight)
            return f"{move} has to wait for another delivery" if is_blocked else self._absent(move)
        return None if self._make(number, move.fault, move.point) else f"{move} has to wait for a lock"

    def _is(self, move: Move, number: int) -> bool:
        delivery = self._channels.deliveries[number]
        key = (delivery.event.id, delivery.route.subscriber, delivery.poison)
        return key == (move.event, move.subscriber, move.attempt)

    def _absent(self, move: Move) -> str:
        deliveries = [self._channels.deliveries[number] for number in dict.fromkeys(self._flight)]
        names = [f"{each.event.id} to {each.route.subscriber}" for each in deliveries]
        more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
        return f"expected {move}, got {', '.join(names[:SHOWN_MAX]) or 'nothing in flight'}{more}"

    def _make(self, number: int, what: FaultKind | None = None, point: CrashPoint | None = None) -> bool:
        """Make a delivery or its fault; return whether it was possible."""
        delivery = self._channels.deliveries[number]
        if delivery.poison:
            self._fail_to_read(number, delivery)
            return True
        match what:
            case None:
                return self._handle(number, delivery)
            case FaultKind.CRASH:
                return self._crash(number, delivery, point or CrashPoint.BEFORE)
            case FaultKind.DUPLICATE:
                self._replace(number, [delivery, delivery], [fault(delivery, DUPLICATE)])
            case FaultKind.POISON:
                self._replace(number, [self._world.unread(delivery)], [fault(delivery, POISON)])
            case FaultKind.DROP | FaultKind.PARTITION if not self._world.resends(delivery.route):
                self._replace(number, [], [fault(delivery, str(what))])
            case _:  # sent again, or late: the order of the moves says when
                self._note([fault(delivery, str(what))])
        return True

    def _handle(self, number: int, delivery: Delivery) -> bool:
        event, route, world = delivery.event, delivery.route, self._world
        try:
            events = world.deliver(event, route)
        except ResourceLocked:
            return False
        world.observe(route)
        self._handled += 1
        self._replace(number, [], handled(event, route, list(world.notes), events))
        self._send(each for event in events for each in world.deliveries_of(event))
        return True

    def _crash(self, number: int, delivery: Delivery, point: CrashPoint) -> bool:
        event, route, world = delivery.event, delivery.route, self._world
        left, again = world.after_crash(point), [delivery] if world.resends(route) else []
        if not (left.is_committed or left.is_published):
            self._replace(number, again, [fault(delivery, CRASH, point)])
            return True
        cells = world.cells[event.run.id]
        cell, shared = cells[route.seat], world.copy_shared()
        try:
            events = list(world.deliver(event, route))
        except ResourceLocked:
            return False
        if left.is_committed:
            world.observe(route)
        else:
            cells[route.seat] = cell
            world.restore_shared(shared)
        notes = list(world.notes) if left.is_committed else []
        events = events if left.is_published else []
        self._replace(number, again, [*handled(event, route, notes, events), fault(delivery, CRASH, point)])
        self._send(each for event in events for each in world.deliveries_of(event))
        return True

    def _fail_to_read(self, number: int, delivery: Delivery) -> None:
        if self._world.puts_aside(delivery.poison):
            letter = self._world.dead_letter(delivery)
            self._replace(number, [], [fault(delivery, DEAD_LETTER), published_record(letter)])
            self._send(self._world.deliveries_of(letter))
        else:
            self._replace(number, [self._world.unread(delivery)], [fault(delivery, UNREADABLE)])

    # The rest

    def _play_to_rest(self) -> bool:
        """Make all remaining deliveries, timers last; return whether that ended without a violation."""
        for _ in range(DELIVERIES_AN_EVENT_MAX * self._world.events_max):
            arriving = self._channels.next(self._flight)
            in_order = sorted(arriving, key=lambda number: (self._channels.deliveries[number].route.is_local, number))
            if not any(self._make(number) for number in in_order if not self._is_stuck(number)):
                return True
            if self._violations:
                return False
        self._violations = (NO_REST,)
        return False

    def _is_stuck(self, number: int) -> bool:
        """Return whether a delivery is unreadable for ever."""
        poison = self._channels.deliveries[number].poison
        return poison >= ATTEMPTS and not self._world.puts_aside(poison)

    # Deliveries and records

    def _choose(self, call: str) -> bool:
        answers = self._answers.get(call.removesuffix(":"))
        return answers.popleft() if answers else False

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        self._flight = self._channels.sent(self._flight, [self._channels.number_of(each) for each in deliveries])

    def _replace(self, number: int, by: Iterable[Delivery], records: Iterable[Record]) -> None:
        self._flight = self._channels.replaced(self._flight, number, [self._channels.number_of(each) for each in by])
        self._note(records)

    def _note(self, records: Iterable[Record]) -> None:
        """Number the records of one moment, and check them."""
        records = list(records)
        for number, record in enumerate(records, start=len(self._records) + 1):
            record.seq = record.time = number
        self._records += records
        self._history, self._violations = self._monitor.observe_all(self._history, records)

"""The world of one definition in one style: every run with its cells and its bus, and the shared resource store.

Laws: the simulator and the explorer both drive this, through `deliver`; neither knows how participants react. A
delivery is one local transaction: the cell, the services' records and the events to publish change together, or not at
all. The guarantees of a delivery are looked up in `protocol/delivery.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from choreo.compile.table import STARTED, Table
from choreo.compile.wiring import wired
from choreo.invariants.known import known_of
from choreo.invariants.own import OwnInvariant, ServicesState
from choreo.invariants.state_checks import StateChecks
from choreo.invariants.violation import Violation
from choreo.lab.model.resources import Effect, ResourceStore
from choreo.lab.model.services import LabService
from choreo.lab.model.simulated import inner_services
from choreo.protocol.dead_letter import ATTEMPTS, UNREADABLE
from choreo.protocol.delivery import CrashEffect, after_crash, is_put_aside, is_resent
from choreo.protocol.event import Event, Events, Fact, Run, Timer
from choreo.protocol.idempotent_receiver import NAME as FRONT_DOOR
from choreo.protocol.idempotent_receiver import asks_again
from choreo.protocol.reaction import Subscription
from choreo.runtime.bus import Bus
from choreo.saga.calls.steps import owner_of
from choreo.saga.definition import CrashPoint, RunOf, Saga, Step
from choreo.saga.keys import key_prefix
from choreo.saga.outcome import Outcome
from choreo.saga.request import input_text
from choreo.saga.service import ServiceOf
from choreo.storage.copying import copy_services, restore_services
from choreo.trace.vocabulary import INVARIANT

ORIGIN = "lab"
"""Origin of all idempotency keys in the lab: fixed, so that one seed is one history, and unlike any that a runner
draws."""
DEFAULT_LATENCY_MS = (1, 1)


class Route(Struct, frozen=True, eq=False):
    """Route of one topic to one subscriber, in any run. Lanes of one `channel` have one sender and one subscriber."""

    index: int
    seat: int
    address: str
    subscriber: str
    channel: int
    is_local: bool
    """A timer: it does not travel over the network."""
    is_client: bool
    delay_ms: tuple[int, int]


class Delivery(Struct, frozen=True):
    """One event on its way to one subscriber. `poison` counts the failed attempts to read it; 0: it is readable."""

    route: Route
    event: Event
    poison: int = 0


class Wired(Struct, frozen=True, eq=False):
    """The table and the bus of all runs with the same steps; for each topic the lanes to its subscribers."""

    table: Table
    bus: Bus
    routes: Mapping[str, tuple[Route, ...]]


class RunOfWorld(Struct, frozen=True, eq=False):
    """One run, and its wiring. `is_repeat`: only a repeated request starts it."""

    index: int
    run: Run
    spec: RunOf
    wiring: Wired
    is_repeat: bool


class World:
    """The current state: the `cells` of each run, and the resource store; only `deliver` changes them."""

    def __init__(self, definition: Saga, style: str, service_of: ServiceOf, own: Sequence[OwnInvariant] = ()) -> None:
        """Build the world; `own` are the author's invariants, checked through `observe` and `at_rest`.

        Raises `ValueError` for a cycle of steps, `UnknownService`, `UnfitService`, `NotSnapshotable`, and
        `InvariantError`.
        """
        self.definition = definition
        self.style = style
        self.guarantees = definition.guarantees
        self.notes: list[Effect] = []
        self.choose: Callable[[str], bool] = lambda _: False
        """Decides free choices; the driver sets it."""
        self.chosen: list[tuple[str, bool]] = []
        """The free choices of the last delivery, and whether the call fails."""
        self._published: list[Event] = []
        specs = list(_specs(definition))
        needs = {run.id: _locks(definition.steps_of(spec)) for run, spec, _ in specs}
        self.books = ResourceStore(definition.resources, self.guarantees, needs, self.notes.append)
        inner = inner_services(definition, service_of)
        owners = {step: owner_of(service) for step, service in inner.items() if service is not None}
        self._inner = list({id(owner): owner for owner in owners.values()}.values())
        self._services = {
            step.name: LabService(step, inner[step.name], self.books, self._chosen, self.notes.append)
            for step in definition.steps
        }
        self.routes: list[Route] = []
        self._channels: dict[tuple[int, str, str], int] = {}
        self._wirings: dict[tuple[str, ...] | None, Wired] = {}
        self.runs = [
            RunOfWorld(index, run, spec, self._wiring(spec, None if repeat else _again(specs, index)), repeat)
            for index, (run, spec, repeat) in enumerate(specs)
        ]
        self.run_of = {run.run.id: run for run in self.runs}
        self.cells: dict[str, list[Any]] = {run.run.id: list(run.wiring.table.cells) for run in self.runs}
        """The cells of each run, by its id."""
        self._fresh = self.copy_shared()
        self._has_own = bool(own)
        self.checks = StateChecks(own, ServicesState(owners))
        self.violated_at_start = self.checks.violated()
        """The titles of the author's invariants that are false before any delivery."""
        self.events_max = sum(run.events_max for run in known_of(definition).runs.values())
        """Upper bound on the events of all its runs together."""

    def reset(self) -> None:
        """Restore the initial state."""
        for run in self.runs:
            self.cells[run.run.id][:] = run.wiring.table.cells
        self.restore_shared(self._fresh)

    # The initial events

    def start(self) -> list[tuple[int, Delivery]]:
        """Return the first deliveries, with the virtual time of each in milliseconds."""
        return [(at_ms, delivery) for at_ms, event in self.first_events() for delivery in self.deliveries_of(event)]

    def first_events(self) -> list[tuple[int, Event]]:
        """Return the initial events of clients, with or without subscribers, with the virtual time of each."""
        first = []
        for run in self.runs:
            if not run.is_repeat:
                first.append((run.spec.start_ms, Event(STARTED, run.run)))
                if run.spec.ask_again_ms is not None:
                    first.append((run.spec.start_ms, Event(asks_again(run.spec.ask_again_ms), run.run)))
        return first

    def deliveries_of(self, event: Event) -> list[Delivery]:
        """Return the deliveries of an event, one for each subscriber."""
        return [Delivery(route, event) for route in self.run_of[event.run.id].wiring.routes.get(event.topic.name, ())]

    # One local transaction

    def deliver(self, event: Event, route: Route) -> list[Event]:
        """Let the subscriber react; return the events that it publishes.

        `notes` has the effects of its service, until the next delivery. Raises `ResourceLocked` if a lock is not free;
        then no state has changed.
        """
        self.notes.clear()
        self.chosen.clear()
        published = self._published = []
        run_id = event.run.id
        self.run_of[run_id].wiring.bus.emit(route.address, event, self.cells[run_id])
        for each in published:
            if each.detail.__class__ is Outcome and each.topic.source != FRONT_DOOR:
                self.books.end(each.run.id)
        return published

    def observe(self, route: Route) -> None:
        """Check the author's invariants after a delivery that stays committed, and note those that are false."""
        if self._has_own and self.notes:  # without a call the services are as before
            for title in self.checks.violated():
                self.notes.append(Effect(INVARIANT, route.subscriber, -1, "", title))

    def at_rest(self) -> tuple[Violation, ...]:
        """Return the violations of the author's invariants in the current state, in which nothing is in flight."""
        return self.checks.violated_at_rest()

    def resends(self, route: Route) -> bool:
        """Return whether a lost delivery of this lane is sent again. A timer is never lost."""
        return route.is_local or is_resent(self.guarantees)

    def puts_aside(self, attempts: int) -> bool:
        """Return whether a delivery becomes a dead letter after so many failed attempts."""
        return is_put_aside(self.guarantees, attempts)

    def unread(self, delivery: Delivery) -> Delivery:
        """Return the delivery after one more failed attempt. The count stops at three."""
        return Delivery(delivery.route, delivery.event, min(delivery.poison + 1, ATTEMPTS))

    def dead_letter(self, delivery: Delivery) -> Event:
        """Return the dead letter for an event that its subscriber could not read.

        Its number distinguishes it from others.
        """
        route, event = delivery.route, delivery.event
        why = f"{route.subscriber} cannot read {event.id}"
        return Event(UNREADABLE, event.run, event.topic, why, route.index + 1, event.number)

    def after_crash(self, point: CrashPoint) -> CrashEffect:
        """Return the remains of a crash at that point."""
        return after_crash(self.guarantees, point)

    # Copies of the shared state; cells are values already, and `deliver` changes only the subscriber's

    def copy_shared(self) -> tuple[Any, ...]:
        """Return the resource store, and the fields of the author's services, as a value."""
        return self.books.copy(), copy_services(self._inner)

    def restore_shared(self, copied: tuple[Any, ...]) -> None:
        books, services = copied
        self.books.restore(books)
        restore_services(self._inner, services)

    # Construction

    def _chosen(self, call: str) -> bool:
        fails = self.choose(call)
        self.chosen.append((call, fails))
        return fails

    def _publish(self, events: Events) -> None:
        self._published.extend(events)

    def _wiring(self, spec: RunOf, again: Run | None) -> Wired:
        """Return the wiring of the runs with the same steps; a run whose request may be repeated has its own."""
        if again is None and spec.steps in self._wirings:
            return self._wirings[spec.steps]
        table = wired(self.definition, spec, self.style, self._services.__getitem__, again)
        routes: dict[str, dict[int, Route]] = {}
        number = len(self._channels)
        for row in table.subscriptions:
            of_topic = routes.setdefault(row.topic.name, {})
            if row.seat not in of_topic:
                of_topic[row.seat] = route = self._route(number, row, table)
                self.routes.append(route)
        by_topic = {name: tuple(each.values()) for name, each in routes.items()}
        wiring = Wired(table, Bus(table, self._publish, _address), by_topic)
        if again is None:
            self._wirings[spec.steps] = wiring
        return wiring

    def _route(self, wiring: int, row: Subscription, table: Table) -> Route:
        topic = row.topic
        is_local = isinstance(topic.fact, Timer)
        key = (wiring, topic.source, f"{row.seat} {topic.name}" if is_local else str(row.seat))
        channel = self._channels.setdefault(key, len(self._channels))
        delay = topic.after_ms if is_local else DEFAULT_LATENCY_MS
        is_client = row.seat == table.client
        return Route(len(self.routes), row.seat, _address(row), row.subscriber, channel, is_local, is_client, delay)


def may_be_poisoned(event: Event) -> bool:
    """Return whether an event may become unreadable; a dead letter may not, or there might be letters about letters."""
    return event.topic.fact is not Fact.UNREADABLE


def _address(row: Subscription) -> str:
    return f"{row.seat}<{row.topic.name}"


def _specs(definition: Saga) -> list[tuple[Run, RunOf, bool]]:
    """Return every possible run: those to start, each followed by the run that a repeated request would start."""
    specs: list[tuple[Run, RunOf, bool]] = []
    for number, spec in enumerate(definition.all_runs(), start=1):
        specs.append((_run(f"run-{number}", spec), spec, False))
        if spec.ask_again_ms is not None:
            specs.append((_run(f"run-{number}-again", spec), spec, True))
    return specs


def _run(run: str, spec: RunOf) -> Run:
    text = None if spec.input is None else input_text(spec.input)
    return Run(run, spec.saga_id, key_prefix(ORIGIN, run), input=text, has_result=text is not None)


def _again(specs: list[tuple[Run, RunOf, bool]], index: int) -> Run | None:
    """Return the run that a repeated request would start."""
    return specs[index + 1][0] if specs[index][1].ask_again_ms is not None else None


def _locks(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for step in steps for name in step.locks))

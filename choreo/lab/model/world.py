"""The world of one definition in one style: every run with its cells and its bus, and the books that they share.

Laws: the simulator and the explorer both drive this, through `deliver`; neither knows how anything reacts. A delivery
is one local transaction: the cell, the services' records and what is to be published change together, or not at all.
What a delivery is promised is looked up in `protocol/delivery.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from choreo.compile.table import STARTED, Table
from choreo.compile.wiring import wired
from choreo.invariants.known import known_of
from choreo.lab.model.resources import Books, Note
from choreo.lab.model.services import LabService
from choreo.protocol.dead_letter import ATTEMPTS, UNREADABLE
from choreo.protocol.delivery import Remains, after_crash, is_put_aside, is_resent
from choreo.protocol.event import Event, Events, Fact, Run, Timer
from choreo.protocol.idempotent_receiver import NAME as FRONT_DOOR
from choreo.protocol.idempotent_receiver import asks_again
from choreo.protocol.reaction import Subscription
from choreo.runtime.bus import Bus
from choreo.saga.calling import fit
from choreo.saga.definition import CrashPoint, Definition, RunOf, Step
from choreo.saga.keys import key_prefix
from choreo.saga.lookup import known_services
from choreo.saga.outcome import Outcome
from choreo.saga.service import Service, ServiceOf
from choreo.storage.copying import copy_services, restore_services

SIMULATED_SERVICE = "simulated"
ORIGIN = "lab"
"""Of all idempotency keys in the lab: fixed, so that one seed is one history, and like none that a runner draws."""
DEFAULT_LATENCY_MS = (1, 1)


class Lane(Struct, frozen=True, eq=False):
    """The way of one topic to one hearer, whatever the run. Lanes of one `channel` have one sender and one hearer."""

    index: int
    seat: int
    address: str
    hearer: str
    channel: int
    is_local: bool
    """A timer: it travels over no network."""
    is_client: bool
    delay_ms: tuple[int, int]


class Delivery(Struct, frozen=True):
    """One event on its way to one hearer. `poison` counts how often it could not be read; 0: it can."""

    lane: Lane
    event: Event
    poison: int = 0


class Wired(Struct, frozen=True, eq=False):
    """The table and the bus of all runs that take the same steps; for each topic the lanes to those who hear it."""

    table: Table
    bus: Bus
    lanes: Mapping[str, tuple[Lane, ...]]


class RunOfWorld(Struct, frozen=True, eq=False):
    """One run, and how it is wired. `is_repeat`: it is started by a repeated request only."""

    index: int
    run: Run
    spec: RunOf
    wiring: Wired
    is_repeat: bool


class World:
    """What is there now: `cells` of each run, and the books; both are changed by `deliver` alone."""

    def __init__(self, definition: Definition, style: str, service_of: ServiceOf) -> None:
        """Raises `ValueError` for steps in a circle, `UnknownService`, `UnfitService`, and `NoCopy`."""
        self.definition = definition
        self.style = style
        self.guarantees = definition.guarantees
        self.notes: list[Note] = []
        self.choose: Callable[[str], bool] = lambda _: False
        """Decides free choices; the driver's to set."""
        self._published: list[Event] = []
        specs = list(_specs(definition))
        needs = {run.id: _locks(definition.steps_of(spec)) for run, spec, _ in specs}
        self.books = Books(definition.resources, self.guarantees, needs, self.notes.append)
        inner = _inner_services(definition, service_of)
        self._inner = list({id(service): service for service in inner.values() if service is not None}.values())
        self._services = {
            step.name: LabService(step, inner[step.name], self.books, lambda what: self.choose(what), self.notes.append)
            for step in definition.steps
        }
        self.lanes: list[Lane] = []
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
        self.events_max = sum(run.events_max for run in known_of(definition).runs.values())
        """More events than all its runs together can account for."""

    def reset(self) -> None:
        """As it was to begin with."""
        for run in self.runs:
            self.cells[run.run.id][:] = run.wiring.table.cells
        self.restore_shared(self._fresh)

    # What there is to begin with

    def start(self) -> list[tuple[int, Delivery]]:
        """The first deliveries, with the virtual time of each in milliseconds."""
        return [(at_ms, delivery) for at_ms, event in self.first_events() for delivery in self.deliveries_of(event)]

    def first_events(self) -> list[tuple[int, Event]]:
        """What clients publish to begin with, whether or not somebody hears it, with the virtual time of each."""
        first = []
        for run in self.runs:
            if not run.is_repeat:
                first.append((run.spec.start_ms, Event(STARTED, run.run)))
                if run.spec.ask_again_ms is not None:
                    first.append((run.spec.start_ms, Event(asks_again(run.spec.ask_again_ms), run.run)))
        return first

    def deliveries_of(self, event: Event) -> list[Delivery]:
        """An event on its way to everybody who hears it."""
        return [Delivery(lane, event) for lane in self.run_of[event.run.id].wiring.lanes.get(event.topic.name, ())]

    # One local transaction

    def deliver(self, event: Event, lane: Lane) -> list[Event]:
        """Let the hearer react: what it publishes. What its service did is in `notes`, until the next delivery.

        Raises `Waits` where a lock is not free; then nothing has changed.
        """
        self.notes.clear()
        published = self._published = []
        run_id = event.run.id
        self.run_of[run_id].wiring.bus.emit(lane.address, event, self.cells[run_id])
        for each in published:
            if each.detail.__class__ is Outcome and each.topic.source != FRONT_DOOR:
                self.books.end(each.run.id)
        return published

    def resends(self, lane: Lane) -> bool:
        """Whether what was lost on this lane is sent again. A timer is not lost."""
        return lane.is_local or is_resent(self.guarantees)

    def puts_aside(self, attempts: int) -> bool:
        """Whether what could not be read so often is not delivered any more."""
        return is_put_aside(self.guarantees, attempts)

    def unread(self, delivery: Delivery) -> Delivery:
        """A delivery that could not be read once more. After the third time the count has nothing more to say."""
        return Delivery(delivery.lane, delivery.event, min(delivery.poison + 1, ATTEMPTS))

    def dead_letter(self, delivery: Delivery) -> Event:
        """What is published in place of an event that its hearer could not read. Its number tells it from others."""
        lane, event = delivery.lane, delivery.event
        why = f"{lane.hearer} cannot read {event.id}"
        return Event(UNREADABLE, event.run, event.topic, why, lane.index + 1, event.number)

    def after_crash(self, point: CrashPoint) -> Remains:
        """What a crash at that point leaves behind."""
        return after_crash(self.guarantees, point)

    # Copies of what is shared; cells are values already, and `deliver` changes the hearer's alone

    def copy_shared(self) -> tuple[Any, ...]:
        """The books, and the fields of the author's services, as a value."""
        return self.books.copy(), copy_services(self._inner)

    def restore_shared(self, copied: tuple[Any, ...]) -> None:
        books, services = copied
        self.books.restore(books)
        restore_services(self._inner, services)

    # Building

    def _publish(self, events: Events) -> None:
        self._published.extend(events)

    def _wiring(self, spec: RunOf, again: Run | None) -> Wired:
        """That of the runs with the same steps; one whose request may be repeated has its own."""
        if again is None and spec.steps in self._wirings:
            return self._wirings[spec.steps]
        table = wired(self.definition, spec, self.style, self._services.__getitem__, again)
        lanes: dict[str, dict[int, Lane]] = {}
        number = len(self._channels)
        for row in table.subscriptions:
            of_topic = lanes.setdefault(row.topic.name, {})
            if row.seat not in of_topic:
                of_topic[row.seat] = lane = self._lane(number, row, table)
                self.lanes.append(lane)
        by_topic = {name: tuple(each.values()) for name, each in lanes.items()}
        wiring = Wired(table, Bus(table, self._publish, _address), by_topic)
        if again is None:
            self._wirings[spec.steps] = wiring
        return wiring

    def _lane(self, wiring: int, row: Subscription, table: Table) -> Lane:
        topic = row.topic
        is_local = isinstance(topic.fact, Timer)
        key = (wiring, topic.source, f"{row.seat} {topic.name}" if is_local else str(row.seat))
        channel = self._channels.setdefault(key, len(self._channels))
        delay = topic.after_ms if is_local else DEFAULT_LATENCY_MS
        is_client = row.seat == table.client
        return Lane(len(self.lanes), row.seat, _address(row), row.hearer, channel, is_local, is_client, delay)


def may_be_poisoned(event: Event) -> bool:
    """A dead letter can always be read: it is written by the lab, and else there might be letters about letters."""
    return event.topic.fact is not Fact.UNREADABLE


def _address(row: Subscription) -> str:
    return f"{row.seat}<{row.topic.name}"


def _specs(definition: Definition) -> list[tuple[Run, RunOf, bool]]:
    """Every run that there may be: those to start, and after each the one that a repeated request would start."""
    specs: list[tuple[Run, RunOf, bool]] = []
    for number, spec in enumerate(definition.all_runs(), start=1):
        specs.append((_run(f"run-{number}", spec), spec, False))
        if spec.ask_again_ms is not None:
            specs.append((_run(f"run-{number}-again", spec), spec, True))
    return specs


def _run(run: str, spec: RunOf) -> Run:
    return Run(run, spec.saga_id, key_prefix(ORIGIN, run))


def _again(specs: list[tuple[Run, RunOf, bool]], index: int) -> Run | None:
    """The run that a repeated request would start."""
    return specs[index + 1][0] if specs[index][1].ask_again_ms is not None else None


def _locks(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for step in steps for name in step.locks))


def simulated_steps(definition: Definition) -> tuple[str, ...]:
    """The names of the steps that nobody's service serves."""
    return tuple(step.name for step in definition.steps if is_simulated(step))


def is_simulated(step: Step) -> bool:
    return step.service is None or step.service == SIMULATED_SERVICE


def _inner_services(definition: Definition, service_of: ServiceOf) -> dict[str, Service | None]:
    """The author's service of each step that names one."""
    names = {
        step.name: step.service for step in definition.steps if step.service is not None and not is_simulated(step)
    }
    known = known_services(service_of, dict.fromkeys(names.values()))
    for name, service in known.items():
        fit(service, name)
    return {step.name: known[names[step.name]] if step.name in names else None for step in definition.steps}

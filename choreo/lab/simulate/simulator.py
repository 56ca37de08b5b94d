"""The simulator: one history in virtual time; a clock decides which delivery is next, and a fault plan may interfere.

Laws: the same world, bus, participants and services as everywhere; no real clock, no randomness but the plan's. Heap
keys carry a counter, so that the order never depends on a comparison of events. After the fault period the simulation
continues until no delivery is left.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from msgspec import Struct

from choreo.lab.model.actions import in_words
from choreo.lab.model.records import fault, handled, start_records
from choreo.lab.model.resources import Effect
from choreo.lab.model.world import Delivery, Route, World
from choreo.lab.simulate.faults import DELAY_MS, JITTER_MS, REDELIVERY_MS, RESTART_MS, FaultPlan, Verdict
from choreo.protocol.event import Event
from choreo.saga.definition import CrashPoint, FaultKind
from choreo.saga.service import ResourceLocked
from choreo.trace.record import Record
from choreo.trace.records import published_record
from choreo.trace.vocabulary import CRASH, DEAD_LETTER, DELAY, DUPLICATE, RELEASE, RESTART, UNREADABLE

DELIVERIES_AN_EVENT_MAX = 40
"""Maximum of deliveries, repetitions included, for each expected event; a run with more counts as non-terminating."""

HANDLE = "handle"

UNREADABLE_ATTEMPTS_MAX = 20
"""Without dead letters an unreadable event is redelivered for ever; this many attempts show it."""

Flying = tuple[int, int, Event, Route, int, int]
"""Time, a counter, the event, its lane; the number of this copy, and of failed attempts to read it."""

Entry = tuple[int, str, Event, Route, Any, tuple[Effect, ...]]
"""Time, the action, the event and its lane, the published events (or the reason), and the notes of services."""


class Fired(Struct, frozen=True):
    """A fault that occurred, and its description."""

    verdict: Verdict
    words: str


class Simulation:
    """Runs the world once. Without a plan there are no faults, and every delivery has the minimal latency."""

    def __init__(self, world: World, plan: FaultPlan | None = None) -> None:
        self.world = world
        self.log: list[Entry] = []
        self.fired: list[Fired] = []
        self.choices: list[tuple[str, bool]] = []
        """The free choices of the deliveries that were handled, and whether the call failed."""
        self.handled = 0
        self.now_ms = 0
        self.came_to_rest = False
        self._handled_max = DELIVERIES_AN_EVENT_MAX * world.events_max
        self._plan = plan
        self._heap: list[Flying] = []
        self._count = 0
        self._parked: list[tuple[Event, Route, int, int]] = []
        self._blocked: dict[str, int] = {}
        self._channel_free_ms: dict[tuple[str, int], int] = {}
        self._down_until_ms: dict[str, int] = {}
        self._is_ordered = world.guarantees.ordering
        if plan is not None:
            world.choose = plan.fails

    def run(self) -> "Simulation":
        """Run to the end. Returns itself."""
        for at_ms, delivery in self.world.start():
            self._send(delivery.event, delivery.route, at_ms)
        if self._plan is None:
            self._run_undisturbed()
        else:
            self._run_disturbed(self._plan)
        self.came_to_rest = not self._heap
        return self

    def records(self) -> Iterator[Record]:
        """Yield the trace, numbered from 1, in virtual milliseconds."""
        number = 0
        for at_ms, records in self.moments():
            for record in records:
                number += 1
                record.seq, record.time = number, at_ms
                yield record

    # The main loop

    def _run_undisturbed(self) -> None:
        """Run without a plan, on a fast path that checks for no faults."""
        heap, world, log = self._heap, self.world, self.log
        run_of, deliver, notes = world.run_of, world.deliver, world.notes
        count = self._count
        while heap and self.handled < self._handled_max:
            now_ms, _, event, route, copy, _ = heappop(heap)
            try:
                events = deliver(event, route)
            except ResourceLocked:
                self._parked.append((event, route, copy, 0))
                continue
            self.handled += 1
            log.append((now_ms, HANDLE, event, route, events, tuple(notes) if notes else ()))
            for each in events:
                for to in run_of[each.run.id].wiring.routes.get(each.topic.name, ()):
                    count += 1
                    heappush(heap, (now_ms + to.delay_ms[0], count, each, to, 0, 0))
            if self._parked:
                self._count = count
                self._wake(now_ms)
                count = self._count

    def _run_disturbed(self, plan: FaultPlan) -> None:
        while self._heap and self.handled < self._handled_max:
            now_ms, _, event, route, copy, poison = heappop(self._heap)
            self.now_ms = now_ms
            if self._must_wait(event, route, copy, poison):
                continue
            if poison:
                self._unreadable(event, route, copy, poison)
                continue
            verdict = plan.verdict(event, route, copy, now_ms)
            if verdict is None:
                self._handle(event, route, copy)
            else:
                self._apply_fault(verdict, event, route, copy)

    def _handle(self, event: Event, route: Route, copy: int) -> bool:
        """Run one local transaction, and send its events; return whether it was possible now."""
        try:
            events = self.world.deliver(event, route)
        except ResourceLocked:
            self._parked.append((event, route, copy, 0))
            return False
        self.handled += 1
        self.world.observe(route)
        self.choices += self.world.chosen
        self.log.append((self.now_ms, HANDLE, event, route, events, tuple(self.world.notes)))
        self._send_all(events, self.now_ms)
        if self._parked:
            self._wake(self.now_ms)
        return True

    def _send_all(self, events: list[Event], at_ms: int) -> None:
        for event in events:
            for delivery in self.world.deliveries_of(event):
                self._send(event, delivery.route, at_ms)

    def _send(self, event: Event, route: Route, at_ms: int, copy: int = 0, poison: int = 0) -> None:
        low, high = route.delay_ms
        if self._plan is not None and not copy:
            high += 0 if route.is_local else JITTER_MS
            low = self._plan.within(f"takes {event.id}>{route.subscriber}", low, high)
        self._push(at_ms + low, event, route, copy, poison)

    def _push(self, at_ms: int, event: Event, route: Route, copy: int, poison: int) -> None:
        if self._is_ordered and not route.is_local:
            channel = event.run.id, route.channel
            at_ms = max(at_ms, self._channel_free_ms.get(channel, 0))
            self._channel_free_ms[channel] = at_ms
        self._count += 1
        heappush(self._heap, (at_ms, self._count, event, route, copy, poison))

    def _resend(self, at_ms: int, event: Event, route: Route, copy: int, poison: int = 0) -> bool:
        """Send a lost delivery again if the guarantees say so; return whether they do."""
        resends = self.world.resends(route)
        if resends:
            self._push_back(at_ms, event, route, copy, poison)
        return resends

    def _push_back(self, at_ms: int, event: Event, route: Route, copy: int, poison: int = 0) -> None:
        """Requeue a delivery for later. With `ordering`, later deliveries on the same channel wait for it."""
        if self._is_ordered and not route.is_local:
            behind = [f for f in self._heap if f[3].channel == route.channel and f[2].run is event.run]
            if behind:
                self._heap = sorted(f for f in self._heap if f not in behind)
            self._channel_free_ms[event.run.id, route.channel] = 0
            self._push(at_ms, event, route, copy, poison)
            for flying in sorted(behind):
                self._push(flying[0], *flying[2:])
        else:
            self._push(at_ms, event, route, copy, poison)

    # Waiting

    def _must_wait(self, event: Event, route: Route, copy: int, poison: int) -> bool:
        """Return whether the subscriber is down, or an unreadable delivery blocks its queue."""
        up_ms = self._down_until_ms.get(route.subscriber, 0)
        if self.now_ms < up_ms:
            self._push_back(up_ms, event, route, copy, poison)
            return True
        if not poison and not route.is_local and self._is_ordered and self._blocked.get(route.subscriber):
            self._parked.append((event, route, copy, poison))
            return True
        return False

    def _wake(self, at_ms: int) -> None:
        """Try the waiting deliveries again, in the order of their arrival."""
        parked, self._parked = self._parked, []
        released = any(note.action == RELEASE for note in self.world.notes)
        for event, route, copy, poison in parked:
            if released or (self._blocked and not self._blocked.get(route.subscriber)):
                self._count += 1
                heappush(self._heap, (at_ms, self._count, event, route, copy, poison))
            else:
                self._parked.append((event, route, copy, poison))

    # Faults

    def _apply_fault(self, verdict: Verdict, event: Event, route: Route, copy: int) -> None:
        words = in_words(verdict.kind, Delivery(route, event), verdict.point)
        self.fired.append(Fired(verdict, words))
        match verdict.kind:
            case FaultKind.DROP | FaultKind.PARTITION:
                self.log.append((self.now_ms, str(verdict.kind), event, route, None, ()))
                self._resend(max(self.now_ms + REDELIVERY_MS, verdict.until_ms), event, route, copy + 1)
            case FaultKind.DUPLICATE:
                self.log.append((self.now_ms, DUPLICATE, event, route, None, ()))
                if self._handle(event, route, copy):
                    self._push(self.now_ms + REDELIVERY_MS, event, route, copy + 1, 0)
            case FaultKind.DELAY:
                self.log.append((self.now_ms, DELAY, event, route, None, ()))
                self._push_back(self.now_ms + DELAY_MS, event, route, copy + 1)
            case FaultKind.POISON:
                self._blocked[route.subscriber] = self._blocked.get(route.subscriber, 0) + 1
                self._unreadable(event, route, copy, 1)
            case FaultKind.CRASH:
                self._crash(verdict.point or CrashPoint.BEFORE, event, route, copy)

    def _crash(self, point: CrashPoint, event: Event, route: Route, copy: int) -> None:
        """Crash the subscriber; it restarts after a while with its durable state."""
        world = self.world
        up_ms = self.now_ms + RESTART_MS
        cells, seat = world.cells[event.run.id], route.seat
        remains = world.after_crash(point)
        if remains.is_committed or remains.is_published:
            cell, shared = cells[seat], world.copy_shared()
            try:
                events = world.deliver(event, route)
            except ResourceLocked:
                self._parked.append((event, route, copy, 0))
                return
            self.choices += world.chosen
            if remains.is_committed:
                world.observe(route)
            notes = tuple(world.notes) if remains.is_committed else ()
            self.log.append((self.now_ms, HANDLE, event, route, events if remains.is_published else [], notes))
            if not remains.is_committed:
                cells[seat] = cell
                world.restore_shared(shared)
            if remains.is_published:
                self._send_all(events, up_ms if remains.is_late else self.now_ms)
            if remains.is_committed and self._parked:
                self._wake(self.now_ms)
        self.log.append((self.now_ms, CRASH, event, route, str(point), ()))
        self.log.append((up_ms, RESTART, event, route, None, ()))
        self._down_until_ms[route.subscriber] = up_ms
        self._resend(up_ms, event, route, copy + 1)

    def _unreadable(self, event: Event, route: Route, copy: int, attempt: int) -> None:
        """Deliver an unreadable event: it is redelivered until it becomes a dead letter."""
        self.log.append((self.now_ms, UNREADABLE, event, route, None, ()))
        delivery = Delivery(route, event, attempt)
        if self.world.puts_aside(attempt):
            letter = self.world.dead_letter(delivery)
            self.log.append((self.now_ms, DEAD_LETTER, event, route, letter, ()))
            self._blocked[route.subscriber] -= 1
            self._send_all([letter], self.now_ms)
            self._wake(self.now_ms)
        elif attempt < UNREADABLE_ATTEMPTS_MAX:
            self._push_back(self.now_ms + REDELIVERY_MS, event, route, copy, attempt + 1)

    # The trace

    def moments(self) -> Iterator[tuple[int, tuple[Record, ...]]]:
        """Yield the time and the records of the initial events, and then of each entry of the log."""
        world = self.world
        for at_ms, event in world.first_events():
            yield at_ms, (published_record(event),)
        yield 0, tuple(start_records(world))
        for at_ms, what, event, route, more, notes in sorted(self.log, key=lambda entry: entry[0]):
            if what == HANDLE:
                yield at_ms, handled(event, route, notes, more)
            elif what == DEAD_LETTER:
                yield at_ms, (fault(Delivery(route, event), DEAD_LETTER), published_record(more))
            else:
                yield at_ms, (fault(Delivery(route, event), what, more),)

"""Helpers for all tests: services that keep a ledger, one saga run from start to end, and deliveries in any order.

Laws: real parts of choreo, no mocks. No randomness: every choice is an argument.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from choreo.compile import STYLES, Style
from choreo.compile.table import STARTED, Table
from choreo.protocol.event import Command, Event, Fact, Run
from choreo.protocol.reaction import Subscription
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.definition import Saga
from choreo.saga.keys import execution_key, read_key
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary, Plan, plan
from choreo.saga.service import Refused, Service

ROOT = Path(__file__).parents[1]

Entry = tuple[str, int, str]
"""Step, position, and `execute` or `compensate`."""


class Ledger:
    """Finds a service for every step, and records their calls in one run.

    `calls` lists every call in order, `effects` those that took effect. Local transactions at the positions `refusing`
    are refused; those at `broken` take effect and then raise; compensations at `stubborn` never work.
    """

    def __init__(
        self, refusing: Collection[int] = (), broken: Collection[int] = (), stubborn: Collection[int] = ()
    ) -> None:
        self.refusing, self.broken, self.stubborn = refusing, broken, stubborn
        self.calls: list[Entry] = []
        self.effects: list[Entry] = []

    def service_of(self, step: str) -> Service:
        return _Recorded(self, step)

    @property
    def executed(self) -> list[int]:
        return [position for _, position, verb in self.effects if verb == "execute"]

    @property
    def compensated(self) -> list[int]:
        return [position for _, position, verb in self.effects if verb == "compensate"]

    @property
    def standing(self) -> list[int]:
        """Return the positions whose net effect is not zero."""
        net = Counter(self.executed)
        net.subtract(self.compensated)
        return sorted(position for position, count in net.items() if count)


class _Recorded:
    def __init__(self, ledger: Ledger, step: str) -> None:
        self._ledger, self._step = ledger, step

    def execute(self, reference: str) -> str:
        position = position_in(reference)
        self._ledger.calls.append((self._step, position, "execute"))
        if position in self._ledger.refusing:
            raise Refused(f"refused at {position}")
        self._ledger.effects.append((self._step, position, "execute"))
        if position in self._ledger.broken:
            raise ZeroDivisionError(f"broken at {position}")
        return f"receipt of {reference}"

    def compensate(self, reference: str, receipt: object) -> None:
        position = position_in(reference)
        self._ledger.calls.append((self._step, position, "compensate"))
        if receipt != (None if position in self._ledger.broken else f"receipt of {execution_key(reference)}"):
            raise AssertionError(f"{reference} was compensated with the receipt {receipt!r}")
        if position in self._ledger.stubborn:
            raise Refused("")
        self._ledger.effects.append((self._step, position, "compensate"))


def position_in(reference: str) -> int:
    return read_key(reference).position


class Story(NamedTuple):
    """Result of one saga: its outcome, its services' ledger, its events in order, and the runner's queue afterwards."""

    outcome: Outcome
    ledger: Ledger
    events: list[Event]
    left: list[Event]

    @property
    def topics(self) -> list[str]:
        return [event.topic.name for event in self.events]

    @property
    def outcome_events(self) -> list[Event]:
        return [event for event in self.events if event.detail.__class__ is Outcome]


def tell(
    style: str,
    itinerary: Itinerary,
    ledger: Ledger | None = None,
    fail_step: str | None = None,
    fail_compensation: str | None = None,
) -> Story:
    """Run one saga in process."""
    ledger = Ledger() if ledger is None else ledger
    events: list[Event] = []
    runner = InProcessRunner(ledger.service_of, observe=events.append)
    outcome = runner.execute("saga-1", itinerary, fail_step, fail_compensation, style)
    return Story(outcome, ledger, events, runner._pending)  # noqa: SLF001  # whether it is empty is what is asked


class Expected(NamedTuple):
    state: State
    completed_steps: int
    compensated_steps: tuple[str, ...]
    stuck_step: str | None
    effects: list[Entry]


def expect(itinerary: Itinerary, refusing: Collection[int], stubborn: Collection[int]) -> Expected:
    """Return the expected result of a saga, computed group by group without events: the reference model."""
    steps = plan(itinerary).steps
    effects: list[Entry] = []
    begun: list[list[int]] = []
    has_failed = False
    for group in _groups(itinerary):
        begun.append([position for position in group if position not in refusing])
        effects += [(steps[position], position, "execute") for position in begun[-1]]
        has_failed = len(begun[-1]) < len(group)
        if has_failed:
            break
    if not has_failed:
        return Expected(State.COMPLETED, len(steps), (), None, effects)
    compensated: list[int] = []
    stuck: list[int] = []
    while begun and not stuck:
        group = begun.pop()[::-1]
        stuck = [position for position in group if position in stubborn]
        compensated += [position for position in group if position not in stubborn]
    effects += [(steps[position], position, "compensate") for position in compensated]
    names = tuple(steps[position] for position in compensated)
    if stuck:
        return Expected(State.STUCK, 0, names, steps[stuck[0]], effects)
    return Expected(State.COMPENSATED, 0, names, None, effects)


def _groups(itinerary: Itinerary) -> Iterator[range]:
    position = 0
    for group in itinerary:
        size = 1 if isinstance(group, str) else len(group)
        if size:
            yield range(position, position + size)
        position += size


class Mishap(NamedTuple):
    """Failures of a run: requested by name, or caused by the services at certain positions."""

    fail_step: str | None = None
    fail_compensation: str | None = None
    refusing: frozenset[int] = frozenset()
    stubborn: frozenset[int] = frozenset()

    def ledger(self) -> Ledger:
        return Ledger(refusing=self.refusing, stubborn=self.stubborn)

    def refusing_in(self, plan: Plan) -> frozenset[int]:
        """Return the positions that refuse, for either reason."""
        first = None if self.fail_step is None else plan.position_of(self.fail_step)
        return self.refusing if first is None else self.refusing | {first}

    def stubborn_in(self, plan: Plan) -> frozenset[int]:
        named = (position for position, step in enumerate(plan.steps) if step == self.fail_compensation)
        return self.stubborn | frozenset(named)


WEIRD_NAMES = (
    *("a", "b", "c", "a/b", "a/succeeded", "a/succeeded/2", "succeeded", "succeeded/2", "2", "/", "//", ""),
    *("error", "new_listener", "saga", "step", "started", "saga/started", "step/a/succeeded", "coordinator", "client"),
    *("orchestrator", " ", "\n", "\x00", "\ud800", "\udfff\ud800", "é", "e\u0301", "한국", "\u202e", "\U0001f6eb"),
    "x" * 10_000,
)

NAMES = st.sampled_from(WEIRD_NAMES) | st.text(st.characters(), max_size=8)


def itineraries(width_max: int = 4, depth_max: int = 6) -> st.SearchStrategy[Itinerary]:
    """Generate chains, groups, empty groups, repeated names."""
    groups = st.lists(NAMES, max_size=width_max).map(tuple)
    return st.lists(NAMES | groups, max_size=depth_max).map(tuple)


def itinerary_of(widths: Sequence[int]) -> Itinerary:
    """Build groups of these widths, with steps named a, b, c, …"""
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    return tuple(tuple(islice(letters, width)) for width in widths)


SMALL_ITINERARIES = st.lists(st.integers(1, 3), max_size=4).map(itinerary_of)


@st.composite
def sagas(draw: st.DrawFn, steps: st.SearchStrategy[Itinerary] | None = None) -> tuple[Itinerary, Mishap]:
    """Generate an itinerary and its failures."""
    itinerary = draw(itineraries() if steps is None else steps)
    members = plan(itinerary).steps
    here = st.sampled_from(members) if members else st.nothing()
    fail_step = draw(st.none() | here | NAMES)
    fail_compensation = draw(st.none() | here | NAMES)
    return itinerary, Mishap(fail_step, fail_compensation, draw(_some_of(members)), draw(_some_of(members)))


@st.composite
def small_sagas(draw: st.DrawFn) -> tuple[Itinerary, Mishap]:
    """Generate a small itinerary, and services that refuse at some of its positions."""
    itinerary = draw(SMALL_ITINERARIES)
    members = plan(itinerary).steps
    return itinerary, Mishap(refusing=draw(_some_of(members)), stubborn=draw(_some_of(members)))


def _some_of(members: Sequence[str]) -> st.SearchStrategy[frozenset[int]]:
    """Generate a few positions; rarely many."""
    if not members:
        return st.just(frozenset())
    return st.just(frozenset()) | st.frozensets(st.integers(0, len(members) - 1), max_size=3)


class Choice(NamedTuple):
    """Index of the next pending delivery, modulo their number, and whether it is delivered twice."""

    index: int = 0
    again: bool = False


class Delivery(NamedTuple):
    event: Event
    number: int
    subscriber: Subscription


class AnyOrder:
    """Delivers the events of one run in any chosen order; after the choices are used up, first in, first out.

    With `causal`, a subscriber receives an event only after all causes of it that the subscriber receives at all.
    `late` is a topic and a subscriber: that delivery comes after all others. `published` has every published event in
    order, and `observe` is called with each.
    """

    def __init__(
        self,
        table: Table,
        run: Run,
        causal: bool = False,
        late: tuple[str, str] | None = None,
        observe: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.cells = list(table.cells)
        self.published: list[Event] = []
        self.events_max = 20 * (len(table.plan.steps) + 2)
        self._causal = causal
        self._late = late
        self._observe = observe
        self._pending: list[Delivery] = []
        self._past = [0] * len(table.cells)  # a bit for each event that a seat knows, and for its causes
        self._past_of_event: list[int] = []
        self._rows: dict[str, list[Subscription]] = {}
        for row in table.subscriptions:
            self._rows.setdefault(row.topic.name, []).append(row)
        self._publish(table.client, (Event(STARTED, run),))

    def deliver_all(self, choices: Iterable[Choice] = ()) -> None:
        """Make every delivery; raise where the run never ends."""
        remaining = iter(choices)
        while self._pending:
            choice = next(remaining, Choice())
            possible = self._possible()
            delivery = possible[choice.index % len(possible)]
            if not choice.again:
                self._pending.remove(delivery)
            self._deliver(delivery)

    def _deliver(self, delivery: Delivery) -> None:
        seat = delivery.subscriber.seat
        self._past[seat] |= self._past_of_event[delivery.number]
        self.cells[seat], events = delivery.subscriber.react(self.cells[seat], delivery.event)
        self._publish(seat, events)

    def _publish(self, seat: int, events: Sequence[Event]) -> None:
        for event in events:
            number = len(self.published)
            if number == self.events_max:
                raise AssertionError(f"more than {number} events: {[event.topic.name for event in self.published]}")
            self._past[seat] |= 1 << number
            self.published.append(event)
            self._observe(event)
            self._past_of_event.append(self._past[seat])
            self._pending.extend(Delivery(event, number, row) for row in self._rows[event.topic.name])

    def _possible(self) -> list[Delivery]:
        if self._causal:
            return [d for d in self._pending if not self._must_wait(d)]
        if self._late is not None:
            return [
                d for d in self._pending if (d.event.topic.name, d.subscriber.subscriber) != self._late
            ] or self._pending
        return self._pending

    def _must_wait(self, delivery: Delivery) -> bool:
        past = self._past_of_event[delivery.number]
        return any(
            other.subscriber.seat == delivery.subscriber.seat
            and other.number != delivery.number
            and past >> other.number & 1
            for other in self._pending
        )


def choices(duplicates: bool = False) -> st.SearchStrategy[list[Choice]]:
    again = st.booleans() if duplicates else st.just(False)
    return st.lists(st.builds(Choice, st.integers(0, 15), again), max_size=60)


class ParsedTrace(NamedTuple):
    """Result of one run whose deliveries were made in a chosen order."""

    plan: Plan
    events: list[Event]
    ledger: Ledger
    standing: list[list[int]]
    """Positions in force at the moment of each outcome."""

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.detail for event in self.events if isinstance(event.detail, Outcome)]

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.outcomes
        return outcome


def deliver(
    style: Style,
    itinerary: Itinerary,
    mishap: Mishap,
    order: Iterable[Choice] = (),
    causal: bool = False,
    late: tuple[str, str] | None = None,
) -> ParsedTrace:
    """Run one saga, its deliveries made in the given order."""
    compiled, ledger = plan(itinerary), mishap.ledger()
    standing: list[list[int]] = []

    def observe(event: Event) -> None:
        if isinstance(event.detail, Outcome):
            standing.append(ledger.standing)

    fail_position = None if mishap.fail_step is None else compiled.position_of(mishap.fail_step)
    run = Run("run-1", "saga-1", "test.1.", fail_position, mishap.fail_compensation)
    scheduler = AnyOrder(style(Saga.of(itinerary), ledger.service_of), run, causal, late, observe)
    scheduler.deliver_all(order)
    return ParsedTrace(compiled, scheduler.published, ledger, standing)


def blocked_by(plan: Plan, stuck: Iterable[int]) -> list[int]:
    """Return the stuck positions and all positions before them: none of those can be compensated."""
    blocked = set(stuck)
    for position in reversed(range(len(plan.steps))):
        if not blocked.isdisjoint(plan.successors[position]):
            blocked.add(position)
    return sorted(blocked)


def table_of(style: str, itinerary: Itinerary, ledger: Ledger | None = None) -> Table:
    return STYLES[style](Saga.of(itinerary), (ledger or Ledger()).service_of)


def positions_of(events: Iterable[Event], fact: Fact | Command) -> list[int]:
    """Return the positions of the steps of which this fact was published, in order."""
    return [event.topic.position for event in events if event.topic.step is not None and event.topic.fact == fact]


def in_fresh_process(call: Callable[..., object], *args: object) -> str:
    """Return the output of a module-level function called in a new interpreter."""
    code = f"from {call.__module__} import {call.__name__} as call; call(*{args!r})"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:] or f"exit status {finished.returncode}"
    return finished.stdout

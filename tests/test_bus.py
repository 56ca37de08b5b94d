"""The bus: pyee carries every event, nobody emits inside an emit, nothing goes unheard. And its owner, the runner."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from pyee import EventEmitter

from choreo.compile import STYLES
from choreo.compile.table import STARTED, Style, Table
from choreo.protocol.event import Event, Fact, Run, Topic
from choreo.protocol.reaction import Cell, Phase, Subscription, moves
from choreo.runtime.bus import Bus, Cells, UnheardEvent
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.definition import Saga
from choreo.saga.outcome import State
from choreo.saga.plan import Itinerary
from choreo.saga.service import ServiceOf
from tests.stories import Ledger, Mishap, sagas, table_of, tell

RUN = Run("run-1", "saga-1", "test.1.")

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class ByTheBook(Bus):
    """The same bus, its listeners reached in pyee's own way."""

    _call_handlers = EventEmitter._call_handlers  # noqa: SLF001  # pyee's is what is compared

    def _emit_run(self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        event, cells = args
        cells[f.seat], events = f.react(cells[f.seat], event)
        if events:
            self._publish(events)


class Emits:
    """Stands in for pyee's `emit`: counts the events that pass, and how deeply emits are nested."""

    def __init__(self, emit: Callable[..., bool]) -> None:
        self._emit = emit
        self._depth = 0
        self.depth_max = 0
        self.names: list[str] = []

    def __call__(self, bus: EventEmitter, name: str, *args: Any, **kwargs: Any) -> bool:
        if name != "new_listener":
            self.names.append(name)
        self._depth += 1
        self.depth_max = max(self.depth_max, self._depth)
        try:
            return self._emit(bus, name, *args, **kwargs)
        finally:
            self._depth -= 1


@pytest.fixture
def emits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emits]:
    counting = Emits(EventEmitter.emit)
    monkeypatch.setattr(EventEmitter, "emit", lambda *args, **kwargs: counting(*args, **kwargs))
    return counting


def told_by(told: list[tuple[int, str]], name: str = "step/a/succeeded", count: int = 3) -> Table:
    """A table in which so many hearers note that they heard the topic."""
    topic = Topic(name, Fact.SUCCEEDED, "a", "a", 0)

    def note(seat: int) -> Subscription:
        def react(cell: Cell, event: Event) -> tuple[Cell, tuple[Event, ...]]:
            told.append((seat, event.topic.name))
            return cell, ()

        return Subscription(topic, seat, f"hearer {seat}", moves(dict.fromkeys(Phase, react)))

    empty = table_of("choreography", ())
    return Table(empty.plan, tuple(map(note, range(count))), ("",) * count, (Cell(),) * count)


def drained(bus_of: type[Bus], itinerary: Itinerary, style: str, mishap: Mishap) -> tuple[list[Event], Cells, Ledger]:
    """One run over a bus of this type: all that was published, and the cells at the end."""
    ledger = mishap.ledger()
    table = table_of(style, itinerary, ledger)
    fail_position = table.plan.position_of(mishap.fail_step)
    pending = [Event(STARTED, Run("run-1", "saga-1", "test.1.", fail_position, mishap.fail_compensation))]
    cells = list(table.cells)
    bus_of(table, pending.extend).drain(pending, cells)
    return pending, cells, ledger


@both_styles
def test_every_event_travels_over_pyee(style: str, emits: Emits) -> None:
    """Each event of a run is emitted once by pyee's own emit, in the order in which it is observed."""
    itinerary = ("a", ("b", "c"), "error", ("new_listener", "d"))

    story = tell(style, itinerary, fail_step="d", fail_compensation="a")

    assert emits.names == story.topics
    assert len(emits.names) > 10


@both_styles
def test_nobody_emits_inside_an_emit(style: str, emits: Emits) -> None:
    """The events of a reaction are queued; the current emit is over before the next one begins."""
    tell(style, ("a", ("b", "c"), "d", ("e", "f")), fail_step="f")

    assert emits.depth_max == 1


@both_styles
@settings(deadline=None)
@given(sagas())
def test_the_bus_agrees_with_pyee(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """The way in which listeners are reached is pyee's, only without the copy: the same events, cells and calls."""
    itinerary, mishap = saga

    ours, cells, ledger = drained(Bus, itinerary, style, mishap)

    theirs, their_cells, their_ledger = drained(ByTheBook, itinerary, style, mishap)
    assert ours == theirs
    assert cells == their_cells
    assert ledger.calls == their_ledger.calls


@pytest.mark.parametrize("bus_of", [Bus, ByTheBook])
def test_listeners_are_told_in_the_order_in_which_they_came(bus_of: type[Bus]) -> None:
    """The rows of a table are told from the first to the last."""
    told: list[tuple[int, str]] = []
    table = told_by(told)
    bus = bus_of(table, list[Event]().extend)

    is_heard = bus.emit("step/a/succeeded", Event(table.subscriptions[0].topic, RUN), list(table.cells))

    assert is_heard is True
    assert [seat for seat, _ in told] == [0, 1, 2]


@pytest.mark.parametrize("bus_of", [Bus, ByTheBook])
def test_a_listener_that_was_removed_is_not_told(bus_of: type[Bus]) -> None:
    """Removing the last one leaves the topic unheard, and emit says so."""
    told: list[tuple[int, str]] = []
    table = told_by(told)
    bus = bus_of(table, list[Event]().extend)
    first, second, third = table.subscriptions
    event, cells = Event(first.topic, RUN), list(table.cells)

    bus.remove_listener("step/a/succeeded", second)
    with_two = bus.emit("step/a/succeeded", event, cells)
    bus.remove_listener("step/a/succeeded", first)
    bus.remove_listener("step/a/succeeded", third)
    with_none = bus.emit("step/a/succeeded", event, cells)

    assert [seat for seat, _ in told] == [0, 2]
    assert (with_two, with_none) == (True, False)


@pytest.mark.parametrize("bus_of", [Bus, ByTheBook])
@pytest.mark.parametrize("forget", ["step/a/succeeded", None])
def test_a_topic_without_listeners_is_not_handled(bus_of: type[Bus], forget: str | None) -> None:
    """After all listeners of a topic or of the whole bus were removed, no listener is called."""
    told: list[tuple[int, str]] = []
    table = told_by(told)
    bus = bus_of(table, list[Event]().extend)

    bus.remove_all_listeners(forget)

    assert bus.emit("step/a/succeeded", Event(table.subscriptions[0].topic, RUN), list(table.cells)) is False
    assert told == []


@pytest.mark.parametrize("name", ["step/tour/succeeded", "saga/cancelled", "step/\ud800/failed"])
def test_an_event_that_nobody_hears_is_an_error_of_the_wiring(name: str) -> None:
    """It is raised where it happens, and names the topic."""
    bus = Bus(table_of("choreography", ("a",)), list[Event]().extend)
    topic = Topic(name, Fact.SUCCEEDED, "tour", "tour", 7)

    with pytest.raises(UnheardEvent) as unheard:
        bus.drain([Event(topic, RUN)], [])

    assert str(unheard.value) == f"nobody has subscribed to {name!r}"


def test_events_are_observed_before_they_are_emitted() -> None:
    """The observer receives each event once, before any participant reacts to it."""
    seen: list[tuple[str, int]] = []
    ledger = Ledger()
    runner = InProcessRunner(ledger.service_of, observe=lambda e: seen.append((e.topic.name, len(ledger.calls))))

    runner.execute("saga-1", ("a", "b"))

    assert seen == [("saga/started", 0), ("step/a/succeeded", 1), ("step/b/succeeded", 2), ("saga/completed", 2)]


# --- the runner -------------------------------------------------------------------------------------------------------


class Compiled:
    """A style that counts how often an itinerary was compiled."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self.sagas: list[Saga] = []

    def __call__(self, saga: Saga, service_of: ServiceOf) -> Table:
        self.sagas.append(saga)
        return self._style(saga, service_of)


def test_an_itinerary_is_wired_once() -> None:
    """Running the same itinerary again uses the bus that is already there; another style or itinerary does not."""
    styles = {name: Compiled(style) for name, style in STYLES.items()}
    runner = InProcessRunner(Ledger().service_of, styles)

    for style, itinerary in [("choreography", ("a",)), ("orchestration", ("a",)), ("choreography", (("a",),))] * 3:
        runner.execute("saga-1", itinerary, style=style)

    assert [len(compiled.sagas) for compiled in (styles["choreography"], styles["orchestration"])] == [2, 1]


def test_runs_of_one_itinerary_share_no_memory() -> None:
    """A failed run leaves no state to the next one, even under the same saga id."""
    ledger = Ledger()
    events: list[Event] = []
    runner = InProcessRunner(ledger.service_of, observe=events.append)

    outcomes = [runner.execute("saga-1", ("a", "b"), fail_step) for fail_step in ("b", None, "a", "b", None)]

    assert [outcome.state for outcome in outcomes] == [
        State.COMPENSATED,
        State.COMPLETED,
        State.COMPENSATED,
        State.COMPENSATED,
        State.COMPLETED,
    ]
    assert len({event.id for event in events}) == len(events)
    assert {event.run.saga_id for event in events} == {"saga-1"}


class Interrupting:
    """A service that is interrupted from outside while it works."""

    def execute(self, reference: str) -> object:
        raise KeyboardInterrupt

    def compensate(self, reference: str, receipt: object) -> None:
        raise AssertionError("it never succeeded")


@both_styles
def test_a_run_that_broke_off_does_not_disturb_the_next(style: str) -> None:
    """The queue is empty after an interrupt, and the same itinerary runs again from the start."""
    ledger = Ledger()
    services = iter([ledger.service_of("a"), Interrupting(), ledger.service_of("c")])
    runner = InProcessRunner(lambda step: next(services))

    with pytest.raises(KeyboardInterrupt):
        runner.execute("saga-1", (("a", "b", "c"),), style=style)

    assert runner._pending == []  # noqa: SLF001  # whether it is empty is what is asked
    outcome = runner.execute("saga-2", (("a", "b", "c"),), fail_step="b", style=style)
    assert outcome.compensated_steps == ("c", "a")


@both_styles
def test_saga_ids_are_echoed_and_never_interpreted(style: str) -> None:
    """An integer stays an integer, and a strange string is carried as it is."""
    events: list[Event] = []
    runner = InProcessRunner(Ledger().service_of, observe=events.append)

    for saga_id in (7, "7", "", "\ud800", "x" * 10_000):
        runner.execute(saga_id, ("a",), style=style)

    assert [event.run.saga_id for event in events if event.topic == STARTED] == [7, "7", "", "\ud800", "x" * 10_000]

"""Every state that a small definition can reach within a budget of faults, breadth first.

Laws: what reacts is the services and participants themselves; each different (cell, shared state, delivery) runs once
and is remembered. A state is three numbers: the cells with what is shared, what is in flight, and what the trace has
told; equal parts are kept once. Faults come last in nothing: wherever one is possible, it is taken as well. Nothing is
called safe unless every state was seen.
"""

import gc
import pickle
import resource
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from choreo.domain.coordinator import Collected
from choreo.domain.definition import CrashPoint, Definition, FaultKind
from choreo.domain.event import Event
from choreo.domain.orchestrator import Directed
from choreo.domain.reaction import COMPENSATED, Cell
from choreo.domain.service import ServiceOf, Waits
from choreo.domain.timed import FINAL
from choreo.invariants.checkers import INVARIANTS, Broken, Invariant
from choreo.invariants.history import History
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.lab.channels import Channels, Flight
from choreo.lab.dead import living_phases
from choreo.lab.graph import traps
from choreo.lab.records import delivered, fault, handled, published
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.lab.world import Delivery, Lane, World
from choreo.trace.record import Record

STATES_MAX = 5_000_000
MEMORY_MB_MAX = 4_000
SECONDS_MAX = 600.0
LOOK_EVERY = 64

Progress = Callable[[int, int], None]
"""Told how many states are known, and how many of them were looked at."""


class Limits(Struct, frozen=True):
    """Where an exploration stops, and claims no proof."""

    states: int = STATES_MAX
    memory_mb: int = MEMORY_MB_MAX
    seconds: float = SECONDS_MAX


class Act(NamedTuple):
    """One transition, decoded: what happened to a delivery. `fault` is None where it simply arrived."""

    number: int
    alternative: int
    fault: FaultKind | None
    point: CrashPoint | None


HAPPENINGS: tuple[tuple[FaultKind | None, CrashPoint | None], ...] = (
    (None, None),
    (FaultKind.DROP, None),
    (FaultKind.DUPLICATE, None),
    (FaultKind.POISON, None),
    *((FaultKind.CRASH, point) for point in CrashPoint),
)
NAMES = [str(kind) for kind, _ in HAPPENINGS]
DROPPED, DUPLICATED, POISONED = 1, 2, 3
CRASHED = {point: 4 + index for index, point in enumerate(CrashPoint)}


def encoded(number: int, alternative: int = 0, happening: int = 0) -> int:
    """An act as a number, as it is kept with each state."""
    return number << 16 | alternative << 8 | happening


def decoded(act: int) -> Act:
    return Act(act >> 16, act >> 8 & 0xFF, *HAPPENINGS[act & 0xFF])


class Reaction(Struct, frozen=True, eq=False):
    """What came of a delivery to one cell: numbers of the next cell, the shared state and the effect."""

    cell: int
    shared: int
    sent: tuple[int, ...]
    effect: int
    choices: tuple[str, ...]
    only_committed: int
    only_published: int


Settled = tuple[int, int, tuple[tuple[int, int], ...]]
"""A ground and a flight without what is dead, and the numbers and effects of the dead deliveries."""

Step = tuple[int, int, int, int]
"""A transition out of a state: to which ground and which flight, with which effect on the history, by which act."""


class Violation(Exception):
    """Found: the state that the last act starts from, the act (None: at rest), and what is broken."""

    def __init__(self, state: int, act: int | None, broken: tuple[Broken, ...]) -> None:
        super().__init__(state, act, broken)
        self.state, self.act, self.broken = state, act, broken


class Numbered:
    """Values and their numbers; what cannot be hashed goes by its pickle."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number_of(self, value: Any) -> int:
        try:
            number = self._numbers.setdefault(value, len(self.values))
        except TypeError:
            number = self._numbers.setdefault(pickle.dumps(value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


NO_EFFECT = 0

Befall = Callable[["Explorer", int, int, int], Sequence[Step]]
"""What may befall a delivery: the transitions that it makes."""


class Explorer:
    """Explores one definition in one style. `is_reduced` leaves out orders that cannot make a difference."""

    def __init__(
        self,
        definition: Definition,
        style: str,
        service_of: ServiceOf,
        is_reduced: bool = True,
        limits: Limits = Limits(),  # noqa: B008  # a frozen value
        invariants: Sequence[Invariant] = INVARIANTS,
        progress: Progress | None = None,
        world: World | None = None,
    ) -> None:
        self.definition = definition
        self.style = style
        self.world = World(definition, style, service_of) if world is None else world
        self.monitor = Monitor(known_of(definition), invariants)
        self.fired = dict.fromkeys(map(str, definition.faults.kinds), 0)
        self.outcomes: dict[str, int] = {}
        self.events = 0
        self._is_reduced = is_reduced
        self._limits = limits
        self._progress = progress
        self._began = perf_counter()
        self._channels = Channels(definition.guarantees.ordering)
        self._offsets = _offsets(self.world)
        self._living = _living(self.world)
        self._reordering = [str(k) for k in (FaultKind.DELAY, FaultKind.PARTITION) if k in definition.faults.kinds]
        self._crashes = [
            (CRASHED[point], left.is_committed, left.is_published)
            for point in definition.faults.crash_points
            if (left := self.world.after_crash(point)) is not None
        ]
        self._may_befall: dict[int, tuple[Befall, ...]] = {}

        self._cells, self._shared, self._grounds = Numbered(), Numbered(), Numbered()
        self._flights, self._histories = Numbered(), Numbered()
        self._effects: list[tuple[Record, ...]] = [()]
        self._reactions: dict[tuple[int, int, int], tuple[Reaction, ...]] = {}
        self._arrivals: dict[int, tuple[tuple[int, Reaction], ...]] = {}
        self._flown: dict[Any, int] = {}
        self._next: dict[int, tuple[int, ...]] = {}
        self._told: dict[int, tuple[int, tuple[Broken, ...]]] = {}
        self._settlements: dict[int, Settled] = {}
        self._rests: dict[int, tuple[Broken, ...]] = {}

        self._keys: list[int] = []
        self._index: dict[int, int] = {}
        self._budgets = bytearray()
        self._parents = array("I")
        self._acts = array("Q")
        self._queue: list[int] = []
        self._still: dict[int, None] = {}

    # The search

    def explore(self) -> Report:
        """Look at every state. Stops at the first violation, which is one with the fewest transitions."""
        stopped: str | None = None
        violation: Violation | None = None
        try:
            with without_collecting():
                self._begin()
                stopped = self._search()
                self._look_for_traps()
        except Violation as found:
            violation = found
        except KeyboardInterrupt:
            stopped = "it was interrupted"
        return self._report(stopped, violation)

    def _begin(self) -> None:
        world = self.world
        cells = tuple(self._cells.number_of(self._canonical(cell)) for run in world.cells.values() for cell in run)
        ground = self._grounds.number_of((*cells, self._shared.number_of(world.copy_shared())))
        first = [delivery for _, delivery in world.start()]
        flight = self._channels.sent((), [self._channels.number_of(delivery) for delivery in first])
        history, _ = self.monitor.observe_all(self.monitor.begin(), self._first_records())
        flights, histories = self._flights, self._histories
        self._reach(ground << 48 | flights.number_of(flight) << 24 | histories.number_of(history), 0, 0, 0)

    def _search(self) -> str | None:
        """Until nothing is left; or why it was stopped before."""
        queue, keys, budgets, reach = self._queue, self._keys, self._budgets, self._reach
        looked = 0
        for state in queue:
            looked += 1
            if looked % LOOK_EVERY == 0 and (why := self._must_stop(looked)) is not None:
                return why
            key = keys[state]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            steps = self._steps(ground, flight)
            moved = False
            for step in steps:
                after = self._after(state, history, step)
                if after == key:
                    self._still[state] = None  # what cannot be read, again and again
                    continue
                moved = True
                self.events += 1
                reach(after, step[3], state, 0)
            if not moved:
                self._rest(state, history)
            if budgets[state]:
                for step in self._faults(ground, flight):
                    self.fired[NAMES[step[3] & 0xFF]] += 1
                    reach(self._after(state, history, step), step[3], state, 1)
        return None

    def _reach(self, key: int, act: int, parent: int, cost: int) -> None:
        """Note a state. One that was reached with as many faults left covers one with fewer."""
        budget = self._budgets[parent] - cost if self._keys else self.definition.faults.budget
        if not self._is_reduced:
            key = key << 8 | budget
        index = self._index.setdefault(key, len(self._keys))
        if index == len(self._keys):
            self._keys.append(key if self._is_reduced else key >> 8)
            self._budgets.append(budget)
            self._parents.append(parent)
            self._acts.append(act)
        elif budget > self._budgets[index]:
            self._budgets[index] = budget
            self._parents[index] = parent
            self._acts[index] = act
        else:
            return
        self._queue.append(index)

    def _after(self, state: int, history: int, step: Step) -> int:
        """The state that a step leads to, once what is dead has been delivered. Raises `Violation`."""
        ground, flight, effect, act = step
        if effect != NO_EFFECT:
            history = self._tell(state, history, effect, act)
        if self._is_reduced:
            ground, flight, dead = self._settled(ground, flight)
            for _, effect in dead:
                history = self._tell(state, history, effect, act)
        return ground << 48 | flight << 24 | history

    def _settled(self, ground: int, flight: int) -> Settled:
        """What is left when everything has been delivered of which nothing can come any more."""
        key = ground << 24 | flight
        found = self._settlements.get(key)
        if found is None:
            found = self._settlements[key] = self._settle(ground, flight)
        return found

    def _settle(self, ground: int, flight: int) -> Settled:
        dead: list[tuple[int, int]] = []
        while (number := self._dead_in(ground, flight)) is not None:
            ((ground, reaction),) = self._arrive(ground, number)
            flight = self._fly(flight, number, ())
            dead.append((number, reaction.effect))
        return ground, flight, tuple(dead)

    def _dead_in(self, ground: int, flight: int) -> int | None:
        """A delivery that may arrive, and of which nothing can come."""
        parts = self._grounds.values[ground]
        for number in self._arriving(flight):
            delivery = self._channels.deliveries[number]
            cell = self._cells.values[parts[self._offsets[delivery.event.run.id] + delivery.lane.seat]]
            if not self._living[delivery.lane.index][cell.phase] and not delivery.poison:
                return number
        return None

    def _must_stop(self, looked: int) -> str | None:
        if self._progress is not None:
            self._progress(len(self._keys), looked)
        limits = self._limits
        if len(self._keys) > limits.states:
            return f"more than {limits.states:,} states"
        if perf_counter() - self._began > limits.seconds:
            return f"more than {limits.seconds:g} s"
        if memory_mb() > limits.memory_mb:
            return f"more than {limits.memory_mb:,} MB"
        return None

    # Transitions

    def _steps(self, ground: int, flight: int) -> list[Step]:
        """What may happen next without a fault."""
        steps = []
        for number in self._arriving(flight):
            delivery = self._channels.deliveries[number]
            if delivery.poison:
                steps.append(self._unreadable(ground, flight, number))
                continue
            steps += [
                (after, self._fly(flight, number, each.sent), each.effect, encoded(number, alternative))
                for alternative, (after, each) in enumerate(self._arrive(ground, number))
            ]
        return steps

    def _faults(self, ground: int, flight: int) -> list[Step]:
        """What may go wrong next."""
        arriving = self._arriving(flight)
        fired = self.fired
        steps: list[Step] = []
        if len(arriving) > 1:
            for kind in self._reordering:
                fired[kind] += 1  # another is delivered first: every order is looked at
        for number in arriving:
            for befall in self._befalling(number):
                steps += befall(self, ground, flight, number)
        return steps

    def _befalling(self, number: int) -> tuple[Befall, ...]:
        """What may befall a delivery, whatever the state."""
        found = self._may_befall.get(number)
        if found is None:
            found = self._may_befall[number] = tuple(self._befalling_really(self._channels.deliveries[number]))
        return found

    def _befalling_really(self, delivery: Delivery) -> Iterator[Befall]:
        lane, hearers, kinds = delivery.lane, self.definition.faults.hearers, self.definition.faults.kinds
        if delivery.poison or (hearers is not None and lane.hearer not in hearers):
            return
        if not lane.is_local:
            if FaultKind.DROP in kinds:
                yield Explorer._resent if self.world.resends(lane) else Explorer._dropped
            if FaultKind.DUPLICATE in kinds:
                yield Explorer._duplicated
            if FaultKind.POISON in kinds and not lane.is_client:
                yield Explorer._poisoned
        if FaultKind.CRASH in kinds and not lane.is_client:
            yield Explorer._crashed

    def _resent(self, ground: int, flight: int, number: int) -> tuple[Step, ...]:
        """Dropped and sent again: it is in flight as before."""
        self.fired[FaultKind.DROP] += 1
        return ()

    def _dropped(self, ground: int, flight: int, number: int) -> tuple[Step, ...]:
        return ((ground, self._fly(flight, number, ()), NO_EFFECT, encoded(number, 0, DROPPED)),)

    def _duplicated(self, ground: int, flight: int, number: int) -> tuple[Step, ...]:
        twice = self._fly_instead(flight, number, (number, number))
        return ((ground, twice, NO_EFFECT, encoded(number, 0, DUPLICATED)),)

    def _poisoned(self, ground: int, flight: int, number: int) -> tuple[Step, ...]:
        delivery = self._channels.deliveries[number]
        poisoned = self._channels.number_of(Delivery(delivery.lane, delivery.event, 1))
        return ((ground, self._fly_instead(flight, number, (poisoned,)), NO_EFFECT, encoded(number, 0, POISONED)),)

    def _crashed(self, ground: int, flight: int, number: int) -> list[Step]:
        keeps, steps = self.world.resends(self._channels.deliveries[number].lane), []
        arrivals = self._arrive(ground, number)
        for happening, is_committed, is_published in self._crashes:
            if not is_committed and not is_published:
                if keeps and arrivals:
                    self.fired[FaultKind.CRASH] += 1  # it is sent again, and nothing has changed
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

    def _unreadable(self, ground: int, flight: int, number: int) -> Step:
        """It is delivered, cannot be read, and is delivered again; in the end it is put aside."""
        delivery = self._channels.deliveries[number]
        act = encoded(number)
        if not self.world.puts_aside(delivery.poison):
            again = self._channels.number_of(self.world.unread(delivery))
            return ground, self._fly_instead(flight, number, (again,)), NO_EFFECT, act
        letter = self.world.dead_letter(delivery)
        sent = tuple(self._channels.number_of(each) for each in self.world.deliveries_of(letter))
        effect = self._effect((*(fault(delivery, "dead_letter"),), published(letter)))
        return ground, self._fly(flight, number, sent), effect, act

    # One delivery

    def _arrive(self, ground: int, number: int) -> tuple[tuple[int, Reaction], ...]:
        """The grounds and reactions that may come of a delivery; none where it has to wait."""
        key = number << 48 | ground
        found = self._arrivals.get(key)
        if found is None:
            parts = self._grounds.values[ground]
            seat = self._seat(self._channels.deliveries[number])
            reactions = self._react(parts[seat], parts[-1], number)
            found = tuple(
                (self._grounds.number_of((*parts[:seat], r.cell, *parts[seat + 1 : -1], r.shared)), r)
                for r in reactions
            )
            self._arrivals[key] = found
        return found

    def _react(self, cell: int, shared: int, number: int) -> tuple[Reaction, ...]:
        key = (cell, shared, number)
        found = self._reactions.get(key)
        if found is None:
            found = self._reactions[key] = tuple(self._react_really(cell, shared, number))
        return found

    def _react_really(self, cell: int, shared: int, number: int) -> Iterator[Reaction]:
        """Let the hearer react, once for each way in which its free choices may fall."""
        world, delivery = self.world, self._channels.deliveries[number]
        lane, event = delivery.lane, delivery.event
        for script in _scripts(lambda asked: self._play(cell, shared, event, lane, asked)):
            if script is None:
                return
            events, choices = script
            notes = list(world.notes)
            records = handled(event, lane, notes, events)
            yield Reaction(
                self._cells.number_of(self._canonical(world.cells[event.run.id][lane.seat])),
                self._shared.number_of(world.copy_shared()),
                tuple(self._channels.number_of(each) for e in events for each in world.deliveries_of(e)),
                self._effect(records),
                choices,
                self._effect(handled(event, lane, notes, ())),
                self._effect(handled(event, lane, (), events)),
            )

    def _play(
        self, cell: int, shared: int, event: Event, lane: Lane, choose: Callable[[str], bool]
    ) -> list[Event] | None:
        world = self.world
        world.cells[event.run.id][lane.seat] = self._cells.values[cell]
        world.restore_shared(self._shared.values[shared])
        world.choose = choose
        try:
            return list(world.deliver(event, lane))
        except Waits:
            return None

    def _canonical(self, cell: Any) -> Any:
        """A cell without what makes no difference: in which order ends were heard, and who was heard after the end."""
        if not self._is_reduced:
            return cell
        if isinstance(cell, Collected):
            return replace(cell, missing=0, log=_sorted_log(cell.log))
        if isinstance(cell, Directed):
            return replace(cell, log=_sorted_log(cell.log))
        if isinstance(cell, Cell) and (cell.phase in FINAL or cell.phase is COMPENSATED):
            return replace(cell, heard=0)
        return cell

    def _seat(self, delivery: Delivery) -> int:
        return self._offsets[delivery.event.run.id] + delivery.lane.seat

    # What is in flight

    def _arriving(self, flight: int) -> tuple[int, ...]:
        found = self._next.get(flight)
        if found is None:
            found = self._next[flight] = self._channels.next(self._flights.values[flight])
        return found

    def _fly(self, flight: int, number: int, sent: tuple[int, ...]) -> int:
        key = (flight, number, sent)
        found = self._flown.get(key)
        if found is None:
            flown: Flight = self._channels.arrived(self._flights.values[flight], number)
            found = self._flown[key] = self._flights.number_of(self._channels.sent(flown, sent))
        return found

    def _fly_instead(self, flight: int, number: int, by: tuple[int, ...]) -> int:
        key = (flight, number, by, None)
        found = self._flown.get(key)
        if found is None:
            flown = self._channels.replaced(self._flights.values[flight], number, by)
            found = self._flown[key] = self._flights.number_of(flown)
        return found

    # What the trace tells

    def _effect(self, records: tuple[Record, ...]) -> int:
        self._effects.append(records)
        return len(self._effects) - 1

    def _tell(self, state: int, history: int, effect: int, act: int) -> int:
        """The history with the records of a step. Raises `Violation`."""
        key = effect << 24 | history
        found = self._told.get(key)
        if found is None:
            after, broken = self.monitor.observe_all(self._histories.values[history], self._effects[effect])
            found = self._told[key] = (self._histories.number_of(after), broken)
        if found[1]:
            raise Violation(state, act, found[1])
        return found[0]

    def _rest(self, state: int, history: int) -> None:
        """Nothing can happen any more but faults: what should have happened?"""
        broken = self._rests.get(history)
        if broken is None:
            broken = self._rests[history] = self.monitor.at_rest(self._histories.values[history])
        for outcome in outcomes_of(self._histories.values[history]):
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if broken:
            raise Violation(state, None, broken)

    def _look_for_traps(self) -> None:
        """States among which a run may go round for ever. Every other transition tells something, or delivers."""

        def successors(state: int) -> list[int]:
            key = self._keys[state]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            return [self._index.get(self._after(state, history, step), -1) for step in self._steps(ground, flight)]

        for trap in traps(self._still, successors) if self._is_reduced else ():
            self._rest(trap[0], self._keys[trap[0]] & 0xFFFFFF)

    # What was found

    def _report(self, stopped: str | None, violation: Violation | None) -> Report:
        verdict = Conclusion.INCOMPLETE if stopped else Conclusion.SAFE
        return Report(
            Conclusion.VIOLATED if violation else verdict,
            self.style,
            tuple(invariant.code for invariant in self.monitor.invariants),
            violation.broken if violation else (),
            self.events,
            self.fired,
            dict(sorted(self.outcomes.items())),
            perf_counter() - self._began,
            states=len(self._keys),
            counterexample=self._counterexample(violation) if violation else None,
            stopped=stopped,
            never_fired=() if violation or stopped else self._never_fired(),
            bytes_per_state=self.bytes_per_state(),
        )

    def _never_fired(self) -> tuple[str, ...]:
        """A delay is another order, and every order was looked at, also where there was but one."""
        is_moot = (FaultKind.DELAY, FaultKind.PARTITION)
        return tuple(kind for kind, count in self.fired.items() if not count and kind not in is_moot)

    def bytes_per_state(self) -> float:
        """What one state takes in the tables of states; its parts, which many states share, are counted as well."""
        tables = [self._keys, self._index, self._budgets, self._parents, self._acts, self._queue]
        parts = [self._grounds.values, self._flights.values, self._histories.values]
        size = sum(map(sys.getsizeof, tables)) + sum(sys.getsizeof(value) for each in parts for value in each)
        return (size + 36 * len(self._keys) + 32 * len(self._keys)) / max(len(self._keys), 1)

    def _counterexample(self, violation: Violation) -> Counterexample:
        acts = [violation.act] if violation.act is not None else []
        state = violation.state
        while state:
            acts.append(self._acts[state])
            state = self._parents[state]
        return self._replayed([decoded(act) for act in reversed(acts)], is_at_rest=violation.act is None)

    def _replayed(self, acts: Sequence[Act], is_at_rest: bool) -> Counterexample:
        """The records of a way from the start, the faults on it, and how its free choices fell.

        Deliveries of which nothing can come are told where the way ends at rest; elsewhere they are beside the point.
        """
        key = self._keys[0]
        ground, flight, records = key >> 48, key >> 24 & 0xFFFFFF, list(self._first_records())
        faults: list[str] = []
        choices: list[str] = []
        for act in acts:
            delivery = self._channels.deliveries[act.number]
            if act.fault is not None:
                faults.append(in_words(act.fault, delivery, act.point))
            records += self._records_of(act, delivery, ground)
            if not delivery.poison and act.fault is None:
                choices += self._arrive(ground, act.number)[act.alternative][1].choices
            ground, flight = self._led_to(act, ground, flight)
            if self._is_reduced:
                ground, flight, dead = self._settled(ground, flight)
                for _, effect in dead if is_at_rest else ():
                    records += map(replace, self._effects[effect])
        for number, record in enumerate(records, start=1):
            record.seq = number
            record.time = number
        return Counterexample(tuple(faults), tuple(records), None, tuple(choices))

    def _led_to(self, act: Act, ground: int, flight: int) -> tuple[int, int]:
        """Where an act leads."""
        wanted = encoded(act.number, act.alternative, HAPPENINGS.index((act.fault, act.point)))
        steps = self._steps(ground, flight) if act.fault is None else self._faults(ground, flight)
        return next((g, f) for g, f, _, each in steps if each == wanted)

    def _first_records(self) -> Iterator[Record]:
        for event in dict.fromkeys(delivery.event for _, delivery in self.world.start()):
            yield published(event)

    def _records_of(self, act: Act, delivery: Delivery, ground: int) -> list[Record]:
        """What an act has in the trace."""
        if delivery.poison:
            return self._records_of_unreadable(delivery)
        if act.fault not in (None, FaultKind.CRASH):
            return [fault(delivery, str(act.fault))]
        _, reaction = self._arrive(ground, act.number)[act.alternative]
        if act.point is None:
            return [replace(record) for record in self._effects[reaction.effect]]
        left = self.world.after_crash(act.point)
        if left is None or not (left.is_committed or left.is_published):
            return [replace(delivered(delivery.event, delivery.lane)), fault(delivery, "crash", act.point)]
        effect = reaction.only_committed if not left.is_published else reaction.only_published
        effect = reaction.effect if left.is_committed and left.is_published else effect
        return [*(replace(record) for record in self._effects[effect]), fault(delivery, "crash", act.point)]

    def _records_of_unreadable(self, delivery: Delivery) -> list[Record]:
        if not self.world.puts_aside(delivery.poison):
            return [fault(delivery, "unreadable")]
        letter = self.world.dead_letter(delivery)
        return [fault(delivery, "dead_letter"), published(letter)]


@contextmanager
def without_collecting() -> Iterator[None]:
    """What is kept is kept, and makes no circles: looking for garbage in it is time lost."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def in_words(kind: FaultKind, delivery: Delivery, point: CrashPoint | None = None) -> str:
    """A fault for people."""
    what, who = delivery.event.id, delivery.lane.hearer
    match kind:
        case FaultKind.CRASH:
            return f"{who} crashes {POINTS[point or CrashPoint.BEFORE]} while it handles {what}"
        case FaultKind.POISON:
            return f"{what} cannot be read by {who}"
        case _:
            return f"{kind} {what} on its way to {who}"


POINTS = {
    CrashPoint.BEFORE: "before the local transaction",
    CrashPoint.UNPUBLISHED: "between commit and publish",
    CrashPoint.UNCOMMITTED: "between publish and commit",
    CrashPoint.AFTER: "after commit and publish",
}


def outcomes_of(history: History) -> Iterator[str]:
    """How each run that was started ended: `completed`, `compensated`, `stuck` or `none`."""
    for _, facts in history.runs:
        if facts.is_started:
            yield "none" if facts.outcome is None else facts.outcome.removeprefix("saga.")


def memory_mb() -> float:
    """The most that this process has ever had resident, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _scripts(
    play: Callable[[Callable[[str], bool]], list[Event] | None],
) -> Iterator[tuple[list[Event], tuple[str, ...]] | None]:
    """Play once for each way in which the free choices may fall; None where it has to wait."""
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
            yield None
            return
        todo += [[*script, *[False] * (n - len(script)), True] for n in range(len(script), len(asked))]
        yield events, tuple(asked)


def _offsets(world: World) -> dict[str, int]:
    """Where the cells of each run begin, among those of all."""
    offsets, total = {}, 0
    for run, cells in world.cells.items():
        offsets[run] = total
        total += len(cells)
    return offsets


def _living(world: World) -> list[tuple[bool, ...]]:
    """For each lane, the phases in which something may still come of what arrives there."""
    living: dict[int, tuple[bool, ...]] = {}
    for wiring in {id(run.wiring): run.wiring for run in world.runs}.values():
        rows: dict[tuple[str, int], list[Any]] = {}
        for row in wiring.table.subscriptions:
            rows.setdefault((row.topic.name, row.seat), []).append(row.moves)
        for topic, lanes in wiring.lanes.items():
            living.update((lane.index, living_phases(rows[topic, lane.seat])) for lane in lanes)
    return [living[lane.index] for lane in world.lanes]


def _sorted_log(log: Any) -> Any:
    """The same ends, in the order of their steps."""
    events = []
    while log is not None:
        event, log = log
        events.append(event)
    events.sort(key=lambda event: (-event.topic.position, str(event.topic.fact)))
    for event in {event.id: event for event in events}.values():
        log = (event, log)
    return log

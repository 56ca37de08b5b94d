"""Every state that a small definition can reach within a budget of faults, breadth first.

Laws: what reacts is the services and participants themselves, in their world. A state is three numbers: its ground (the
cells, and what is shared), its flight (what is under way), and its history (what the trace has told); equal parts are
kept once (docs/decisions/012-states-are-three-numbers.md). Nothing is called safe unless every state was seen.
"""

import gc
import resource
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from msgspec import Struct

from choreo.invariants.checkers import INVARIANTS, Broken, Invariant
from choreo.invariants.history import History
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.lab.explore.counterexample import Replay, first_records
from choreo.lab.explore.interning import Numbered
from choreo.lab.explore.livelocks import traps
from choreo.lab.explore.reactions import NO_EFFECT
from choreo.lab.explore.transitions import TooMuchUnderWay, Transition, Transitions
from choreo.lab.model.actions import NAMES, decoded
from choreo.lab.model.defects import no_defect
from choreo.lab.model.world import World, simulated_steps
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.saga.definition import Definition, FaultKind
from choreo.saga.service import ServiceOf

STATES_MAX = 5_000_000
MEMORY_MB_MAX = 4_000
SECONDS_MAX = 600.0
LOOK_EVERY = 128

Progress = Callable[[int, int], None]
"""Told how many states were looked at, and how many are known."""

PARTS_MAX = 0xFFFFFF - 1_000_000
"""A state has 24 bits for the number of its flight, and as many for its history; this leaves room between two looks."""


class Limits(Struct, frozen=True):
    """Where an exploration stops, and claims no proof: so many states, so much memory of the process, so long."""

    states: int = STATES_MAX
    memory_mb: int = MEMORY_MB_MAX
    seconds: float = SECONDS_MAX


class Violation(Exception):
    """Found: the state that the last act starts from, the act (None: at rest), and what is broken."""

    def __init__(self, state: int, act: int | None, broken: tuple[Broken, ...]) -> None:
        super().__init__(state, act, broken)
        self.state, self.act, self.broken = state, act, broken


class Explorer:
    """Explores one definition in one style, once.

    `is_reduced` leaves out orders that cannot make a difference; `invariants` are those to check; `progress` is told
    now and then how far it has come. Raises what `World` does. The services are as they were when it is done.
    """

    def __init__(
        self,
        definition: Definition,
        style: str,
        service_of: ServiceOf,
        is_reduced: bool = True,
        limits: Limits = Limits(),  # noqa: B008  # a frozen value
        invariants: Sequence[Invariant] = INVARIANTS,
        progress: Progress | None = None,
    ) -> None:
        self.style = style
        self.monitor = Monitor(known_of(definition), (*invariants, no_defect(definition)))
        self._simulated = simulated_steps(definition)
        self.transitions = Transitions(World(definition, style, service_of), is_reduced)
        self._befell = [0] * len(NAMES)
        self.outcomes: dict[str, int] = {}
        self.events = 0
        self._budget = definition.faults.budget if definition.faults.kinds else 0
        self._is_reduced = is_reduced
        self._key: Callable[[int, int], int] = _whatever_the_budget if is_reduced else _with_the_budget
        self._limits = limits
        self._progress = progress
        self._began = perf_counter()

        self._histories = Numbered()
        self._told: dict[int, int] = {}
        """The history that an effect leads to, by both in one number."""
        self._rests: dict[int, tuple[Broken, ...]] = {}

        self._keys: list[int] = []
        self._index: dict[int, int] = {}
        self._budgets = bytearray()
        self._parents = array("I")
        self._acts = array("Q")
        self._still: list[int] = []

    # The search

    def explore(self) -> Report:
        """Look at every state. Stops at the first violation, which is one with the fewest transitions."""
        stopped: str | None = None
        violation: Violation | None = None
        try:
            with without_collecting():
                self._begin()
                stopped = self._search()
                if stopped is None:
                    self._look_for_traps()
        except Violation as found:
            violation = found
        except KeyboardInterrupt:
            stopped = "it was interrupted"
        except TooMuchUnderWay as much:
            stopped = str(much)
        except MemoryError:
            stopped = "there is no more memory"
        finally:
            self.transitions.world.reset()
        return self._report(stopped, violation)

    def _begin(self) -> None:
        ground, flight = self.transitions.start
        history, _ = self.monitor.observe_all(self.monitor.begin(), first_records(self.transitions.world))
        self._reach(ground << 48 | flight << 24 | self._histories.number_of(history), 0, 0, self._budget)

    def _search(self) -> str | None:
        """Until nothing is left; or why it was stopped before."""
        keys, budgets, known, transitions = self._keys, self._budgets, self._index, self.transitions
        is_reduced = self._is_reduced
        for node, key in enumerate(keys):  # which grows
            budget = budgets[node]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            steps = transitions.steps(ground, flight)
            for step in steps:
                after = self._after(node, history, step)
                if after == key:
                    self._still.append(node)  # what cannot be read, again and again
                    continue
                self.events += 1
                if not self.events % LOOK_EVERY and (why := self._must_stop(node)) is not None:
                    return why
                found = known.get(after if is_reduced else after << 8 | budget)
                if found is None or budgets[found] < budget:
                    self._reach(after, step[3], node, budget)
            if not steps:
                self._rest(node, history)
            if not budget:
                continue
            budget -= 1
            for step in transitions.faults(ground, flight):
                self._befell[step[3] & 0xFF] += 1
                after = self._after(node, history, step)
                found = known.get(after if is_reduced else after << 8 | budget)
                if found is None or budgets[found] < budget:
                    self._reach(after, step[3], node, budget)
        return None

    def _reach(self, state: int, act: int, parent: int, budget: int) -> None:
        """Note a state that is new; one that was reached with as many faults left covers one with fewer.

        One that is reached again with more of them is looked at once more, as a node of its own: what was found from
        the first way goes on from there, and stays as short as it is.
        """
        self._index[self._key(state, budget)] = len(self._keys)
        self._keys.append(state)
        self._budgets.append(budget)
        self._parents.append(parent)
        self._acts.append(act)

    def _after(self, state: int, history: int, step: Transition) -> int:
        """The state that a step leads to, once what is dead has been delivered. Raises `Violation`."""
        ground, flight, effect, act = step
        told, transitions = self._told.get, self.transitions
        if effect != NO_EFFECT:
            known = told(effect << 24 | history)
            history = self._tell(state, history, effect, act) if known is None else known
        if self._is_reduced:
            settled = transitions.settlements.get(ground << 24 | flight) or transitions.settled(ground, flight)
            ground, flight, dead = settled
            for _, effect in dead:
                known = told(effect << 24 | history)
                history = self._tell(state, history, effect, act) if known is None else known
        return ground << 48 | flight << 24 | history

    def _must_stop(self, looked: int) -> str | None:
        if self._progress is not None:
            self._progress(looked, len(self._keys))
        limits = self._limits
        if len(self._index) > limits.states:
            return f"more than {limits.states:,} states"
        if max(len(self.transitions.flights.values), len(self._histories.values)) > PARTS_MAX:
            return f"more than {PARTS_MAX:,} different parts of states"
        if perf_counter() - self._began > limits.seconds:
            return f"more than {limits.seconds:g} s"
        if memory_mb() > limits.memory_mb:
            return f"more than {limits.memory_mb:,} MB"
        return None

    # What the trace tells

    def _tell(self, state: int, history: int, effect: int, act: int) -> int:
        """The history with the records of an effect. Raises `Violation`."""
        records = self.transitions.reactions.effects[effect]
        after, broken = self.monitor.observe_all(self._histories.values[history], records)
        if broken:
            raise Violation(state, act, broken)
        number = self._told[effect << 24 | history] = self._histories.number_of(after)
        return number

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
        """States among which a run may go round for ever, and which nothing leads out of.

        Every other transition without a fault tells something new, or leaves one delivery less under way, so circles
        are looked for among those that do neither.
        """

        def successors(node: int) -> list[int]:
            key, budget = self._keys[node], self._budgets[node]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            after = [self._after(node, history, step) for step in self.transitions.steps(ground, flight)]
            return [self._index[self._key(each, budget)] for each in after]

        newest = dict.fromkeys(self._index[self._key(self._keys[node], self._budgets[node])] for node in self._still)
        for trap in sorted(traps(newest, successors), key=min):
            self._rest(min(trap), self._keys[trap[0]] & 0xFFFFFF)

    # What was found

    def _report(self, stopped: str | None, violation: Violation | None) -> Report:
        verdict = Conclusion.INCOMPLETE if stopped else Conclusion.SAFE
        return Report(
            Conclusion.VIOLATED if violation else verdict,
            self.style,
            tuple(invariant.code for invariant in self.monitor.invariants),
            tuple(dict.fromkeys(violation.broken)) if violation else (),
            self.events,
            self.fired,
            dict(sorted(self.outcomes.items())),
            perf_counter() - self._began,
            states=len(self._index),
            counterexample=self._counterexample(violation) if violation else None,
            stopped=stopped,
            never_fired=() if violation or stopped else self._never_fired(),
            bytes_per_state=self.bytes_per_state(),
            simulated=self._simulated,
        )

    @property
    def fired(self) -> dict[str, int]:
        """How often each kind of fault was possible: where it leads on, and where it leads nowhere new."""
        counts = dict(self.transitions.fired)
        for name, count in zip(NAMES, self._befell, strict=True):
            if name in counts:
                counts[name] += count
        return counts

    def _never_fired(self) -> tuple[str, ...]:
        """A delay is another order, and every order was looked at, also where there was but one."""
        return tuple(kind for kind, count in self.fired.items() if not count and kind != FaultKind.DELAY)

    def bytes_per_state(self) -> float:
        """What one state takes: in the tables of states, and of its parts, which many states share."""
        transitions, size_of = self.transitions, sys.getsizeof
        tables = [self._keys, self._index, self._budgets, self._parents, self._acts]
        parts = [transitions.grounds.values, transitions.flights.values, self._histories.values]
        size = sum(map(size_of, tables)) + sum(size_of(value) for each in (*parts, self._keys) for value in each)
        nodes = len(self._keys)
        return (size + nodes * size_of(nodes)) / max(len(self._index), 1)

    def _counterexample(self, violation: Violation) -> Counterexample:
        acts = [violation.act] if violation.act is not None else []
        state = violation.state
        while state:
            acts.append(self._acts[state])
            state = self._parents[state]
        way = [decoded(act) for act in reversed(acts)]
        return Replay(self.transitions, self._is_reduced).tell(way, is_at_rest=violation.act is None)


def _whatever_the_budget(state: int, budget: int) -> int:
    return state


def _with_the_budget(state: int, budget: int) -> int:
    return state << 8 | budget


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


def outcomes_of(history: History) -> Iterator[str]:
    """How each run that was started ended: `completed`, `compensated`, `stuck` or `none`."""
    for _, facts in history.runs:
        if facts.is_started:
            yield "none" if facts.outcome is None else facts.outcome.removeprefix("saga.")


def memory_mb() -> float:
    """What this process has resident now, in MB; where the system does not tell, the most that it ever had."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
        return pages * resource.getpagesize() / 1024**2
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""The explorer: every state that a small definition can reach within a budget of faults, breadth first.

Laws: the real services and participants react, in their world. A state is three numbers: its local state (*ground*: the
cells, and the shared state), its deliveries in flight (*flight*), and its history (the trace so far); equal parts are
interned (docs/decisions/012-states-are-three-numbers.md). A definition is called safe only after every state was
explored.
"""

import sys
from array import array
from collections.abc import Callable, Sequence
from time import perf_counter

from choreo.invariants.catalogue import INVARIANTS
from choreo.invariants.history import outcomes_of
from choreo.invariants.invariant import Invariant
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.own import OwnInvariant
from choreo.invariants.state_checks import monitored, never_held
from choreo.invariants.violation import Violation
from choreo.lab.explore.counterexample import Replay
from choreo.lab.explore.interning import InternTable
from choreo.lab.explore.limits import Limits, memory_mb, without_collecting
from choreo.lab.explore.livelocks import traps
from choreo.lab.explore.reactions import NO_EFFECT
from choreo.lab.explore.transitions import TooMuchUnderWay, Transition, Transitions
from choreo.lab.model.actions import NAMES, decoded
from choreo.lab.model.defects import no_defect
from choreo.lab.model.records import first_records
from choreo.lab.model.simulated import simulated_steps
from choreo.lab.model.world import World
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.saga.definition import FaultKind, Saga
from choreo.saga.service import ServiceOf

LOOK_EVERY = 128

Progress = Callable[[int, int], None]
"""Called with the number of explored states, and the number of known states."""

PARTS_MAX = 0xFFFFFF - 1_000_000
"""A state has 24 bits for the number of its flight, and as many for its history; this leaves room between two
checks."""


class FoundViolation(Exception):
    """End of the search: the source state of the last action, the action (None: at rest), and the violations."""

    def __init__(self, state: int, act: int | None, violations: tuple[Violation, ...]) -> None:
        super().__init__(state, act, violations)
        self.state, self.act, self.violations = state, act, violations


class Explorer:
    """Explores one definition in one style, once.

    `is_reduced` switches the partial-order reduction on; `invariants` are those to check, `own` the author's;
    `progress` is called at intervals. Raises the exceptions of `World`. The services are restored to their initial
    state at the end.
    """

    def __init__(
        self,
        definition: Saga,
        style: str,
        service_of: ServiceOf,
        is_reduced: bool = True,
        limits: Limits = Limits(),  # noqa: B008  # frozen, so one default is shared safely
        invariants: Sequence[Invariant] = INVARIANTS,
        progress: Progress | None = None,
        own: Sequence[OwnInvariant] = (),
    ) -> None:
        self.style = style
        self._checked = (*invariants, no_defect(definition))
        self._own = tuple(own)
        self.monitor = Monitor(known_of(definition), (*self._checked, *monitored(own)))
        self._simulated = simulated_steps(definition)
        self.transitions = Transitions(World(definition, style, service_of, own), is_reduced)
        self._fault_counts = [0] * len(NAMES)
        self.outcomes: dict[str, int] = {}
        self.events = 0
        self._budget = definition.faults.budget if definition.faults.kinds else 0
        self._is_reduced = is_reduced
        self._key: Callable[[int, int], int] = _whatever_the_budget if is_reduced else _with_the_budget
        self._limits = limits
        self._progress = progress
        self._began = perf_counter()

        self._histories = InternTable()
        self._next_history: dict[int, int] = {}
        """Memoized next history, keyed by history and effect in one number."""
        self._rests: dict[int, tuple[Violation, ...]] = {}

        self._keys: list[int] = []
        self._index: dict[int, int] = {}
        self._budgets = bytearray()
        self._parents = array("I")
        self._acts = array("Q")
        self._still: list[int] = []

    # The search

    def explore(self) -> Report:
        """Explore every state. Stops at the first violation, which is one with the fewest transitions."""
        stopped: str | None = None
        found: FoundViolation | None = None
        try:
            with without_collecting():
                self._begin()
                stopped = self._search()
                if stopped is None:
                    self._look_for_traps()
        except FoundViolation as end:
            found = end
        except KeyboardInterrupt:
            stopped = "it was interrupted"
        except TooMuchUnderWay as much:
            stopped = str(much)
        except MemoryError:
            stopped = "there is no more memory"
        finally:
            self.transitions.world.reset()
        return self._report(stopped, found)

    def _begin(self) -> None:
        ground, flight = self.transitions.start
        records = first_records(self.transitions.world)
        history, violations = self.monitor.observe_all(self.monitor.begin(), records)
        self._reach(ground << 48 | flight << 24 | self._histories.number_of(history), 0, 0, self._budget)
        if violations:
            raise FoundViolation(0, None, violations)

    def _search(self) -> str | None:
        """Search until no state is left, or return why the search stopped early."""
        keys, budgets, known, transitions = self._keys, self._budgets, self._index, self.transitions
        is_reduced = self._is_reduced
        for node, key in enumerate(keys):  # the list grows meanwhile
            budget = budgets[node]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            steps = transitions.steps(ground, flight)
            for step in steps:
                after = self._after(node, history, step)
                if after == key:
                    self._still.append(node)  # an unreadable event, redelivered for ever
                    continue
                self.events += 1
                if not self.events % LOOK_EVERY and (why := self._must_stop(node)) is not None:
                    return why
                found = known.get(after if is_reduced else after << 8 | budget)
                if found is None or budgets[found] < budget:
                    self._reach(after, step[3], node, budget)
            if not steps:
                self._rest(node, ground, history)
            if not budget:
                continue
            budget -= 1
            for step in transitions.faults(ground, flight):
                self._fault_counts[step[3] & 0xFF] += 1
                after = self._after(node, history, step)
                found = known.get(after if is_reduced else after << 8 | budget)
                if found is None or budgets[found] < budget:
                    self._reach(after, step[3], node, budget)
        return None

    def _reach(self, state: int, act: int, parent: int, budget: int) -> None:
        """Record a new state; a state reached with a larger remaining budget subsumes it.

        A state that is reached again with a larger budget becomes a second node: the first node keeps its descendants,
        and so the shortest paths through it.
        """
        self._index[self._key(state, budget)] = len(self._keys)
        self._keys.append(state)
        self._budgets.append(budget)
        self._parents.append(parent)
        self._acts.append(act)

    def _after(self, state: int, history: int, step: Transition) -> int:
        """Return the state after a transition and all dead deliveries. Raises `FoundViolation`."""
        ground, flight, effect, act = step
        next_history, transitions = self._next_history.get, self.transitions
        if effect != NO_EFFECT:
            known = next_history(effect << 24 | history)
            history = self._extended(state, history, effect, act) if known is None else known
        if self._is_reduced:
            settled = transitions.settlements.get(ground << 24 | flight) or transitions.settled(ground, flight)
            ground, flight, dead = settled
            for _, effect in dead:
                known = next_history(effect << 24 | history)
                history = self._extended(state, history, effect, act) if known is None else known
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

    # The history of the trace

    def _extended(self, state: int, history: int, effect: int, act: int) -> int:
        """Return the history extended by the records of an effect. Raises `FoundViolation`."""
        records = self.transitions.reactions.effects[effect]
        after, violations = self.monitor.observe_all(self._histories.values[history], records)
        if violations:
            raise FoundViolation(state, act, violations)
        number = self._next_history[effect << 24 | history] = self._histories.number_of(after)
        return number

    def _rest(self, state: int, ground: int, history: int) -> None:
        """Check liveness in a state whose only transitions are faults."""
        violations = self._rests.get(history)
        if violations is None:
            violations = self._rests[history] = self.monitor.at_rest(self._histories.values[history])
        if self._own:
            violations += self.transitions.at_rest(ground)
        for outcome in outcomes_of(self._histories.values[history]):
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if violations:
            raise FoundViolation(state, None, violations)

    def _look_for_traps(self) -> None:
        """Look for livelocks: sets of states in which a run may cycle for ever without a way out.

        Every other fault-free transition either extends the history or leaves one delivery less in flight, so only
        transitions that do neither can form cycles.
        """

        def successors(node: int) -> list[int]:
            key, budget = self._keys[node], self._budgets[node]
            ground, flight, history = key >> 48, key >> 24 & 0xFFFFFF, key & 0xFFFFFF
            after = [self._after(node, history, step) for step in self.transitions.steps(ground, flight)]
            return [self._index[self._key(each, budget)] for each in after]

        newest = dict.fromkeys(self._index[self._key(self._keys[node], self._budgets[node])] for node in self._still)
        for trap in sorted(traps(newest, successors), key=min):
            key = self._keys[min(trap)]
            self._rest(min(trap), key >> 48, key & 0xFFFFFF)

    # The report

    def _report(self, stopped: str | None, found: FoundViolation | None) -> Report:
        verdict = Conclusion.INCOMPLETE if stopped else Conclusion.SAFE
        return Report(
            Conclusion.VIOLATED if found else verdict,
            self.style,
            tuple(invariant.code for invariant in self._checked),
            tuple(dict.fromkeys(found.violations)) if found else (),
            self.events,
            self.fired,
            dict(sorted(self.outcomes.items())),
            perf_counter() - self._began,
            states=len(self._index),
            counterexample=self._counterexample(found) if found else None,
            stopped=stopped,
            never_fired=() if found or stopped else self._never_fired(),
            bytes_per_state=self.bytes_per_state(),
            simulated=self._simulated,
            own=tuple(each.title for each in self._own),
            never_held=() if found or stopped else never_held(self._own, self.transitions.world.checks.held),
        )

    @property
    def fired(self) -> dict[str, int]:
        """Count the occasions of each kind of fault, including those that lead to known states."""
        counts = dict(self.transitions.fired)
        for name, count in zip(NAMES, self._fault_counts, strict=True):
            if name in counts:
                counts[name] += count
        return counts

    def _never_fired(self) -> tuple[str, ...]:
        """Return the kinds that never fired.

        A delay never counts: it is another order, and all orders were explored, even if there is only one.
        """
        return tuple(kind for kind, count in self.fired.items() if not count and kind != FaultKind.DELAY)

    def bytes_per_state(self) -> float:
        """Return the memory of one state: in the tables of states, and of their parts, which many states share."""
        transitions, size_of = self.transitions, sys.getsizeof
        tables = [self._keys, self._index, self._budgets, self._parents, self._acts]
        parts = [transitions.grounds.values, transitions.flights.values, self._histories.values]
        size = sum(map(size_of, tables)) + sum(size_of(value) for each in (*parts, self._keys) for value in each)
        nodes = len(self._keys)
        return (size + nodes * size_of(nodes)) / max(len(self._index), 1)

    def _counterexample(self, found: FoundViolation) -> Counterexample:
        acts = [found.act] if found.act is not None else []
        state = found.state
        while state:
            acts.append(self._acts[state])
            state = self._parents[state]
        way = [decoded(act) for act in reversed(acts)]
        return Replay(self.transitions, self._is_reduced).counterexample(way, is_at_rest=found.act is None)


def _whatever_the_budget(state: int, budget: int) -> int:
    return state


def _with_the_budget(state: int, budget: int) -> int:
    return state << 8 | budget

"""Campaigns: many seeded histories, on all cores, and the shrunk form of the first violation.

Laws: one seed, one history, on every machine; the report of a campaign does not depend on the number of cores. A
requested kind of fault that never occurred is reported, because the campaign then shows no result about it.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from time import perf_counter

from msgspec.structs import replace

from choreo.invariants.catalogue import INVARIANTS
from choreo.invariants.history import History, outcomes_of
from choreo.invariants.invariant import Invariant
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.own import OwnInvariant
from choreo.invariants.state_checks import monitored, never_held
from choreo.invariants.violation import Violation
from choreo.lab.model.defects import no_defect
from choreo.lab.model.simulated import simulated_steps
from choreo.lab.model.world import World
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.lab.simulate.faults import FAULTS_MIN_MS, RATE, USUAL, FaultPlan, Verdict
from choreo.lab.simulate.history_way import way_of
from choreo.lab.simulate.shrink import ddmin
from choreo.lab.simulate.simulator import Simulation
from choreo.lab.simulate.tally import Played, Tally
from choreo.lab.way import Way
from choreo.runtime.process import leave_when_forked
from choreo.saga.definition import FaultKind, Saga
from choreo.saga.raised import CtrlC, Interrupted
from choreo.saga.service import ServiceOf

SEEDS_OF_A_TASK = 100

OpenServices = Callable[[], ServiceOf]
"""Opens the author's services afresh, in any process."""

Rates = Mapping[FaultKind, float]
Progress = Callable[[int, int], None]
"""Called with the number of histories that are done, and their total."""

NO_REST = Violation("L1", "every run ends", "the history does not come to rest: deliveries without end")


class Lab:
    """One definition in one style, set up once; plays history after history."""

    def __init__(
        self,
        definition: Saga,
        style: str,
        service_of: ServiceOf,
        rates: Rates,
        own: Sequence[OwnInvariant] = (),
    ) -> None:
        self.definition = definition
        self.world = World(definition, style, service_of, own)
        self.monitor = Monitor(known_of(definition), (*invariants_of(definition), *monitored(own)))
        self._rates = rates
        self._until_ms = faults_until_ms(definition)
        self._subscribers = list(dict.fromkeys(route.subscriber for route in self.world.routes if not route.is_client))

    def play(self, seed: int, script: Sequence[Verdict] | None = None) -> Played:
        """Play the history of a seed; `script`: with exactly these faults."""
        simulation = self._simulated(seed, script)
        records = tuple(simulation.records())
        history = self.monitor.begin()
        violations: tuple[Violation, ...] = ()
        violated_at = len(records)
        for number, record in enumerate(records, start=1):
            history, violations = self.monitor.observe(history, record)
            if violations:
                violated_at = number
                break
        if not violations:
            violations = self._at_rest(history) if simulation.came_to_rest else (NO_REST,)
        fired, outcomes = tuple(simulation.fired), tuple(outcomes_of(history))
        return Played(seed, violations, fired, outcomes, simulation.handled, records, violated_at)

    def way_of(self, history: Played) -> Way:
        """Play a history again, with exactly its faults, and return its way up to the violation."""
        return way_of(self._simulated(history.seed, history.script), history.violated_at)

    def _simulated(self, seed: int, script: Sequence[Verdict] | None) -> Simulation:
        self.world.reset()
        by_delivery = None if script is None else {(verdict.name, verdict.copy): verdict for verdict in script}
        plan = FaultPlan(seed, self._rates, self._subscribers, self.definition.faults, self._until_ms, by_delivery)
        return Simulation(self.world, plan).run()

    def _at_rest(self, history: History) -> tuple[Violation, ...]:
        return (*self.monitor.at_rest(history), *self.world.at_rest())

    def shrink(self, history: Played) -> Played:
        """Shrink the faults to a minimal set that still breaks the same invariant; return its history, replayed."""
        broken = {(violation.code, violation.title) for violation in history.violations}

        def breaks(script: Sequence[Verdict]) -> bool:
            played = self.play(history.seed, script)
            return any((violation.code, violation.title) in broken for violation in played.violations)

        script = ddmin(history.script, breaks)
        for verdict in list(script):
            earlier = brought_forward(script, verdict)
            if verdict in script and earlier != script and breaks(earlier):
                script = earlier
        return self.play(history.seed, ddmin(script, breaks))


def invariants_of(definition: Saga) -> tuple[Invariant, ...]:
    """Return the invariants that every history is checked against."""
    return (*INVARIANTS, no_defect(definition))


def brought_forward(script: Sequence[Verdict], verdict: Verdict) -> list[Verdict]:
    """Move a fault to the first copy of its delivery, and drop the faults of the copies before it."""
    rest = [each for each in script if each.name != verdict.name or each.copy > verdict.copy]
    return [*rest, replace(verdict, copy=0)]


def rates_of(definition: Saga, rates: Rates | None = None) -> Rates:
    """Return the rates to simulate with: those given, or the usual one for each kind that the definition names.

    If it names none: for each of the usual kinds.
    """
    return dict.fromkeys(definition.faults.kinds or USUAL, RATE) if rates is None else rates


def faults_until_ms(definition: Saga) -> int:
    """Return the length of the fault period in virtual ms: all runs start, and the slowest path takes its time."""
    starts = [run.start_ms + (run.ask_again_ms or 0) for run in definition.runs]
    slowness = 0
    for step in definition.steps:
        latency = step.latency_ms or 0
        slowness += max(latency) if isinstance(latency, tuple) else latency
        slowness += step.timeout_ms or 0
    return FAULTS_MIN_MS + max(starts, default=0) + slowness


def simulate(
    definition: Saga,
    style: str,
    open_services: OpenServices,
    seeds: range,
    rates: Rates | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
    own: Sequence[OwnInvariant] = (),
) -> Report:
    """Play the history of every seed, up to the first violation, and shrink that one.

    `processes`: the number of parallel processes; None: one for each core, and a single one for few seeds. `own` are
    the author's invariants.
    """
    rates = rates_of(definition, rates)
    began, tally, stopped = perf_counter(), Tally(fired={str(kind): 0 for kind, rate in rates.items() if rate}), None
    try:
        for part in _parts(definition, style, open_services, seeds, rates, own, processes):
            tally.merge(part)
            if progress is not None:
                progress(tally.histories, len(seeds))
            if tally.first is not None:
                break
    except KeyboardInterrupt:
        stopped = "it was interrupted"
    except BrokenProcessPool:
        stopped = "a process of it ended before its time; a service may have ended it"
    counterexample: Counterexample | None = None
    violations: tuple[Violation, ...] = ()
    if tally.first is not None:
        lab = Lab(definition, style, open_services(), rates, own)
        found = lab.shrink(lab.play(tally.first))
        violations = found.violations
        counterexample = Counterexample(
            tuple(fired.words for fired in found.fired),
            found.records[: found.violated_at],
            found.seed,
            way=lab.way_of(found),
        )
    verdict = Conclusion.INCOMPLETE if stopped else Conclusion.SAFE
    return Report(
        Conclusion.VIOLATED if counterexample else verdict,
        style,
        tuple(invariant.code for invariant in invariants_of(definition)),
        tuple(dict.fromkeys(violations)),
        tally.events,
        dict(tally.fired),
        dict(sorted(tally.outcomes.items())),
        perf_counter() - began,
        histories=tally.histories,
        counterexample=counterexample,
        stopped=stopped,
        never_fired=() if counterexample or stopped else tuple(k for k, count in tally.fired.items() if not count),
        simulated=simulated_steps(definition),
        own=tuple(each.title for each in own),
        never_held=() if counterexample or stopped else never_held(own, tally.held),
    )


def _parts(
    definition: Saga,
    style: str,
    open_services: OpenServices,
    seeds: range,
    rates: Rates,
    own: Sequence[OwnInvariant],
    processes: int | None,
) -> Iterator[Tally]:
    """Yield the tallies of the seeds, part by part, in order."""
    tasks = [seeds[begin : begin + SEEDS_OF_A_TASK] for begin in range(0, len(seeds), SEEDS_OF_A_TASK)]
    processes = min(os.cpu_count() or 1, len(tasks)) if processes is None else processes
    if processes <= 1:
        lab = Lab(definition, style, open_services(), rates, own)
        yield from (_play(lab, task) for task in tasks)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _set_up, (definition, style, open_services, rates, own))
    try:
        yield from _in_order(pool, tasks, ahead=2 * processes)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, tasks: list[range], ahead: int) -> Iterator[Tally]:
    """Yield the results of the tasks, in order; at most `ahead` tasks run at once."""
    pending: list[Future[Tally]] = []
    todo = iter(tasks)
    for task in todo:
        pending.append(pool.submit(_play_here, task))
        if len(pending) >= ahead:
            yield _result(pending.pop(0))
    while pending:
        yield _result(pending.pop(0))


def _result(future: "Future[Tally]") -> Tally:
    while not future.done():
        wait([future], timeout=1.0, return_when=FIRST_COMPLETED)  # so that Ctrl-C is seen
    return future.result()


def _play(lab: Lab, seeds: range) -> Tally:
    tally = Tally(fired={}, outcomes={}, held=lab.world.checks.held)
    for seed in seeds:
        history = lab.play(seed)
        tally.add(history)
        if history.violations:
            tally.first = seed
            break
    return tally


HERE: list[Lab] = []
"""In a process of the pool: its lab."""


def _set_up(
    definition: Saga, style: str, open_services: OpenServices, rates: Rates, own: Sequence[OwnInvariant]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for the results
    CtrlC.raises = Interrupted
    leave_when_forked()
    HERE[:] = [Lab(definition, style, open_services(), rates, own)]


def _play_here(seeds: range) -> Tally:
    return _play(HERE[0], seeds)

"""Simulator: deliveries a second in virtual time, against the same sagas written with SimPy.

Both sides run as many sagas at once, call the same services, and keep a trace in memory. Neither is charged for what is
built beforehand: here the world with its wiring, there the environment with its processes.
"""

from collections.abc import Callable

from benchmarks.measure import Failed, Figure, Pairs, Target, Tell, in_pairs, rates, seconds, settled
from benchmarks.simpy_saga import SimpySagas, SimpySagasByProcess
from choreo.lab.model.world import World
from choreo.lab.simulate.simulator import Simulation
from choreo.saga.definition import RunOf, Saga, Step
from services import catalogue

STEPS = ("place_order", "charge", "reserve", "ship", "notify")


def measure(quick: bool, tell: Tell) -> list[Figure]:
    sagas, pairs = (100, 2) if quick else (2_000, 25)
    tell("comparing the deliveries")
    deliveries = deliveries_of(sagas)

    def against(simpy: Callable[[], float], choreo: Callable[[], float]) -> Pairs:
        return in_pairs(pairs, simpy, choreo, tell)

    plain = against(lambda: seconds_of_simpy(SimpySagas, sagas), lambda: seconds_of_choreo(sagas))
    told = against(lambda: seconds_of_simpy(SimpySagas, sagas), lambda: seconds_of_choreo(sagas, with_records=True))
    usual = against(lambda: seconds_of_simpy(SimpySagasByProcess, sagas), lambda: seconds_of_choreo(sagas))
    return [
        Figure("SimPy time / choreo time", "", plain.ratios(), Target(1.5, at_least=True)),
        Figure("choreo", "deliveries/s", rates(deliveries, plain.b)),
        Figure("SimPy", "deliveries/s", rates(deliveries, plain.a)),
        Figure("SimPy time / choreo time, its records made", "", told.ratios()),
        Figure("choreo, its records made", "deliveries/s", rates(deliveries, told.b)),
        Figure("SimPy time, a process for each message / choreo time", "", usual.ratios()),
        Figure("SimPy, a process for each message", "deliveries/s", rates(deliveries, usual.a)),
    ]


def seconds_of_choreo(sagas: int, with_records: bool = False) -> float:
    simulation = simulation_of(sagas)
    with settled():
        return seconds(lambda: list(simulation.run().records()) if with_records else simulation.run())


def seconds_of_simpy(kind: type[SimpySagas], sagas: int) -> float:
    simpy = kind(STEPS, catalogue(), sagas)
    with settled():
        return seconds(simpy.run)


def simulation_of(sagas: int) -> Simulation:
    """Not run yet."""
    runs = tuple(RunOf(f"order-{number}") for number in range(1, sagas + 1))
    order = Saga("order", steps=tuple(map(Step, STEPS, STEPS)), runs=runs)
    return Simulation(World(order, "choreography", catalogue()))


def deliveries_of(sagas: int) -> int:
    """How many there are. All sides make the very same ones: when, of which topic and run, to whom."""
    simulation = simulation_of(sagas).run()
    ours = sorted(
        (at_ms, event.topic.name, event.run.id, route.subscriber) for at_ms, _, event, route, *_ in simulation.log
    )
    for kind in (SimpySagas, SimpySagasByProcess):
        simpy = kind(STEPS, catalogue(), sagas)
        simpy.run()
        if sorted(simpy.delivered()) != ours or not simulation.came_to_rest:
            raise Failed(f"expected {kind.__name__} to make the deliveries of choreo, got others")
    return len(ours)

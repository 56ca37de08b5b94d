"""Explorer: every state of a trip with two faults; what it takes, and what the reduction saves.

Each exploration has a fresh process to itself, this file run as a program, which replies with a line of JSON.
"""

import json
import sys

from msgspec.structs import replace

from benchmarks.measure import Failed, Figure, Target, Tell
from benchmarks.memory import megabytes
from benchmarks.processes import ask, started
from choreo.lab.explore.explorer import Explorer
from choreo.lab.explore.limits import Limits
from choreo.saga.definition import FaultKind, Faults, Saga, Step
from choreo.saga.guarantees import Guarantees
from services import catalogue

BRANCHES = ("book_hotel", "book_car", "book_insurance")
UNREDUCED = Limits(states=1_000_000)
UNLIMITED = Limits()

Result = dict[str, float]


def measure(quick: bool, tell: Tell) -> list[Figure]:
    branches, times = (1, 1) if quick else (3, 5)
    reduced, unreduced = [], []
    for number in range(1, times + 1):
        tell(f"pair {number} of {times}")
        reduced.append(explored_afresh("reduced", branches))
        unreduced.append(explored_afresh("unreduced", branches))
    tell("counting the states without faults")
    few, many = (explored_afresh(case, branches)["states"] for case in ("reduced-calm", "unreduced-calm"))
    return [
        Figure("all states", "s", of("seconds", reduced), Target(30.0)),
        Figure("peak memory", "MB", of("megabytes", reduced), Target(1_000.0)),
        Figure("reduced", "states/s", per_second("states", reduced), Target(50_000.0, at_least=True)),
        Figure("reduced", "transitions/s", per_second("transitions", reduced)),
        Figure("reduced", "states", of("states", reduced)),
        Figure("reduced", "bytes/state", of("bytes_per_state", reduced)),
        Figure("unreduced", "states/s", per_second("states", unreduced)),
        Figure("unreduced", "transitions/s", per_second("transitions", unreduced)),
        Figure("unreduced", "bytes/state", of("bytes_per_state", unreduced)),
        Figure(f"unreduced / reduced states, without faults ({many:,} / {few:,})", "", [many / few]),
    ]


def of(name: str, results: list[Result]) -> list[float]:
    return [result[name] for result in results]


def per_second(name: str, results: list[Result]) -> list[float]:
    return [result[name] / result["seconds"] for result in results]


def explored_afresh(case: str, branches: int) -> Result:
    with started((sys.executable, "-m", "benchmarks.explorer", case, str(branches))) as process:
        result: Result = json.loads(ask(process, b"", replies=1))
    return result


def trip(branches: int) -> Saga:
    """A flight, so much in parallel, the payment; each may be refused but the flight. Nothing is kept in order."""
    parallel = BRANCHES[:branches]
    steps = (
        Step("book_flight"),
        *(Step(name, after=("book_flight",), fails="may") for name in parallel),
        Step("pay", after=parallel, fails="may"),
    )
    faults = Faults((FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.DELAY, FaultKind.CRASH), budget=2)
    return Saga("trip", steps=steps, guarantees=Guarantees(ordering=False), faults=faults)


def explored(case: str, branches: int) -> Result:
    """What one exploration took. A transition is a delivery or a fault; a delay is but another order of deliveries."""
    definition, is_reduced = trip(branches), case.startswith("reduced")
    if case.endswith("calm"):
        definition = replace(definition, faults=Faults())
    limits = UNREDUCED if case == "unreduced" else UNLIMITED
    report = Explorer(definition, "choreography", catalogue(), is_reduced, limits).explore()
    if report.is_finding and report.stopped is None:
        raise Failed(f"expected a safe trip, got {report.as_json()}")
    faults = sum(count for kind, count in report.faults_fired.items() if kind != FaultKind.DELAY)
    return {
        "seconds": report.elapsed_s,
        "states": report.states or 0,
        "transitions": report.events + faults,
        "bytes_per_state": report.bytes_per_state or 0.0,
        "megabytes": megabytes("self", "VmHWM"),
    }


if __name__ == "__main__":
    print(json.dumps(explored(sys.argv[1], int(sys.argv[2]))), flush=True)

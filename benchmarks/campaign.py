"""Campaign: ten thousand histories of an order in which everything goes wrong that may, on two cores."""

from functools import partial

from benchmarks.measure import Failed, Figure, Target, Tell, rates, seconds
from choreo.api import open_services
from choreo.lab.report import Conclusion
from choreo.lab.simulate.campaign import simulate
from choreo.lab.simulate.faults import RATE
from choreo.saga.definition import FaultKind
from services.sagas import order

PROCESSES = 2
SERVICES = partial(open_services, "services")
RATES = dict.fromkeys(FaultKind, RATE)


def measure(quick: bool, tell: Tell) -> list[Figure]:
    seeds, times = (200, 1) if quick else (10_000, 9)
    samples = []
    for number in range(1, times + 1):
        tell(f"campaign {number} of {times}")
        samples.append(seconds(lambda: play(seeds)))
    return [
        Figure(f"{seeds:,} seeds, with starting {PROCESSES} processes", "s", samples, Target(60.0)),
        Figure("histories", "histories/s", rates(seeds, samples)),
    ]


def play(seeds: int) -> None:
    report = simulate(order, "choreography", SERVICES, range(1, seeds + 1), RATES, PROCESSES)
    if (report.verdict, report.histories, report.never_fired) != (Conclusion.SAFE, seeds, ()):
        raise Failed(f"expected {seeds} safe histories with faults of every kind, got {report.as_json()}")

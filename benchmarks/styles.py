"""Styles: choreography against orchestration, in process, without messages to read or write."""

from benchmarks.measure import Figure, Tell, in_pairs, rates, seconds, settled
from benchmarks.workload import STEPS, fail_step
from choreo.api import compose, open_services
from choreo.protocol.event import Event
from choreo.runtime.in_memory import InProcessRunner

MIX = 4  # one saga in four fails


def measure(quick: bool, tell: Tell) -> list[Figure]:
    sagas, pairs = (1_000, 2) if quick else (50_000, 9)
    runner = compose(open_services())
    with settled():
        times = in_pairs(
            pairs,
            lambda: seconds(lambda: run(runner, "choreography", sagas)),
            lambda: seconds(lambda: run(runner, "orchestration", sagas)),
            tell,
        )
    figures = [Figure("orchestration time / choreography time", "", [1 / ratio for ratio in times.ratios()])]
    for style, samples in (("choreography", times.a), ("orchestration", times.b)):
        events = events_of(style)
        figures += [
            Figure(style, "sagas/s", rates(sagas, samples)),
            Figure(style, "events/s", rates(sagas * events // MIX, samples)),
            Figure(style, "events/saga", [events / MIX]),
        ]
    return figures


def run(runner: InProcessRunner, style: str, sagas: int) -> None:
    for number in range(sagas):
        runner.execute(number, STEPS, fail_step(number), style=style)


def events_of(style: str) -> int:
    """How many events are published in one round of the mix."""
    events: list[Event] = []
    run(InProcessRunner(open_services(), observe=events.append), style, MIX)
    return len(events)

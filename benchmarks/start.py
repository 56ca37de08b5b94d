"""Start: from the launch of a process to its first reply."""

from time import perf_counter

from benchmarks.measure import Failed, Figure, Target, Tell, in_pairs
from benchmarks.processes import LOOP, NODE, Command, ask, started
from benchmarks.workload import request


def measure(quick: bool, tell: Tell) -> list[Figure]:
    pairs = 3 if quick else 41
    times = in_pairs(pairs, lambda: seconds_to_first_reply(NODE), lambda: seconds_to_first_reply(LOOP), tell)
    return [
        Figure("node time / loop time", "", times.ratios(), Target(3.0)),
        Figure("node", "ms", [time * 1000 for time in times.a]),
        Figure("loop", "ms", [time * 1000 for time in times.b]),
    ]


def seconds_to_first_reply(command: Command) -> float:
    """The input stays open, as a client's that waits for its answer."""
    start = perf_counter()
    with started(command) as process:
        reply = ask(process, request(1), replies=1)
        seconds = perf_counter() - start
    if b"saga_completed" not in reply:
        raise Failed(f"expected a completed saga, got {reply!r}")
    return seconds

"""Throughput: requests through a pipe, against a loop that runs no saga."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Failed, Figure, Target, Tell, in_pairs, rates
from benchmarks.processes import LOOP, NODE, replies_of, seconds_to_answer
from benchmarks.workload import write_requests


def measure(quick: bool, tell: Tell) -> list[Figure]:
    requests, pairs = (2_000, 2) if quick else (200_000, 9)
    with TemporaryDirectory() as directory:
        file = write_requests(Path(directory), requests)
        tell("comparing the replies")
        if replies_of(LOOP, file.read_bytes()) != replies_of(NODE, file.read_bytes()):
            raise Failed("expected the node and the loop to give the very same replies, got different ones")
        times = in_pairs(pairs, lambda: seconds_to_answer(LOOP, file), lambda: seconds_to_answer(NODE, file), tell)
    return [
        Figure("loop time / node time", "", times.ratios(), Target(1.0, at_least=True)),
        Figure("node", "requests/s", rates(requests, times.b)),
        Figure("loop", "requests/s", rates(requests, times.a)),
    ]

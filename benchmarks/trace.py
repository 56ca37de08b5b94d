"""Trace: what it costs to have every event on record."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figure, Target, Tell, in_pairs, rates
from benchmarks.processes import NODE, seconds_to_answer
from benchmarks.workload import write_requests


def measure(quick: bool, tell: Tell) -> list[Figure]:
    requests, pairs = (2_000, 2) if quick else (200_000, 7)
    with TemporaryDirectory() as directory:
        file, trace = write_requests(Path(directory), requests), Path(directory) / "trace.jsonl"
        traced = (*NODE, "--trace", str(trace))
        times = in_pairs(pairs, lambda: seconds_to_answer(NODE, file), lambda: seconds_to_answer(traced, file), tell)
        with trace.open("rb") as records:
            record_count = sum(1 for _ in records)
    return [
        Figure("time without / time with --trace", "", times.ratios(), Target(0.25, at_least=True)),
        Figure("with --trace", "requests/s", rates(requests, times.b)),
        Figure("with --trace", "records/s", rates(record_count, times.b)),
    ]

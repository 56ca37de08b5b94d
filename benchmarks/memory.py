"""Memory: what a million sagas leave behind in the node."""

from pathlib import Path

from benchmarks.measure import Figure, Target, Tell
from benchmarks.processes import NODE, ask, started
from benchmarks.workload import requests

BATCH = 100
STATUS = "/proc/{}/status"


def measure(quick: bool, tell: Tell) -> list[Figure]:
    early, late, times = (1_000, 20_000, 2) if quick else (10_000, 1_000_000, 3)
    grown, resident = [], []
    for number in range(1, times + 1):
        tell(f"node {number} of {times}")
        before, after = megabytes_after(early, late)
        grown.append(after - before)
        resident.append(after)
    return [
        Figure(f"growth from {early:,} to {late:,} sagas", "MB", grown, Target(5.0)),
        Figure(f"resident after {late:,} sagas", "MB", resident),
    ]


def megabytes_after(early: int, late: int) -> tuple[float, float]:
    """The resident size of one node once it has answered `early` sagas, and once it has answered `late` of them."""
    with started(NODE) as node:
        sizes = []
        for number in range(0, late, BATCH):
            ask(node, requests(range(number, number + BATCH)), replies=BATCH)
            if number + BATCH in (early, late):
                sizes.append(megabytes(node.pid, "VmRSS"))
    before, after = sizes
    return before, after


def megabytes(process: int | str, name: str) -> float:
    """Linux only; `proc(5)` says what VmRSS and VmHWM are, in units of 1024 bytes."""
    for line in Path(STATUS.format(process)).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) / 1024
    raise AssertionError(f"a live process has {name}")

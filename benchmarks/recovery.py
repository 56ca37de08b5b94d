"""Recovery: what a journal full of runs costs, unfinished ones at the start of a node, finished ones while it works.

The unfinished runs are real: taken, and cut off after their first step. The million finished ones are copies of real
rows, made by SQL, since to run them would take minutes.
"""

import sqlite3
import subprocess
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.durable import IN_FLIGHT, MANY, WARM_UP, lines
from benchmarks.measure import Failed, Figure, Target, Tell, in_pairs
from benchmarks.pipe_client import converse
from benchmarks.processes import NODE, ROOT, environment, started
from benchmarks.workload import STEPS, fail_step
from choreo.api import open_services
from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.request import Request, Sender
from choreo.storage.sqlite.journal import Journal

BATCH = 1_000
SAGAS = 20_000
SAGAS_QUICK = 200

RUN_COPY = (
    """run + n * 1000, '"copy-' || (run + n * 1000) || '"', src, msg_id, reply_as, style, steps, fail_step, """
    "fail_compensation, begun_ms, state, ended_ms, outcome, resolution, saga, input"
)
DELIVERY_COPY = "run + n * 1000, number, at_ms, seat, heard, published, detail, receipt"
"""The n-th copy of a row."""

PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=open("/dev/null", "wb")).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command in a process of its own, whose only child it is: its status and its largest size in kB."""


def measure(quick: bool, tell: Tell) -> list[Figure]:
    return [*unfinished(quick, tell), *finished(quick, tell)]


def unfinished(quick: bool, tell: Tell) -> list[Figure]:
    """Resume them all, and few of them: the time, and how much more memory it takes."""
    many, few, times = (2_000, 1_000, 1) if quick else (100_000, 2_000, 3)
    elapsed, grown, peaks = [], [], []
    for number in range(1, times + 1):
        tell(f"unfinished runs: {number} of {times}")
        seconds, peak = resumed(many)
        _, small = resumed(few)
        elapsed.append(seconds)
        peaks.append(peak)
        grown.append(peak - small)
    return [
        Figure(f"{many:,} unfinished runs resumed in", "s", elapsed, Target(30.0)),
        Figure("resident at most meanwhile", "MB", peaks),
        Figure(f"more than with {few:,} unfinished runs", "MB", grown, Target(20.0)),
    ]


def resumed(runs: int) -> tuple[float, float]:
    """Seconds from the launch of a node until it has brought so many runs to their end, and its size in MB."""
    with TemporaryDirectory() as directory:
        path = str(Path(directory) / "journal")
        leave_unfinished(path, runs)
        start = perf_counter()
        told = subprocess.run(
            [NODE[0], "-c", PEAK, *NODE, "--journal", path],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env=environment(),
        ).stdout
        elapsed = perf_counter() - start
        status, kilobytes = map(int, told.split())
        journal = Journal.open_to_read(path)
        counts = journal.counts()
        journal.close()
    if status or counts != {"completed": runs - runs // 4, "compensated": runs // 4}:
        raise Failed(f"expected {runs} runs to be resumed, got {counts} and status {status}")
    return elapsed, kilobytes / 1024


def leave_unfinished(path: str, runs: int) -> None:
    """A journal as a node leaves it that dies while so many runs are between their first step and their second."""
    journal = Journal.open(path)
    runner = DurableRunner(open_services(), journal, lambda: 1)
    for begin in range(0, runs, BATCH):
        for number in range(begin, begin + BATCH):
            runner.begin(Request(f"booking-{number}", STEPS, fail_step(number)), Sender("client", number))
        runner.commit()
        runner._rounds.publish()  # noqa: SLF001  # one round; the public way goes on to the end
        runner.commit()
        runner._rounds._outbox.clear()  # noqa: SLF001  # the process dies here, as far as the journal can tell
    journal.close()


def finished(quick: bool, tell: Tell) -> list[Figure]:
    """New sagas on a journal with many finished runs, and on an empty one, in turn."""
    runs, sagas, pairs = (4_000, SAGAS_QUICK, 1) if quick else (1_000_000, SAGAS, 7)
    with TemporaryDirectory() as directory:
        tell(f"making {runs:,} finished runs")
        full = str(Path(directory) / "full")
        leave_finished(full, runs)
        times = in_pairs(
            pairs,
            lambda: seconds_for_new(full, sagas),
            lambda: seconds_for_new(str(Path(directory) / f"empty-{perf_counter()}"), sagas),
            lambda how_far: tell(f"{runs:,} finished runs: {how_far}"),
        )
        size = Path(full).stat().st_size / 2**20
    return [
        Figure(f"new sagas with {runs:,} finished runs / with none, time", "", times.ratios(), Target(1.2)),
        Figure("that journal", "MB", [size]),
    ]


def leave_finished(path: str, runs: int) -> None:
    """A thousand real runs, and copies of them under other numbers and names."""
    with started((*NODE, "--journal", path)) as node:
        converse(node, lines(range(BATCH)), IN_FLIGHT[MANY])
    Journal.open(path).close()  # the node was killed: what it left is moved into the file
    connection = sqlite3.connect(path)
    with connection:
        for table, columns in (("runs", RUN_COPY), ("deliveries", DELIVERY_COPY)):
            rows = f"SELECT {columns} FROM {table}, (SELECT ? AS n) WHERE run <= {BATCH}"  # noqa: S608  # constants of this module
            connection.executemany(f"INSERT INTO {table} {rows}", [(n,) for n in range(1, runs // BATCH)])
    connection.close()


def seconds_for_new(path: str, sagas: int) -> float:
    """How long a node takes for sagas that were never asked for before."""
    first = next(fresh_numbers) * SAGAS
    warm_up, measured = lines(range(first, first + WARM_UP)), lines(range(first + WARM_UP, first + WARM_UP + sagas))
    with started((*NODE, "--journal", path)) as node:
        converse(node, warm_up, IN_FLIGHT[MANY])
        start = perf_counter()
        converse(node, measured, IN_FLIGHT[MANY])
        return perf_counter() - start


fresh_numbers = count(1)

"""Durable: sagas a second that would survive a crash, against DBOS and eventsourcing, and what it costs to be durable.

Every side runs the mix, in a process of its own and on a fresh SQLite file; nothing is done in the steps. Each is as
durable as it is by default, and the figures name how; choreo commits to a write-ahead log with synchronous=FULL. The
node is asked through pipes, and its JSON and its client count against it; the rivals are called where they run. One at
a time, a saga starts once the one before it has ended.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol

from benchmarks.measure import Failed, Figure, Pairs, Target, Tell, in_pairs, seconds, settled
from benchmarks.pipe_client import converse
from benchmarks.processes import NODE, Command, ask, started
from benchmarks.workload import STEPS, fail_step, request

ONE, MANY = "one at a time", "64 in flight"
IN_FLIGHT = {ONE: 1, MANY: 64}
WARM_UP = 64

# Each takes a second or two.
SAGAS = {ONE: 2_000, MANY: 20_000}
SAGAS_IN_MEMORY = 100_000
SAGAS_QUICK = 72
PAIRS, PAIRS_QUICK = 7, 1

SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
JOURNALS = {"delete": "rollback journal", "wal": "WAL"}

Ending = tuple[str, list[str]]
"""The outcome of a saga, and which of its steps were compensated, in that order."""

Endings = dict[str, int]
"""How many sagas ended in which way."""


@dataclass(frozen=True, eq=False)
class Rival:
    """A program that runs the sagas, how many of them it is given, and by how much it is to be outdone."""

    name: str
    module: str
    sagas: dict[str, int]
    targets: dict[str, Target]


DBOS = Rival(
    "DBOS",
    "benchmarks.dbos_saga",
    {ONE: 160, MANY: 160},
    {ONE: Target(10.0, at_least=True), MANY: Target(100.0, at_least=True)},
)
EVENTSOURCING = Rival("eventsourcing", "benchmarks.eventsourcing_saga", {ONE: 1_000, MANY: 6_000}, {})
RIVALS = (DBOS, EVENTSOURCING)


def measure(quick: bool, tell: Tell) -> list[Figure]:
    figures: list[Figure] = []
    for way in IN_FLIGHT:
        figures += against_rivals(way, quick, tell)
    return figures + against_memory(quick, tell)


def against_rivals(way: str, quick: bool, tell: Tell) -> list[Figure]:
    pairs = [against(rival, way, quick, tell) for rival in RIVALS]
    return [
        *(
            Figure(f"{way}: choreo / {rival.name}", "", pair.ratios(), rival.targets.get(way))
            for rival, pair in zip(RIVALS, pairs, strict=True)
        ),
        Figure(f"{way}: choreo", "sagas/s", [rate for pair in pairs for rate in pair.a]),
        *(
            Figure(f"{way}: {rival.name} ({durability(rival)})", "sagas/s", pair.b)
            for rival, pair in zip(RIVALS, pairs, strict=True)
        ),
    ]


def against(rival: Rival, way: str, quick: bool, tell: Tell) -> Pairs:
    ours, theirs = (SAGAS_QUICK, SAGAS_QUICK) if quick else (SAGAS[way], rival.sagas[way])
    return in_pairs(
        PAIRS_QUICK if quick else PAIRS,
        lambda: rate_of_durable_node(ours, IN_FLIGHT[way]),
        lambda: theirs / result_of(rival, theirs, IN_FLIGHT[way])["seconds"],
        lambda how_far: tell(f"{way}, {rival.name}: {how_far}"),
        does_warm_up=not quick,
    )


def against_memory(quick: bool, tell: Tell) -> list[Figure]:
    ours, theirs = (SAGAS_QUICK, SAGAS_QUICK) if quick else (SAGAS[MANY], SAGAS_IN_MEMORY)
    pair = in_pairs(
        PAIRS_QUICK if quick else PAIRS,
        lambda: rate_of_durable_node(ours, IN_FLIGHT[MANY]),
        lambda: rate_of_node(NODE, theirs, IN_FLIGHT[MANY]),
        lambda how_far: tell(f"{MANY}, in memory: {how_far}"),
        does_warm_up=not quick,
    )
    return [
        Figure(f"{MANY}: durable / in memory", "", pair.ratios(), Target(0.2, at_least=True)),
        Figure(f"{MANY}: choreo, in memory", "sagas/s", pair.b),
    ]


# The node


def rate_of_durable_node(sagas: int, in_flight: int) -> float:
    with TemporaryDirectory() as directory:
        return rate_of_node((*NODE, "--journal", str(Path(directory) / "journal")), sagas, in_flight)


def rate_of_node(command: Command, sagas: int, in_flight: int) -> float:
    warm_up, measured = numbers(sagas)
    with started(command) as node, settled():
        converse(node, lines(warm_up), in_flight)
        requests = lines(measured)
        start = perf_counter()
        replies = converse(node, requests, in_flight)
        elapsed = perf_counter() - start
    check(counted(map(ending_told, replies.splitlines())), measured)
    return sagas / elapsed


@cache
def lines(asked: range) -> tuple[bytes, ...]:
    return tuple(request(number, fail_step=fail_step(number)) for number in asked)


def ending_told(reply: bytes) -> Ending:
    body = json.loads(reply)
    return body["state"], body.get("compensated_steps", [])


# The rivals


def result_of(rival: Rival, sagas: int, in_flight: int) -> dict[str, Any]:
    """What the rival prints; it ran the very sagas that it was to run."""
    with TemporaryDirectory() as directory:
        command = (sys.executable, "-m", rival.module, str(sagas), str(in_flight), directory)
        with started(command) as process:
            result: dict[str, Any] = json.loads(ask(process, b"", replies=1))
    check(result["endings"], numbers(sagas)[1])
    return result


@cache
def durability(rival: Rival) -> str:
    """As its own connection says."""
    return str(result_of(rival, sagas=1, in_flight=1)["durability"])


class Sagas(Protocol):
    """A rival at work: what its program measures."""

    @property
    def durability(self) -> str:
        """Asked of a connection of its own."""

    def run(self, numbers: Iterable[int], in_flight: int) -> None:
        """Run the sagas to their ends, and so many at once."""

    def endings(self, numbers: Iterable[int]) -> Iterable[Ending]:
        """Read from the file: how they ended."""


def compete(opened: Callable[[Path], AbstractContextManager[Sagas]]) -> None:
    """The program of a rival: run the sagas in the directory, and print the seconds and what is in the file then."""
    sagas, in_flight, directory = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    warm_up, measured = numbers(sagas)
    with opened(directory) as rival:
        rival.run(warm_up, in_flight)
        with settled():
            elapsed = seconds(lambda: rival.run(measured, in_flight))
        result = {
            "seconds": elapsed,
            "endings": counted(rival.endings(measured)),
            "durability": rival.durability,
        }
        print(json.dumps(result), flush=True)


def settings(pragma: Callable[[str], Any]) -> str:
    """How durable a SQLite connection is, which answers to a pragma."""
    journal, synchronous = pragma("PRAGMA journal_mode"), pragma("PRAGMA synchronous")
    return f"{JOURNALS.get(journal, journal)}, synchronous={SYNCHRONOUS[synchronous]}"


# The work, the same for all


def numbers(sagas: int) -> tuple[range, range]:
    """Of the sagas that warm up, and of those that are measured."""
    return range(WARM_UP), range(WARM_UP, WARM_UP + sagas)


def check(endings: Endings, measured: range) -> None:
    """Raises `Failed` unless all ended as they were to."""
    expected = counted(map(ending, measured))
    if endings != expected:
        raise Failed(f"expected sagas that end as {expected}, got {endings}")


def ending(number: int) -> Ending:
    failing = fail_step(number)
    if failing is None:
        return "completed", []
    return "compensated", list(reversed(STEPS[: STEPS.index(failing)]))


def counted(endings: Iterable[Ending]) -> Endings:
    return Counter(" ".join((outcome, *compensated)) for outcome, compensated in endings)

"""The benchmarks run, and compare like with like. What they measure is not tested: no test looks at a clock."""

import json
import subprocess
import sys

import pytest

from benchmarks.durable import RIVALS, WARM_UP, Rival, check, counted, ending_told, result_of
from benchmarks.explorer import explored
from benchmarks.measure import Failed
from benchmarks.pipe_client import converse
from benchmarks.processes import LOOP, NODE, ROOT, replies_of, started
from benchmarks.simpy_saga import SimpySagas
from benchmarks.simulator import STEPS, deliveries_of
from benchmarks.workload import requests
from choreo.saga.service import Refused

NAMES = [
    "throughput",
    "trace",
    "long-saga",
    "start",
    "memory",
    "styles",
    "simulator",
    "explorer",
    "campaign",
    "durable",
    "recovery",
]
RESULTS = ROOT / "benchmarks" / "results.json"

TELLS_HOW_MANY_CAME_AT_ONCE = """
import os
while data := os.read(0, 65536):
    count = data.count(b"\\n")
    os.write(1, b"%d\\n" % count * count)
"""


class Counted:
    """A service that counts."""

    def __init__(self, refuses: bool) -> None:
        self.refuses, self.executed, self.compensated = refuses, 0, 0

    def execute(self, reference: str) -> None:
        if self.refuses:
            raise Refused("no")
        self.executed += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.compensated += 1


def benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.slow
def test_a_quick_run_has_figures_of_every_benchmark() -> None:
    """Each figure comes with its samples and, where it has a target, with a verdict; kept results stay as they are."""
    kept = RESULTS.read_bytes() if RESULTS.exists() else None

    run = benchmarks("--quick", "--json")

    results = json.loads(run.stdout)
    assert (run.returncode, list(results["benchmarks"])) == (0, NAMES)
    for name, figures in results["benchmarks"].items():
        assert any(figure["target"] for figure in figures) or name == "styles"
        for figure in figures:
            assert figure["min"] <= figure["median"] <= figure["max"]
            assert len(figure["samples"]) > 0
            assert (figure["met"] is None) == (figure["target"] is None)
    assert (RESULTS.read_bytes() if RESULTS.exists() else None) == kept


@pytest.mark.slow
def test_only_what_is_named_is_measured() -> None:
    """--only may be repeated, and the table says what was found."""
    run = benchmarks("--quick", "--only", "styles", "--only", "start")

    assert run.returncode == 0
    assert "node time / loop time" in run.stdout
    assert "choreography" in run.stdout
    assert "--trace" not in run.stdout


@pytest.mark.parametrize("is_bare", [False, True], ids=["enveloped", "bare"])
def test_the_loop_gives_the_replies_of_the_node(is_bare: bool) -> None:
    """The yardstick does the same work as far as a client can tell, for both forms of a message."""
    mix = requests(range(1_000), is_bare)

    assert replies_of(LOOP, mix) == replies_of(NODE, mix)


def test_a_benchmark_that_does_not_exist_is_wrong_use() -> None:
    """Wrong use exits with 2, says what would be right, and measures nothing."""
    run = benchmarks("--only", "no-such-benchmark")

    assert (run.returncode, run.stdout) == (2, "")
    assert "throughput" in run.stderr


@pytest.mark.parametrize("refusing", [None, *STEPS])
def test_sagas_with_simpy_are_sagas(refusing: str | None) -> None:
    """All steps take effect or all effects are undone, and the client is told which."""
    services = {step: Counted(refuses=step == refusing) for step in STEPS}

    sagas = SimpySagas(STEPS, services.__getitem__, runs=2)
    sagas.run()

    done = STEPS if refusing is None else STEPS[: STEPS.index(refusing)]
    ends = [entry for entry in sagas.delivered() if entry[3] == "client"]
    assert [(topic, run) for _, topic, run, _ in ends] == [
        ("saga/completed" if refusing is None else "saga/compensated", run) for run in ("run-1", "run-2")
    ]
    assert [service.executed for service in services.values()] == [2 * (step in done) for step in STEPS]
    assert [service.compensated for service in services.values()] == [
        2 * (step in done and refusing is not None) for step in STEPS
    ]


def test_the_simulator_and_simpy_make_the_same_deliveries() -> None:
    """The yardstick does the same work: the same events, at the same time, to the same hearers."""
    assert deliveries_of(sagas=10) == 10 * (len(STEPS) + 2)


@pytest.mark.parametrize("case", ["reduced", "unreduced"])
def test_the_explorer_is_measured_on_a_trip_that_is_safe(case: str) -> None:
    """Every state of the small trip is looked at, and the figures are those of one exploration."""
    result = explored(case, branches=1)

    assert result["states"] > 0
    assert result["transitions"] > result["states"]
    assert result["megabytes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_the_rivals_run_the_sagas_of_the_node(rival: Rival, in_flight: int) -> None:
    """The same sagas complete, and the same steps are compensated in the same order: so it is in the rival's file."""
    mix = requests(range(WARM_UP, WARM_UP + 8))

    result = result_of(rival, sagas=8, in_flight=in_flight)

    assert result["endings"] == {"completed": 6, "compensated book_hotel book_flight": 2}
    assert result["endings"] == counted(map(ending_told, replies_of(NODE, mix).splitlines()))


@pytest.mark.parametrize("undone", ["", " book_flight book_hotel", " book_hotel"])
def test_sagas_that_end_otherwise_are_not_measured(undone: str) -> None:
    """Neither compensations in the wrong order nor too few of them pass for the mix."""
    with pytest.raises(Failed, match="completed"):
        check({"completed": 6, f"compensated{undone}": 2}, range(8))


@pytest.mark.parametrize("in_flight", [1, 3, 64])
def test_the_client_keeps_so_many_requests_in_flight(in_flight: int) -> None:
    """As many as are to be under way come at once, then one for each reply, and never more."""
    lines = [b"a line\n"] * 100

    with started([sys.executable, "-c", TELLS_HOW_MANY_CAME_AT_ONCE]) as process:
        replies = converse(process, lines, in_flight)

    came = [int(reply) for reply in replies.splitlines()]
    assert (len(came), came[0], max(came)) == (100, in_flight, in_flight)


def test_the_client_says_so_when_the_node_ends() -> None:
    """No reply is waited for that cannot come."""
    with started([sys.executable, "-c", "input(); print(1)"]) as process, pytest.raises(Failed, match="after 1"):
        converse(process, [b"a line\n"] * 3, in_flight=1)

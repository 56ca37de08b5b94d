"""The benchmarks run, and compare like with like. What they measure is not tested: no test looks at a clock."""

import json
import subprocess
import sys

import pytest

from benchmarks.explorer import explored
from benchmarks.processes import LOOP, NODE, ROOT, replies_of
from benchmarks.simpy_saga import SimpySagas
from benchmarks.simulator import STEPS, deliveries_of
from benchmarks.workload import requests
from choreo.domain.service import Refused

NAMES = ["throughput", "trace", "long-saga", "start", "memory", "styles", "simulator", "explorer", "campaign"]
RESULTS = ROOT / "benchmarks" / "results.json"


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


def test_only_what_is_named_is_measured() -> None:
    """--only may be repeated, and the table says what was found."""
    run = benchmarks("--quick", "--only", "styles", "--only", "start")

    assert run.returncode == 0
    assert "node time / loop time" in run.stdout
    assert "choreography" in run.stdout
    assert "--trace" not in run.stdout


def test_the_loop_gives_the_replies_of_the_node() -> None:
    """The yardstick does the same work as far as a client can tell."""
    mix = requests(range(1_000))

    assert replies_of(LOOP, mix) == replies_of(NODE, mix)


def test_a_benchmark_that_does_not_exist_is_wrong_use() -> None:
    """Wrong use exits with 2, says what would be right, and measures nothing."""
    run = benchmarks("--only", "no-such-benchmark")

    assert (run.returncode, run.stdout) == (2, "")
    assert "throughput" in run.stderr


@pytest.mark.parametrize("refusing", [None, *STEPS])
def test_sagas_with_simpy_are_sagas(refusing: str | None) -> None:
    """All is done, or what was done is undone, and the client hears which."""
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

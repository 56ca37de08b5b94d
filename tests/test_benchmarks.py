"""The benchmarks run, and compare like with like. What they measure is not tested: no test looks at a clock."""

import json
import subprocess
import sys

from benchmarks.processes import LOOP, NODE, ROOT, replies_of
from benchmarks.workload import requests

NAMES = ["throughput", "trace", "long-saga", "start", "memory", "styles", "simulator", "explorer", "campaign"]
RESULTS = ROOT / "benchmarks" / "results.json"


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

"""Data in a trace: neither input nor results are shown, unless `--trace-data` asks for them."""

import json
from pathlib import Path

import pytest

from tests.node_client import Node, execute, line

TRIP = ("book_flight", "book_hotel")
INPUT = {"name": "Ana", "nights": [1, 2.5, None]}


def trace_of(tmp_path: Path, *options: str) -> str:
    path = tmp_path / "trace"
    with Node("--trace", str(path), *options) as node:
        node.send(line(execute(1, *TRIP, input=INPUT)))
        (reply,) = node.finish()
    assert json.loads(reply)["result"] == {"book_hotel": 80}
    return path.read_text()


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_trace_shows_no_data_by_default(form: str, level: str, tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "--trace-format", form, "--trace-level", level)

    assert "Ana" not in trace
    assert "result" not in trace


@pytest.mark.parametrize("journal", [False, True])
def test_a_trace_shows_input_and_results_if_asked(journal: bool, tmp_path: Path) -> None:
    options = ["--journal", str(tmp_path / "sagas.db")] if journal else []

    records = [json.loads(each) for each in trace_of(tmp_path, "--trace-data", *options).splitlines()]

    assert records[0]["input"] == INPUT
    results = {record["step"]: record.get("result") for record in records if record["event"] == "step.succeeded"}
    assert results == {"book_flight": None, "book_hotel": 80}


def test_people_see_it_beside_the_event(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "--trace-data", "--trace-format", "console")

    assert '  input {"name": "Ana", "nights": [1, 2.5, null]}' in trace
    assert "  result 80" in trace


def test_data_without_a_trace_is_wrong_use() -> None:
    with Node("--trace-data") as node:
        node.finish()
        assert "--trace-data: expected --trace with it, got none" in node.stderr
        assert node.process.wait(10) == 2

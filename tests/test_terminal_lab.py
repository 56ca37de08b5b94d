"""explore, simulate and lesson on the command line: what they print, what a program reads, and how they exit."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from choreo.compile import STYLES
from choreo.compile.linting import NO_SERVICE
from choreo.compile.watched import observed
from choreo.terminal.options.definition_arguments import read_steps
from tests.terminal import CHOREO, ROOT, choreo, environment, on_a_terminal, prose, spawn

ORDER = """
[saga]
name = "order"

[[step]]
name = "charge"
effect = { credit = -60 }

[[step]]
name = "reserve"
fails = "may"

[resources]
credit = { initial = 200, minimum = 0 }

[faults]
kinds = ["drop", "duplicate", "crash"]
budget = 1
"""

SCHEMA = {
    *("verdict", "style", "invariants", "events", "faults_fired", "outcomes", "counterexample"),
    *("stopped", "never_fired", "simulated", "elapsed_s"),
}


@pytest.fixture
def order(tmp_path: Path) -> str:
    """The path of a definition."""
    path = tmp_path / "order.toml"
    path.write_text(ORDER)
    return str(path)


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_a_proof_says_what_was_looked_at(order: str) -> None:
    """All states, the number of faults, and both styles after each other."""
    result = choreo("explore", order, "--style", "both", width=100)

    assert result.exit_code == 0
    assert re.search(r"order, choreography: safe\n  all \d+ reachable states with at most 1 fault", result.stdout)
    assert "order, orchestration: safe" in result.stdout


def test_a_violation_is_shown_with_the_command_that_shows_it_again(order: str) -> None:
    """The invariant, the fault, the picture; and the command prints the same."""
    result = choreo("explore", order, "--without", "inbox", "--faults", "duplicate", width=100)

    assert result.exit_code == 1
    assert "S2 at most once: charge took effect twice" in result.stdout
    assert "because: duplicate run-1/saga/started on its way to charge" in result.stdout
    again = re.search(r"again: choreo (.*)", result.stdout)
    assert again is not None
    repeated = choreo(*again[1].split(), width=100)
    assert _without_times(repeated.stdout) == _without_times(result.stdout)


def test_a_seed_is_shown_again_by_its_command(order: str) -> None:
    """The same for a campaign: the seed that it names breaks the same in the same way."""
    result = choreo("simulate", order, "--without", "redelivery", "--seeds", "50", width=100)

    assert result.exit_code == 1
    again = re.search(r"again: choreo (.*)", result.stdout)
    assert again is not None
    repeated = choreo(*again[1].split(), width=100)
    assert _picture(repeated.stdout) == _picture(result.stdout)


def _without_times(printed: str) -> str:
    return re.sub(r"in \d+\.\d s", "", printed)


def _picture(printed: str) -> str:
    return printed.partition("because:")[2].partition("again:")[0]


@pytest.mark.parametrize("command", ["explore", "simulate"])
@pytest.mark.parametrize("without", [(), ("--without", "inbox")], ids=["safe", "violated"])
def test_programs_read_one_object_a_style(order: str, command: str, without: tuple[str, ...]) -> None:
    """With the keys that are documented, and the trace of the counterexample as records."""
    rate = ("--faults", "duplicate=0.3") if command == "simulate" else ()
    result = choreo(command, order, "--style", "both", "--json", *without, *rate)

    found = objects(result.stdout)
    assert [each["style"] for each in found] == ["choreography", "orchestration"]
    for each in found:
        assert each.keys() == SCHEMA | {"states" if command == "explore" else "histories"}
        assert each["verdict"] == ("violated" if without else "safe")
        assert "S2" in each["invariants"]["checked"]
        assert bool(each["invariants"]["broken"]) is bool(without)
        if without:
            assert each["invariants"]["broken"][0].keys() == {"code", "title", "sentence"}
            assert each["counterexample"]["records"][0]["event"] == "saga.started"
            assert each["counterexample"]["faults"]
        else:
            assert each["counterexample"] is None
    assert result.exit_code == (1 if without else 0)


def test_one_history_is_shown_whole(order: str, tmp_path: Path) -> None:
    """Its faults, its picture, and its trace in a file that can be checked."""
    trace = tmp_path / "history.jsonl"

    result = choreo("simulate", order, "--seed", "2", "--trace", str(trace), width=100)

    assert result.exit_code == 0
    assert "1 history: nothing found" in result.stdout
    assert "● published" in result.stdout
    assert [json.loads(line)["seq"] for line in trace.read_text().splitlines()][:3] == [1, 2, 3]
    assert choreo("check", str(trace), "--definition", order).exit_code == 0


def test_a_counterexample_as_mermaid_is_nothing_else(order: str) -> None:
    """Fit to be put into a file."""
    result = choreo("explore", order, "--without", "inbox", "--mermaid")

    assert result.exit_code == 1
    assert result.stdout.startswith("sequenceDiagram\n")


def test_where_it_stops_nothing_is_proven() -> None:
    """It exits as a finding."""
    result = choreo("explore", "services.sagas:order", "--seconds", "0", "--max-faults", "2", width=100)

    assert result.exit_code == 1
    assert "incomplete" in result.stdout
    assert "nothing proven" in result.stdout


def test_a_fault_that_never_happened_is_a_finding(order: str) -> None:
    """A campaign meant to test partitions, in which none occurred."""
    result = choreo("simulate", order, "--seeds", "3", "--faults", "partition=0.0001", width=100)

    assert result.exit_code == 1
    assert "never fired: partition" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["explore", "missing.toml"], "missing.toml"),
        (["explore", "lesson-17"], "expected a lesson from 1 to 16, got 17"),
        (["explore", "lesson-5", "--without", "inbocks"], "did you mean 'inbox'?"),
        (["explore", "lesson-5", "--with", ""], None),
        (["explore", "lesson-5", "--faults", "dorp"], "did you mean 'drop'?"),
        (["explore", "lesson-5", "--max-faults", "-1"], "expected a number from 0 to 20, got -1"),
        (["explore", "lesson-5", "--services", "nowhere"], "expected a module that can be imported, got 'nowhere'"),
        (["explore", "lesson-5", "--json", "--mermaid"], "expected one form of output"),
        (["simulate", "lesson-5", "--seed", "1", "--seeds", "2"], "expected either --seed or --seeds, got both"),
        (["simulate", "lesson-5", "--seed", "-1"], "expected a number from 0, got -1"),
        (["simulate", "lesson-5", "--seeds", "0"], "expected a number from 1 to 10,000,000, got 0"),
        (["simulate", "lesson-5", "--faults", "drop=2"], "expected a rate from 0 to 1, such as drop=0.05"),
        (["simulate", "lesson-5", "--faults", "drop=0.6,crash=0.6"], "expected rates that come to 1 at most"),
        (["simulate", "lesson-5", "--trace", "x.jsonl"], "expected --seed S and one style as well"),
        (["lesson", "17"], "expected a lesson from 1 to 16, got 17"),
        (["lesson", "0"], "expected a lesson from 1 to 16, got 0"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], why: str | None) -> None:
    """The error names the expected and the received value, before any run."""
    result = choreo(*arguments, width=200)

    if why is None:
        assert result.exit_code in (0, 1)
    else:
        assert result.exit_code == 2
        assert why in prose(result.stderr)


def test_a_trace_that_cannot_be_written_is_told(order: str) -> None:
    """With the file and the reason."""
    result = choreo("simulate", order, "--seed", "1", "--trace", "/nowhere/history.jsonl", width=200)

    assert result.exit_code == 2
    assert "/nowhere/history.jsonl" in prose(result.stderr)


def test_the_lessons_are_listed() -> None:
    """Sixteen, with the invariants that they break."""
    result = choreo("lesson")

    assert result.exit_code == 0
    assert len(re.findall(r"^ +\d+  ", result.stdout, re.MULTILINE)) == 16
    assert len(objects(choreo("lesson", "--json").stdout)) == 16


@pytest.mark.parametrize("number", range(1, 17))
def test_a_lesson_is_as_told(number: int) -> None:
    """Story, question, run, fix with its proof, other style; no question is asked on a pipe."""
    result = choreo("lesson", str(number), width=100)

    assert result.exit_code == 0
    assert "What do you expect?" in result.stdout
    assert "Proof: all" in result.stdout
    assert "And in orchestration?" in result.stdout
    assert "Your answer" not in result.stdout
    (read,) = objects(choreo("lesson", str(number), "--json").stdout)
    assert read["as_told"] is True


def test_at_a_terminal_the_answer_is_waited_for() -> None:
    """The prediction is asked for, and judged."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*CHOREO, "lesson", "5"], env=environment(TERM="xterm", COLUMNS="100"), cwd=ROOT, stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    os.write(ours, b"1\n")
    printed = b""
    try:
        while chunk := os.read(ours, 65536):
            printed += chunk
    except OSError:  # nobody has the other end any more
        pass
    os.close(ours)

    assert command.wait() == 0
    assert b"Your answer" in printed
    assert b"Not quite: 2  120" in printed


def test_colour_appears_in_a_terminal_only(order: str) -> None:
    """And progress goes to stderr, which is no terminal here."""
    assert "\x1b[" in on_a_terminal("explore", order)
    assert b"\x1b[" not in spawn("explore", order).stdout
    assert spawn("explore", order).stderr == b""


def joins(width: int, count: int) -> str:
    """A definition of so many steps side by side, and so many joins, each after all of them."""
    first = [f"f{number}" for number in range(width)]
    steps = [f'[[step]]\nname = "{name}"\nafter = []\n' for name in first]
    steps += [f'[[step]]\nname = "j{number}"\nafter = {json.dumps(first)}\n' for number in range(count)]
    return "\n".join(['[saga]\nname = "joins"\n', *steps])


def test_what_is_made_of_a_join_grows_with_its_edges(tmp_path: Path) -> None:
    """A watched table has one more function for each row, and no more for each phase."""
    path = tmp_path / "joins.toml"
    path.write_text(joins(30, 100))
    saga = read_steps([str(path)], (), ())

    for style in STYLES:
        plain = STYLES[style](saga.saga, lambda step: NO_SERVICE)
        watching = observed(STYLES[style], lambda *reaction: None)(saga.saga, lambda step: NO_SERVICE)
        rows = list(zip(plain.subscriptions, watching.subscriptions, strict=True))
        assert all(len(set(map(id, row.moves))) == 1 for _, row in rows)
        assert all(
            (one.topic, one.seat, one.subscriber) == (other.topic, other.seat, other.subscriber) for one, other in rows
        )


def test_a_trace_of_names_that_utf_8_cannot_spell_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON spells them."""
    module = "surrogates_of_the_lab"
    (tmp_path / f"{module}.py").write_text(
        'from choreo.saga.definition import Saga, Step\nsaga = Saga("\\ud800", steps=(Step("a\\ud800"),))\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trace = tmp_path / "trace.jsonl"

    result = choreo("simulate", f"{module}:saga", "--seed", "1", "--trace", str(trace))

    assert result.exit_code == 0, result.stderr
    assert json.loads(trace.read_text().splitlines()[0])["saga_id"] == "\ud800"


@pytest.mark.parametrize(
    "command", [("explore",), ("simulate",), ("run",), ("compare",), ("lint",)], ids=lambda c: c[0]
)
@pytest.mark.parametrize(
    "catalogue",
    [
        "raise SystemExit(0)",
        "def catalogue():\n    raise SystemExit(0)",
        "def catalogue():\n    return None",
        "def catalogue():\n    return {}",
        "def catalogue():\n    return lambda name: 1 / 0",
        "def catalogue():\n    return lambda name: __import__('sys').exit(0)",
        "def catalogue():\n    return lambda name: None",
        "def catalogue():\n    return {'a': 7}.get",
    ],
)
def test_whatever_a_module_of_services_does_is_wrong_use(
    command: tuple[str, ...], catalogue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that names the module, and status 2."""
    module = f"module_{re.sub('[^a-z0-9]', '_', tmp_path.name)}"
    (tmp_path / f"{module}.py").write_text(catalogue)
    (tmp_path / "a.toml").write_text('[saga]\nname = "a"\n[[step]]\nname = "a"\nservice = "a"\n')
    monkeypatch.syspath_prepend(str(tmp_path))

    result = choreo(*command, str(tmp_path / "a.toml"), "--services", module)

    assert result.exit_code == 2, result.stdout
    assert isinstance(result.exception, SystemExit)
    assert module in prose(result.stderr)
    assert "--services" in prose(result.stderr)

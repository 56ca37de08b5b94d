"""Spelling suggestions: the error for a mistyped word names the closest of the expected words."""

import subprocess
import sys
from pathlib import Path

import pytest

from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.spelling import module_suggestion, nearest, suggestion
from services import catalogue
from tests.node_client import replies_to
from tests.terminal import ROOT, choreo, prose


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu", "a"], "Did you mean 'run'?"),
        (["run", "a", "--style", "choregraphy"], "got 'choregraphy'; did you mean 'choreography'?"),
        (["run", "a", "--stile", "both"], "Possible options: --fail, --style"),
        (["lint", "lesson-1", "--style", "bth"], "got 'bth'; did you mean 'both'?"),
        (["check", "-", "--format", "cloudevent"], "got 'cloudevent'; did you mean 'cloudevents'?"),
        (["sagas", "--journal", "x.db", "--state", "complted"], "got 'complted'; did you mean 'completed'?"),
        (["explore", "lesson-1", "--faults", "dorp"], "did you mean 'drop'?"),
        (["simulate", "lesson-1", "--faults", "crahs=0.1"], "did you mean 'crash'?"),
        (["explore", "lesson-1", "--without", "inbix"], "did you mean 'inbox'?"),
        (["run", "a", "--services", "shop.py"], "did you mean 'shop'?"),
        (["explore", "lesson-1", "--services", "shops/shop.py"], "did you mean 'shops.shop'?"),
        (
            ["explore", "shop.py:order"],
            "No module named 'shop'); did you mean 'shop'?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_line_suggests_the_closest_word(arguments: list[str], expected: str) -> None:
    """Wrong use exits with 2, and the error ends with the suggestion."""
    result = choreo(*arguments)

    assert result.exit_code == 2
    assert expected in prose(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--trace-format", "jsn"], "expected 'json' or 'console', got 'jsn'; did you mean 'json'?"),
        (["--trace-level", "debgu"], "expected 'info' or 'debug', got 'debgu'; did you mean 'debug'?"),
        (["--jurnal", "x.db"], "unrecognized arguments: --jurnal x.db; did you mean '--journal'?"),
        (["--services", "shop.py"], "did you mean 'shop'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_node_suggests_the_closest_word(arguments: list[str], expected: str) -> None:
    """The suggestion comes before any input is read."""
    node = subprocess.run(
        [sys.executable, "main.py", *arguments], cwd=ROOT, input="", capture_output=True, text=True, check=False
    )

    assert node.returncode == 2
    assert expected in node.stderr


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            '{"type": "execute", "saga_id": "s", "steps": ["a"], "style": "choregraphy"}',
            'style: expected "choreography" or "orchestration", got "choregraphy"; did you mean "choreography"?',
        ),
        (
            '{"type": "exectue", "saga_id": "s", "steps": ["a"]}',
            'type: expected "execute", "init" or "status", got "exectue"; did you mean "execute"?',
        ),
    ],
)
def test_a_message_with_a_misspelt_word_is_answered_with_the_closest(message: str, expected: str) -> None:
    """In the quotes of JSON."""
    [reply] = replies_to(message.encode())

    assert reply["text"] == expected


def test_a_definition_with_a_misspelt_word_is_refused_with_the_closest(tmp_path: Path) -> None:
    """The key says where it stands."""
    path = tmp_path / "order.toml"
    path.write_text('[saga]\nname = "order"\n[[step]]\nname = "a"\nfails = "alwyas"\n')

    result = choreo("explore", str(path))

    assert "did you mean 'always'?" in prose(result.stderr)


def test_python_is_told_the_closest_style() -> None:
    """As the command line is."""
    runner = InProcessRunner(catalogue())

    with pytest.raises(ValueError, match="got 'orchestation'; did you mean 'orchestration'"):
        runner.execute("trip-1", ("a",), style="orchestation")


def test_nothing_is_suggested_where_nothing_is_close() -> None:
    """A wrong suggestion is worse than none, and no input makes the search long."""
    assert suggestion("xyz", ["choreography", "orchestration"]) == ""
    assert nearest("a" * 10_000_000, ["b"] * 10_000_000) is None
    assert module_suggestion("shop") == module_suggestion("not a name.py") == module_suggestion(".py") == ""
    assert module_suggestion("./shop.py") == "; did you mean 'shop'?"

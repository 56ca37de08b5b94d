"""The node as a program: its three names, its options, its light start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUEST = b'{"type": "execute", "msg_id": 1, "saga_id": "s", "steps": ["book_flight"]}\n'
NAMES = {
    "main.py": [sys.executable, "main.py"],
    "python -m choreo node": [sys.executable, "-m", "choreo", "node"],
    "choreo node": [str(Path(sys.executable).with_name("choreo")), "node"],
}


def run(command: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_three_names_are_one_program(name: str) -> None:
    """The same reply and the same options under each name."""
    node = run([*NAMES[name], "--envelope"], REQUEST)

    assert json.loads(node.stdout)["body"]["type"] == "saga_completed"
    assert node.stderr == b""
    assert node.returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_and_the_exit_statuses(name: str) -> None:
    """`--help` has the facts that a newcomer needs."""
    node = run([*NAMES[name], "--help"])

    assert node.returncode == 0
    assert b"examples:" in node.stdout
    assert b"exit status:" in node.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--max-message-bytes", "0"], "expected a number of bytes above 0, got '0'"),
        (["--max-message-bytes", "much"], "expected a number of bytes above 0, got 'much'"),
        (["--trace-format", "xml"], "expected 'json' or 'console', got 'xml'"),
        (["--services", "no_such_module"], "expected a module that can be imported, got 'no_such_module'"),
        (["--services", "json"], "expected a module with a function catalogue(), got 'json'"),
        (["--services", ""], "expected a module that can be imported, got ''"),
        (["--services", ".x"], "expected a module that can be imported, got '.x'"),
        (["--trase"], "unrecognized arguments: --trase"),
        (["stray"], "unrecognized arguments: stray"),
    ],
)
def test_wrong_use_is_told_and_exits_with_2(options: list[str], expected: str) -> None:
    """The error comes before any input is read, and without a traceback."""
    node = run([*NAMES["main.py"], *options], REQUEST)

    assert node.returncode == 2
    assert expected in node.stderr.decode()
    assert b"Traceback" not in node.stderr
    assert node.stdout == b""


def test_the_start_is_light() -> None:
    """Modules that a plain node does not need are not imported."""
    program = "import sys; from choreo.node.command import main; main([]); print(*sys.modules, file=sys.stderr)"

    node = run([sys.executable, "-c", program], REQUEST)

    heavy = {"typer", "rich", "structlog", "argparse", "asyncio", "choreo.trace", "choreo.terminal", "subprocess"}
    assert b"saga_completed" in node.stdout
    assert heavy.isdisjoint(node.stderr.decode().split())


@pytest.mark.parametrize("option", ["--bad\x1b[31m", "--trace\u202e", "--trace-level=\x1b[31m"])
def test_what_was_typed_reaches_the_terminal_escaped(option: str) -> None:
    """It moves no cursor and changes no colour."""
    done = subprocess.run(
        [sys.executable, "main.py", option], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )

    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert "\u202e" not in done.stderr.decode()

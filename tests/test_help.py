"""The version, the help and the completion of the command line."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import choreo as package
from tests.terminal import CHOREO, ROOT, choreo, environment, spawn

PANELS = {
    "Run and compare": ["run", "compare", "explain", "node"],
    "Break and prove": ["lint", "explore", "simulate", "check"],
    "Operate": ["sagas", "show", "resume", "prune"],
    "Learn": ["lesson"],
}
COMMANDS = [name for names in PANELS.values() for name in names]


def test_the_version_is_stated_once() -> None:
    """The package, its metadata and the command line say the same; no other file has the number."""
    printed = spawn("--version")

    assert (printed.returncode, printed.stdout.decode()) == (0, f"choreo {package.__version__}\n")
    assert version("choreo") == package.__version__
    assert package.__version__ not in (ROOT / "pyproject.toml").read_text()


def test_a_checkout_that_is_not_installed_has_its_version(tmp_path: Path) -> None:
    """No metadata is needed for it."""
    program = "import runpy; print(runpy.run_path('choreo/version.py')['__version__'])"

    printed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert printed.stdout.strip() == package.__version__


def test_the_overview_groups_the_commands() -> None:
    """Each command stands in one panel, and the panels stand in the order in which a newcomer needs them."""
    shown: dict[str, list[str]] = {}

    for line in choreo("--help").stdout.splitlines():
        if title := re.match(r"╭─ ([A-Z][\w ]+?) ─", line):
            names = shown.setdefault(title[1], [])
        elif name := re.match(r"│ (\w+) ", line):
            names.append(name[1])

    assert {title: names for title, names in shown.items() if title != "Options"} == PANELS
    assert [title for title in shown if title != "Options"] == list(PANELS)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_short_help_is_the_help(command: str, width: int) -> None:
    """`-h` prints the same as `--help`, within the width of the terminal."""
    words = [command] if command else []

    short, long = (choreo(*words, option, width=width) for option in ("-h", "--help"))

    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "-h" in short.stdout
    assert "<bool>" not in short.stdout
    if command != "node":  # its examples are lines to copy
        assert max(map(len, short.stdout.splitlines())) <= width


def complete(*words: str) -> list[str]:
    """The words that bash would offer for the last one."""
    variables = {
        "_CHOREO_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("choreo", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(CHOREO, env=environment(**variables), cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ex",), ["explain", "explore"]),
        (("run", "--st"), ["--style"]),
        (("run", "a", "--style", "o"), ["orchestration"]),
        (("sagas", "--state", "comp"), ["compensated", "completed"]),
        (("node", "--trace-"), ["--trace-data", "--trace-format", "--trace-level"]),
    ],
    ids=" ".join,
)
def test_the_shell_completes_what_is_typed(words: tuple[str, ...], offered: list[str]) -> None:
    """Commands, options, the words of closed choices, and the options of the node."""
    assert sorted(complete(*words)) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(shell: str) -> None:
    """It asks `choreo` for the words."""
    printed = spawn("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert f"_CHOREO_COMPLETE=complete_{shell}" in printed.stdout.decode()

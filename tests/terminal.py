"""Helpers for tests of the terminal face: run a command, in process or as users do, and return its output."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from choreo.analysis.recording import Recording
from choreo.recorder import Scenario, record
from choreo.saga.definition import Saga
from choreo.saga.plan import Itinerary, plan
from choreo.terminal.app import app
from tests.stories import Ledger

ROOT = Path(__file__).parents[1]
CHOREO = [sys.executable, "-m", "choreo"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")
FRAME = re.compile(r"[╭╮╰╯│─\s]+")

UNSET = dict.fromkeys(("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "PYTHONIOENCODING"))
"""Variables that would change the output."""


def choreo(*arguments: str, width: int = 80, given: bytes | None = None, **environment: str) -> Result:
    """Run a command in process, its output into a pipe of that width."""
    return CliRunner().invoke(app, [*arguments], input=given, env=UNSET | {"COLUMNS": str(width)} | environment)


def prose(text: str) -> str:
    """Return the text of an error without its frame, its colours and its line breaks."""
    return FRAME.sub(" ", ANSI.sub("", text)).strip()


def lines(text: str) -> list[str]:
    """Split the golden text of a test into lines, without the indentation and without the last, empty line."""
    return [line.removeprefix("    ") for line in text.strip("\n").splitlines()[:-1]]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in UNSET} | more


def spawn(*arguments: str, **more: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command as users do, its output into pipes."""
    return subprocess.run([*CHOREO, *arguments], env=environment(**more), cwd=ROOT, capture_output=True, check=False)


def on_a_terminal(*arguments: str, **more: str) -> str:
    """Return the output of a command whose stdout is a terminal."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*CHOREO, *arguments], env=environment(**{"TERM": "xterm"} | more), cwd=ROOT, stdout=theirs
    )
    os.close(theirs)
    printed = b""
    try:
        while chunk := os.read(ours, 65536):
            printed += chunk
    except OSError:  # on Linux: the other end of the terminal is closed
        pass
    os.close(ours)
    command.wait()
    return printed.decode()


def saga_of(itinerary: Itinerary, fail_step: str | None = None, fail_compensation: str | None = None) -> Scenario:
    return Scenario(Saga.of(itinerary), plan(itinerary), fail_step, fail_compensation)


def recorded(
    style: str, *itinerary: Any, fail_step: str | None = None, fail_compensation: str | None = None, **mishap: Any
) -> Recording:
    """Record one run; its services are those of `Ledger`."""
    return record(saga_of(itinerary, fail_step, fail_compensation), style, Ledger(**mishap).service_of)

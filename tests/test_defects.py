"""Defects of services in the laboratory: a finding of its own, whatever the invariants say."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.lab.simulate.campaign import simulate
from choreo.saga.definition import Saga, Step
from choreo.saga.file import read_definition
from choreo.saga.service import Refused, ResourceLocked
from tests.lab_sagas import saga
from tests.terminal import CHOREO, ROOT, choreo, environment, prose
from tests.test_terminal_lab import objects

STYLES = ("choreography", "orchestration")


class Wordless(Exception):
    """Has no words: not even its own."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Refusing(Refused):
    """The same for a refusal."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Till:
    """A service that raises this, when it is executed or when it is undone."""

    def __init__(self, error: BaseException | None = None, at: str = "execute") -> None:
        self.error, self.at = error, at

    def execute(self, reference: str) -> str:
        return self._answer("execute")

    def compensate(self, reference: str, receipt: Any) -> None:
        self._answer("compensate")

    def _answer(self, call: str) -> str:
        if self.error is not None and self.at == call:
            raise self.error
        return "charged"


class WrongSignature:
    def execute(self, reference: str, amount: int) -> None: ...

    def compensate(self, reference: str) -> None: ...


RAISED = {
    "an error": (ZeroDivisionError("no money"), "ZeroDivisionError: no money"),
    "sys.exit(0)": (SystemExit(0), "SystemExit: 0"),
    "a generator's end": (GeneratorExit(), "GeneratorExit"),
    "an error without words": (Wordless(), "Wordless: its text cannot be read"),
    "a word of the runners": (ResourceLocked("credit"), "ResourceLocked: credit"),
    "a group": (BaseExceptionGroup("two", [SystemExit(1)]), "BaseExceptionGroup: two (1 sub-exception)"),
}


def definition_of(may_raise: bool = False, then: str = "never") -> Saga:
    return saga(Step("look"), Step("pay", service="till", may_raise=may_raise), Step("ship", fails=then), kinds=())  # type: ignore[arg-type]


def explored(service: Any, definition: Saga, style: str) -> Report:
    return Explorer(definition, style, {"till": service}.__getitem__).explore()


def simulated(service: Any, definition: Saga, style: str) -> Report:
    return simulate(definition, style, lambda: {"till": service}.__getitem__, range(1, 4), {}, processes=1)


LOOKS = {"explore": explored, "simulate": simulated}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(("error", "summary"), RAISED.values(), ids=RAISED)
@pytest.mark.parametrize(("call", "then"), [("execute", "never"), ("compensate", "always")], ids=["do", "undo"])
def test_whatever_a_service_raises_is_found(
    look: Any, error: BaseException, summary: str, call: str, then: str, style: str
) -> None:
    """D1, with the step and the exception, and its traceback from the author's own line on."""
    report = look(Till(error, at=call), definition_of(then=then), style)

    assert report.verdict is Conclusion.VIOLATED
    (found,) = [violation for violation in report.violations if violation.code == "D1"]
    assert (found.title, found.sentence) == ("a service raised an exception", f"{call} of pay raised {summary}")
    assert report.counterexample is not None
    (record, *_) = [record for record in report.counterexample.records if record.traceback is not None]
    assert (record.action, record.step) == (call, "pay")
    assert "raise self.error" in str(record.traceback)
    assert "choreo/lab" not in str(record.traceback)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_wrong_signature_is_found(look: Any, style: str) -> None:
    """Every call is a defect, and there is no other finding."""
    report = look(WrongSignature(), definition_of(), style)

    assert report.verdict is Conclusion.VIOLATED
    assert "missing 1 required positional argument: 'amount'" in report.violations[0].sentence


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("refusal", [Refused("declined"), Refusing()], ids=["in words", "without words"])
def test_a_refusal_is_no_defect(look: Any, refusal: Refused, style: str) -> None:
    """It is the answer that a saga is for."""
    assert look(Till(refusal), definition_of(), style).verdict is Conclusion.SAFE


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_step_that_may_raise_is_no_finding(look: Any, style: str) -> None:
    """An exception from a service means an unknown answer; the exploration is about the saga itself."""
    report = look(Till(TimeoutError("no answer")), definition_of(may_raise=True), style)

    assert report.verdict is Conclusion.SAFE
    assert report.outcomes.keys() == {"compensated"}


def test_the_shortest_way_to_a_defect_is_told() -> None:
    """Breadth first, like any other violation."""
    report = explored(Till(KeyError("no row")), definition_of(), "choreography")

    assert report.counterexample is not None
    events = [record.event for record in report.counterexample.records if record.action == "publish"]
    assert events == ["saga.started", "step.succeeded", "step.failed"]


# On the command line

SERVICES = """
import sys

class Till:
    def execute(self, reference):
        {execute}

    def compensate(self, reference, receipt):
        pass

def catalogue():
    return {{"till": Till(), "pay": Till()}}.__getitem__
"""

TOML = """
[saga]
name = "order"

[[step]]
name = "{pay}"
{more}

[[step]]
name = "ship"
service = "simulated"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, where one works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, execute: str, pay: str = "pay", more: str = 'service = "till"') -> tuple[str, ...]:
    """The arguments that name a definition and its services, which are written there."""
    module = f"tills_{re.sub('[^a-z0-9]', '_', folder.name)}"
    (folder / f"{module}.py").write_text(SERVICES.format(execute=execute))
    (folder / "order.toml").write_text(TOML.format(pay=pay, more=more))
    return "order.toml", "--services", module


def as_users_do(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CHOREO, *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), COLUMNS="100"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("explore",), ("simulate", "--processes", "2", "--seeds", "300")], ids=lambda c: c[0]
)
@pytest.mark.parametrize("execute", ["sys.exit(0)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_service_ends_no_command(folder: Path, command: tuple[str, ...], execute: str) -> None:
    """A verdict, the traceback, the command that shows it again, and status 1; also from other processes."""
    done = as_users_do(folder, *command, *written(folder, execute))

    assert done.returncode == 1, done.stdout + done.stderr
    assert "D1 a service raised an exception: execute of pay raised" in done.stdout
    assert f"        {execute}\n" in done.stdout
    again = re.search(r"again: choreo (.*)", done.stdout)
    assert again is not None
    assert "D1 a service raised an exception" in as_users_do(folder, *again[1].split()).stdout


def test_programs_read_of_a_defect(folder: Path) -> None:
    """The code, and the traceback in the record of the call."""
    result = choreo("explore", *written(folder, "1 / 0"), "--json")

    (found,) = objects(result.stdout)
    assert result.exit_code == 1
    assert [broken["code"] for broken in found["invariants"]["broken"]] == ["D1"]
    assert "D1" in found["invariants"]["checked"]
    assert any(
        "1 / 0" in record.get("traceback") or ""
        for record in found["counterexample"]["records"]
        if record.get("traceback")
    )
    assert found["simulated"] == ["ship"]


def test_a_definition_lets_a_step_raise(folder: Path) -> None:
    """In TOML too."""
    result = choreo("explore", *written(folder, "1 / 0", more='service = "till"\nmay_raise = true'))

    assert result.exit_code == 0, result.stdout
    assert read_definition("order.toml").steps[0].may_raise


def test_ctrl_c_stops_a_service_that_takes_long(folder: Path) -> None:
    """Ctrl-C comes from the user, not from the service: no defect, and no proof."""
    began = folder / "began"
    arguments = written(folder, f"open({str(began)!r}, 'w').close(); __import__('time').sleep(60)")
    command = subprocess.Popen(
        [*CHOREO, "explore", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not began.exists() and time.monotonic() < deadline:
        os.sched_yield()
    command.send_signal(signal.SIGINT)
    printed, _ = command.communicate(timeout=60)

    assert command.returncode == 1
    assert "incomplete" in printed
    assert "it was interrupted" in printed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes")
def test_a_service_that_ends_its_process_proves_nothing(folder: Path) -> None:
    """A campaign on several cores says that it was cut short."""
    done = as_users_do(
        folder, "simulate", *written(folder, "__import__('os')._exit(0)"), "--processes", "2", "--seeds", "300"
    )

    assert done.returncode == 1
    assert "a service may have ended it" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr


# Who serves a step


def test_services_that_are_given_serve_a_step_by_its_own_name(folder: Path) -> None:
    """A step without `service` is looked up in them, and not simulated."""
    result = choreo("explore", *written(folder, "1 / 0", more=""))

    assert result.exit_code == 1
    assert "D1" in result.stdout


@pytest.mark.parametrize("command", ["explore", "simulate", "run", "compare", "lint"])
def test_a_step_that_nobody_serves_is_refused_with_the_nearest_name(folder: Path, command: str) -> None:
    """The refusal comes before any run."""
    result = choreo(command, *written(folder, "pass", pay="pya", more=""))

    assert result.exit_code == 2
    assert "got 'pya', which they do not know; did you mean 'pay'?" in prose(result.stderr)


@pytest.mark.parametrize("command", ["explore", "simulate", "run", "compare", "lint"])
def test_a_service_that_nobody_knows_is_refused_with_the_nearest_name(folder: Path, command: str) -> None:
    """Also one that is named, and among the services that come with choreo."""
    written(folder, "pass", more='service = "paymnets"')
    result = choreo(command, "order.toml")

    assert result.exit_code == 2
    assert "got 'paymnets', which they do not know; did you mean 'payments'?" in prose(result.stderr)


@pytest.mark.parametrize("command", ["explore", "simulate", "run", "compare"])
def test_simulated_steps_are_marked(folder: Path, command: str) -> None:
    """In a line below, and for programs."""
    arguments = written(folder, "pass")

    assert "  simulated: ship\n" in choreo(command, *arguments, width=100).stdout
    (found,) = objects(choreo(command, *arguments, "--json").stdout)
    assert found["simulated"] == ["ship"]


def test_a_step_that_a_stand_in_serves_is_marked(folder: Path) -> None:
    """A name that is mistyped looks like any other step, but for that."""
    printed = choreo("run", "book_flight", "book_hotle", width=100).stdout

    assert "  simulated: book_hotle\n" in printed
    assert "%% simulated: book_hotle\n" in choreo("run", "book_flight", "book_hotle", "--mermaid").stdout
    assert "simulated" not in choreo("run", "book_flight", "book_hotel").stdout


def test_one_service_for_every_step_stands_in_for_nobody(folder: Path) -> None:
    """A catalogue that returns one service for any name serves each step with it."""
    _, _, module = arguments = written(folder, "pass", more="")
    (folder / f"{module}.py").write_text(
        SERVICES.format(execute="pass").partition("def catalogue")[0]
        + "def catalogue():\n    till = Till()\n    return lambda name: till\n"
    )

    assert choreo("explore", *arguments).exit_code == 0
    assert "simulated" not in choreo("run", "pay", "charge", "--services", module).stdout

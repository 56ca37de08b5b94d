"""The pytest plugin, as an engineer's own test suite uses it: real pytest, in a folder of its own."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.lessons import lessons
from choreo.saga.definition import Saga, Step
from choreo.saga.file import as_toml, definition_from
from tests.lab_sagas import SUITE
from tests.stories import ROOT

SERVICES = """
from choreo import Refused

class Ferries:
    def __init__(self, places):
        self.places = places

    def execute(self, reference):
        if not self.places:
            raise Refused("sold out")
        self.places -= 1

    def compensate(self, reference, receipt):
        self.places += 1

class Forgetful(Ferries):
    def compensate(self, reference, receipt):
        raise Refused("not my job")
"""

DEFINITION = """
[saga]
name = "order"

[[step]]
name = "charge"

[[step]]
name = "reserve"
fails = "may"
"""


def run(folder: Path, test: str, *options: str) -> tuple[int, str]:
    """Run the test in a separate file: the exit status, and the output."""
    (folder / "ferries.py").write_text(SERVICES)
    (folder / "order.toml").write_text(DEFINITION)
    (folder / "test_mine.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "NO_COLOR": "1"}
    environment.pop("CI", None)  # in CI pytest tells every failure twice: its short summary is not cut
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_safe_saga_passes(tmp_path: Path) -> None:
    """A definition by its file, explored and simulated, in both styles."""
    status, printed = run(
        tmp_path,
        """
def test_order(choreo):
    found = choreo.explore("order.toml", faults=["drop", "duplicate", "crash"], max_faults=1)
    found.assert_safe()
    assert len(found.reports) == 2

def test_histories(choreo):
    choreo.simulate("order.toml", seeds=50, faults={"drop": 0.1, "crash": 0.1}).assert_safe()
""",
    )

    assert status == 0, printed
    assert "2 passed" in printed


def test_an_unsafe_saga_fails_with_its_counterexample(tmp_path: Path) -> None:
    """The invariant, the fault, the picture and the command that shows it again, which it does; no stack."""
    status, printed = run(
        tmp_path,
        """
def test_order(choreo):
    found = choreo.explore("order.toml", faults=["duplicate"], without=["inbox"], style="choreography")
    found.assert_safe()
""",
    )

    assert status == 1
    assert "test_mine.py:4: not safe" in printed
    assert "S2 at most once: charge took effect twice" in printed
    assert "duplicate run-1/saga/started on its way to charge" in printed
    assert "pytest_plugin.py" not in printed
    again = re.search(r"again: (choreo explore .*)", printed)
    assert again is not None
    command = [sys.executable, "-m", *again[1].split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "S2 at most once: charge took effect twice" in done.stdout


@pytest.mark.slow
def test_a_definition_built_in_python_is_kept_for_the_command(tmp_path: Path) -> None:
    """It is written to a file, and the command names that file."""
    status, printed = run(
        tmp_path,
        """
from choreo.saga.definition import Saga, Step
from choreo.saga.guarantees import Guarantees

ORDER = Saga("my order", "charge", "reserve", guarantees=Guarantees(redelivery=False))

def test_order(choreo):
    choreo.simulate(ORDER, seeds=50, faults={"drop": 0.3}, style="orchestration").assert_safe()
""",
    )

    assert status == 1
    assert "L1 every run ends" in printed
    again = re.search(
        r"again: choreo simulate (\S*my_order-test_order-\w+\.toml) --faults drop=0.3 --seed \d+ --style orch", printed
    )
    assert again is not None, printed
    assert (tmp_path / again[1]).exists()


@pytest.mark.slow
def test_services_of_ones_own_are_explored(tmp_path: Path) -> None:
    """Real objects: one that undoes is safe, one that refuses to leaves a stuck saga, which is honest, and safe too."""
    status, printed = run(
        tmp_path,
        """
from ferries import Ferries, Forgetful

def test_ferries(choreo):
    services = {"out": Ferries(1), "back": Ferries(0)}
    found = choreo.explore(["out", "back"], services=services, faults=["duplicate"], max_faults=1)
    found.assert_safe()
    assert found.reports[0].outcomes.keys() == {"compensated"}

def test_stuck(choreo):
    found = choreo.explore(["out", "back"], services={"out": Forgetful(1), "back": Ferries(0)})
    found.assert_safe()
    assert found.reports[0].outcomes.keys() == {"stuck"}
""",
    )

    assert status == 0, printed


def test_wrong_use_is_told_as_such(tmp_path: Path) -> None:
    """The error names the expected and the received value."""
    status, printed = run(
        tmp_path,
        """
def test_style(choreo):
    choreo.explore("order.toml", style="chaos")

def test_file(choreo):
    choreo.explore("missing.toml")

def test_guarantee(choreo):
    choreo.explore("order.toml", without=["inbocks"])

def test_kind(choreo):
    choreo.explore("order.toml", faults=["dorp"])

def test_rate(choreo):
    choreo.simulate("order.toml", faults={"drop": 7})

def test_services(choreo):
    choreo.explore(["out"], services={"back": None})
""",
    )

    assert status == 1
    assert "style: expected 'choreography', 'orchestration' or 'both', got 'chaos'" in printed
    assert "missing.toml" in printed
    assert "did you mean 'inbox'?" in printed
    assert "did you mean 'drop'?" in printed
    assert "expected a rate from 0 to 1" in printed
    assert "WrongDefinition: expected a service with execute() and compensate() for 'back', got None" in printed
    assert "6 failed" in printed


@pytest.mark.slow
def test_every_style_has_services_as_they_were(tmp_path: Path) -> None:
    """Changes that the first exploration made to the test's objects are absent in the second one, and after it."""
    status, printed = run(
        tmp_path,
        """
from ferries import Ferries

def test_ferries(choreo):
    ferries = Ferries(1)
    found = choreo.explore(["out"], services={"out": ferries})
    found.assert_safe()
    assert [report.outcomes for report in found.reports] == [{"completed": 1}] * 2
    assert ferries.places == 1
""",
    )

    assert status == 0, printed


@pytest.mark.parametrize("definition", [*SUITE.values(), *(each.broken for each in lessons())], ids=lambda d: d.name)
def test_a_definition_that_is_written_reads_back_the_same(definition: Saga) -> None:
    """Every saga of the suite and of the lessons."""
    assert read_back(definition) == definition


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_name_can_be_written(name: str) -> None:
    """Quotes, control characters, other planes."""
    definition = Saga(name, steps=(Step(name),))

    assert read_back(definition).name == name
    assert read_back(definition).steps == (replace(Step(name)),)


def read_back(definition: Saga) -> Saga:
    return definition_from(tomllib.loads(as_toml(definition)))


@pytest.mark.slow
def test_groups_are_written_as_in_a_message_to_the_node(tmp_path: Path) -> None:
    """A nested list runs in parallel; any other value is an error."""
    status, printed = run(
        tmp_path,
        """
import pytest
from choreo.saga.file import WrongDefinition

def test_group(choreo):
    found = choreo.explore([["a", "b"], "c"], faults=["duplicate"])
    found.assert_safe()
    assert found.reports[0].states > choreo.explore(["a", "b", "c"], faults=["duplicate"]).reports[0].states

def test_simulated(choreo):
    choreo.simulate(("a", ("b", "c"), []), seeds=5, faults={"drop": 0.5}).assert_safe()

def test_wrong(choreo):
    with pytest.raises(WrongDefinition, match="steps.1.: expected a step name or a list of step names, got 7"):
        choreo.explore(["a", 7])
    with pytest.raises(WrongDefinition, match="steps.0.: expected a step name or a list of step names, got .*"):
        choreo.explore([["a", ["b"]]])
""",
    )

    assert status == 0, printed


@pytest.mark.slow
def test_a_defect_of_a_service_fails_the_test(tmp_path: Path) -> None:
    """The failure has the traceback, and names the test to repeat: no command can open services that a test made."""
    status, printed = run(
        tmp_path,
        """
import sys

class Broken:
    def execute(self, reference):
        sys.exit(0)

    def compensate(self, reference, receipt):
        pass

def test_explored(choreo):
    choreo.explore(["out"], services={"out": Broken()}).assert_safe()

def test_simulated(choreo):
    choreo.simulate(["out"], services={"out": Broken()}, seeds=3, faults={"drop": 0.5}).assert_safe()
""",
    )

    assert status == 1
    assert printed.count("D1 a service raised an exception: execute of out raised SystemExit: 0") == 4
    assert "        sys.exit(0)\n" in printed
    assert "again: pytest test_mine.py::test_explored\n" in printed


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "-n 2"])
def test_an_interrupt_that_a_service_raises_is_a_defect(workers: list[str], tmp_path: Path) -> None:
    """It fails its own test, and the others run; the handler of Ctrl-C is pytest's again afterwards."""
    status, printed = run(tmp_path, INTERRUPTING.format(interrupt="raise KeyboardInterrupt"), *workers)

    assert status == 1
    assert "2 failed, 1 passed" in printed
    assert "D1 a service raised an exception: execute of charge raised" in printed


def test_a_real_interrupt_in_a_service_stops_pytest(tmp_path: Path) -> None:
    """As in any other test."""
    status, printed = run(tmp_path, INTERRUPTING.format(interrupt="os.kill(os.getpid(), signal.SIGINT)"))

    assert status == 2
    assert "KeyboardInterrupt" in printed


INTERRUPTING = """
import os, signal
from ferries import Ferries

class Interrupting(Ferries):
    def execute(self, reference):
        {interrupt}

def test_explored(choreo):
    choreo.explore(["charge"], services={{"charge": Interrupting(1)}}).assert_safe()

def test_simulated(choreo):
    choreo.simulate(["charge"], services={{"charge": Interrupting(1)}}, seeds=2, faults={{}}).assert_safe()

def test_handler():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


@pytest.mark.slow
def test_no_test_overwrites_what_another_has_kept(tmp_path: Path) -> None:
    """Each test has files of its own, also one with parameters, and one that asks twice."""
    status, printed = run(
        tmp_path,
        """
import pytest
from choreo.saga.definition import Saga, Step

def saga(name):
    return Saga("order", name, "last")

@pytest.mark.parametrize("name", ["a/b", "a_b", "../up"])
def test_one(choreo, name):
    choreo.explore(saga(name), faults=["duplicate"], without=["inbox"], style="orchestration").assert_safe()

def test_two(choreo):
    choreo.explore(saga("first"), faults=["duplicate"], without=["inbox"], style="orchestration")
    choreo.explore(saga("second"), faults=["duplicate"], without=["inbox"], style="orchestration").assert_safe()
""",
    )

    assert status == 1
    kept = re.findall(r"again: choreo explore (\S+)", printed)
    assert len(set(kept)) == 4
    texts = [(tmp_path / file).read_text() for file in kept]
    assert [re.findall(r'name = "(.*)"', text)[1] for text in texts] == ["a/b", "a_b", "../up", "second"]
    folder = tmp_path / ".pytest_cache" / "choreo"
    assert {path.suffix for path in folder.iterdir()} == {".toml"}
    assert len(list(folder.iterdir())) == 5


@pytest.mark.slow
def test_a_service_that_cannot_be_copied_is_told_in_a_line(tmp_path: Path) -> None:
    """The line has its name, its field and the remedy, without a stack; and the remedy works."""
    status, printed = run(
        tmp_path,
        """
import sqlite3
from ferries import Ferries

class Connected(Ferries):
    def __init__(self):
        super().__init__(1)
        self.rows = sqlite3.connect(":memory:")

    def execute(self, reference):
        self.rows.execute("select 1")
        super().execute(reference)

class Left(Connected):
    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "rows"}

def test_connected(choreo):
    choreo.explore(["out"], services={"out": Connected()})

def test_left_out(choreo):
    choreo.explore(["out", "out2"], services={"out": Left(), "out2": Left()}, faults=["duplicate"]).assert_safe()
""",
    )

    assert status == 1
    assert "1 failed, 1 passed" in printed
    assert (
        "WrongDefinition: service Connected: expected what can be copied, got the field 'rows', a Connection" in printed
    )
    assert "leave it out with __getstate__()" in printed
    assert "copying.py" not in printed

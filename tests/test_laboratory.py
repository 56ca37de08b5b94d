"""The laboratory from Python: `choreo.explore`, `choreo.simulate`, `choreo.lint`."""

import subprocess
import sys
from pathlib import Path

import pytest

import choreo
from choreo import NotSafe, Refused
from choreo.saga.definition import Saga, Step, Wiring
from choreo.saga.file import WrongDefinition
from choreo.saga.guarantees import Guarantees
from tests.stories import ROOT

ORDER = Saga("order", steps=(Step("place"), Step("charge", fails="may"), Step("ship")))


class Payments:
    """Refuses beyond its limit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.charged = limit, 0

    def execute(self, reference: str) -> None:
        if self.charged == self.limit:
            raise Refused("declined")
        self.charged += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.charged -= 1


def test_a_saga_that_is_safe_is_asserted_in_one_line() -> None:
    """In both styles, with every fault that was asked for."""
    found = choreo.explore(ORDER, faults=["drop", "duplicate", "crash"], max_faults=1)

    found.assert_safe()
    assert found.is_safe
    assert {report.style for report in found.reports} == {"choreography", "orchestration"}
    assert all(report.outcomes.keys() == {"completed", "compensated"} for report in found.reports)


def test_a_saga_that_is_not_safe_raises_with_its_counterexample() -> None:
    """The text has the invariant and the picture; of a definition in Python no command is promised."""
    found = choreo.explore(ORDER, faults=["duplicate"], max_faults=1, without=["inbox"], style="choreography")

    with pytest.raises(NotSafe, match="S2 at most once: place took effect twice") as raised:
        found.assert_safe()

    assert "┃" in str(raised.value)
    assert "again:" not in str(raised.value)


def test_the_command_that_finds_the_same_is_told_where_there_is_one(tmp_path: Path) -> None:
    """It is run, and ends with the same verdict."""
    file = tmp_path / "order.toml"
    file.write_text('[saga]\nname = "order"\n\n[[step]]\nname = "charge"\n')
    found = choreo.explore(str(file), faults=["duplicate"], max_faults=1, without=["inbox"], style="orchestration")

    (again,) = [line for line in found.text().splitlines() if line.strip().startswith("again: choreo ")]
    words = again.strip().removeprefix("again: choreo ").split()
    done = subprocess.run(
        [sys.executable, "-m", "choreo", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "S2 at most once: charge took effect twice" in done.stdout


@pytest.mark.parametrize("look", [choreo.explore, choreo.simulate])
def test_services_of_ones_own_are_what_runs(look: type) -> None:
    """By name, in a mapping; the group runs in parallel."""
    found = look(
        [["charge", "reserve"], "ship"], services={"charge": Payments(1), "reserve": Payments(1), "ship": Payments(0)}
    )

    found.assert_safe()
    assert all(report.outcomes.keys() == {"compensated"} for report in found.reports)


def test_a_wiring_bug_is_found_without_running_anything() -> None:
    """In the style in which it is one."""
    deaf = Saga(
        "order",
        steps=(Step("charge"), Step("ship", fails="may")),
        wiring=Wiring(deaf=(("charge", "step/ship/failed"),)),
    )

    assert choreo.lint(ORDER) == []
    assert choreo.lint(deaf, style="choreography") != []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"without": ["inbocks"]}, "expected a guarantee .*did you mean 'inbox'"),
        ({"faults": ["dropp"]}, "expected a kind of fault .*did you mean 'drop'"),
        ({"services": "no_such_module"}, "expected a module that can be imported"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments: dict[str, object], why: str) -> None:
    """With the closest word that there is."""
    with pytest.raises(WrongDefinition, match=why):
        choreo.explore(ORDER, **arguments)  # type: ignore[arg-type]


def test_guarantees_of_a_definition_hold_too() -> None:
    """Those that it has switched off itself."""
    forgetful = Saga("order", steps=(Step("charge"),), guarantees=Guarantees(inbox=False))

    assert not choreo.explore(forgetful, faults=["duplicate"], max_faults=1).is_safe

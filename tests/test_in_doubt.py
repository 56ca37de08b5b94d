"""Services that take effect and lose the answer, with a journal: undone, or stuck and in doubt, never completed."""

import json
from pathlib import Path

import pytest

from choreo.conformance.journal import check_runs
from choreo.saga.outcome import State
from choreo.saga.request import Request
from choreo.storage.sqlite.journal import Journal
from tests.journals import change, resume, rows, state_of, write
from tests.terminal import choreo


class Bank:
    """Charges, and loses the answers for the steps that are called `lost`; refunds are counted as well."""

    def __init__(self, is_reachable: bool = True) -> None:
        self.is_reachable = is_reachable
        self.charged = 0
        self.calls = 0

    def __getstate__(self) -> dict[str, int]:
        return {"charged": self.charged, "calls": self.calls}

    def execute(self, reference: str) -> object:
        self.calls += 1
        self.charged += 1
        if reference.endswith("1"):
            raise TimeoutError("the bank has not answered")
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        if not self.is_reachable:
            raise ConnectionError("the bank cannot be reached")
        self.charged -= 1


ORDERS = [
    Request("order", ("place", "charge", "ship")),
    Request("order", ("place", "charge", "ship"), style="orchestration"),
    Request("order", (("place", "charge"), "ship")),
]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sagas.db")


@pytest.mark.parametrize("request_", ORDERS, ids=["chain", "orchestration", "group"])
def test_what_was_charged_without_an_answer_is_refunded(path: str, request_: Request) -> None:
    """Compensated is said, and it is so."""
    bank = Bank()

    write(path, request_, service=bank)

    assert state_of(path, "order") == State.COMPENSATED
    assert bank.charged == 0
    assert _violations(path) == []


@pytest.mark.parametrize("request_", ORDERS, ids=["chain", "orchestration", "group"])
def test_what_cannot_be_refunded_is_stuck_and_can_be_resumed(path: str, request_: Request) -> None:
    """Only the refund is retried: no customer is charged again."""
    write(path, request_, service=Bank(is_reachable=False))
    stuck = json.loads(choreo("show", "order", "--journal", path, "--json").stdout)
    bank = Bank()

    resume(path, "order", bank)

    assert (stuck["state"], stuck["in_doubt"]) == ("stuck", ["charge"])
    assert _violations(path) == []
    assert state_of(path, "order") == State.COMPENSATED
    assert (bank.charged, bank.calls) == (0, 2)
    resolved = json.loads(choreo("show", "order", "--journal", path, "--json").stdout)
    assert (resolved["in_force"], resolved["in_doubt"]) == ([], [])


def test_what_is_resumed_in_vain_is_stuck_again(path: str) -> None:
    """And can be resumed once more."""
    write(path, ORDERS[0], service=Bank(is_reachable=False))

    resume(path, "order", Bank(is_reachable=False))

    assert state_of(path, "order") == State.STUCK
    assert _violations(path) == []
    resume(path, "order", Bank())
    assert state_of(path, "order") == State.COMPENSATED


def test_a_run_that_an_older_choreo_did_not_undo_is_found(path: str) -> None:
    """The run was called compensated, and a step of it may have taken effect; its rows are unchanged."""
    write(path, ORDERS[0], service=Bank())
    ((outcome,),) = rows(path, "SELECT outcome FROM runs")
    recorded = json.loads(outcome)
    older = {"state": "compensated", "compensated_steps": recorded["compensated_steps"], "reason": recorded["reason"]}
    older["defect"] = f"charge: {recorded['defect']}"
    change(
        path,
        "UPDATE deliveries SET detail = json_remove(detail, '$.is_undone') WHERE detail LIKE '%is_undone%'",
        f"UPDATE runs SET outcome = '{json.dumps(older)}'",
    )

    assert _violations(path) == ["S1", "S8", "L2"]


def _violations(path: str) -> list[str]:
    journal = Journal.open_to_read(path)
    try:
        return [violation.code for violation in check_runs(journal).violations]
    finally:
        journal.close()


LOSING = """
class Calm:
    def execute(self, reference): pass
    def compensate(self, reference, receipt): pass
class Losing(Calm):
    def execute(self, reference): raise TimeoutError("no answer")
    def compensate(self, reference, receipt): raise ConnectionError("unreachable")
def catalogue():
    own, stand_in = {"place": Calm(), "charge": Losing(), "ship": Calm()}, Calm()
    return lambda step: own.get(step, stand_in)
"""
TOML = """
[saga]
name = "order"
[[step]]
name = "place"
[[step]]
name = "charge"
[[step]]
name = "ship"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory from which a command finds the services `losing`."""
    (tmp_path / "losing.py").write_text(LOSING)
    (tmp_path / "order.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
@pytest.mark.parametrize("command", [["run", "place", "charge", "ship"], ["explore", "order.toml"]], ids=["run", "lab"])
def test_a_picture_marks_the_lifeline_of_a_step_in_doubt(command: list[str], style: str, folder: Path) -> None:
    """It has a sign of its own, unlike a step in force and unlike an idle one, and the legend explains the sign."""
    printed = choreo(*command, "--style", style, "--services", "losing").stdout

    *picture, _, signs = printed[: printed.index("? in doubt") + len("? in doubt")].splitlines()
    assert picture[-1].split().count("?") == 1
    assert picture[-1].split().count("┃") == 1
    assert signs.endswith("┃ in force   ? in doubt")


def test_the_compact_picture_marks_a_step_in_doubt(folder: Path) -> None:
    """The compact diagram is used where no lifelines fit."""
    steps = ["place", "charge", *(f"step-{number}" for number in range(30))]

    printed = choreo("run", *steps, "--services", "losing").stdout

    assert " ?   charge" in printed
    assert "? in doubt" in printed


def test_the_laboratory_shows_the_traceback_of_both_calls(folder: Path) -> None:
    """Both tracebacks, of the local transaction and of its compensation, begin at the author's own line."""
    printed = choreo("explore", "order.toml", "--style", "choreography", "--services", "losing").stdout

    assert printed.count("Traceback (most recent call last)") == 2
    assert printed.count("raise TimeoutError") == printed.count("raise ConnectionError") == 1
    assert "During handling" not in printed


def test_what_was_in_doubt_and_is_undone_is_drawn_as_such(path: str) -> None:
    """It is not drawn as a compensation of a step that was not in force."""
    write(path, ORDERS[0], service=Bank())

    printed = choreo("show", "order", "--journal", path).stdout

    assert "in doubt, undone" in printed
    assert "was not in force" not in " ".join(printed.split())

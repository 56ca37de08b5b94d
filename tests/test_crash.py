"""The durable node is killed again and again under load, and keeps every promise; `make crash-test` is the long one."""

import json
from pathlib import Path

import pytest

from tests.crash.life import Life
from tests.crash.services import LAST_CALL
from tests.crash.siege import Siege, Way
from tests.crash.workload import STYLES, Saga
from tests.crash.wreck import Where

KILLS, FEW_KILLS = 36, 8


@pytest.mark.slow
def test_a_node_that_is_killed_again_and_again_keeps_what_it_promised(tmp_path: Path) -> None:
    """Every request is answered, repeats get the same reply, effects take place once, and every invariant holds."""
    siege = Siege(tmp_path, seed=1)

    report = siege.run(KILLS)

    assert report.findings == []
    assert {death.way for death in report.deaths} == set(Way)
    assert {Where.BEFORE_BEGIN, Where.MIDDLE, Where.UNTOLD, Where.IDLE} <= report.by_where.keys()
    assert report.by_where[Where.RECOVERY] + report.by_where[Where.RECOVERY_FIRST] > 0
    assert report.judgement.runs.keys() == {
        (s, style) for s in ("completed", "compensated", "stuck") for style in STYLES
    }
    assert report.client.compared > KILLS


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug",
    [
        "what the services hold is not written",
        "everything is written one transaction late",
        "everything is delivered again",
        "without idempotent request",
        "numbers of runs begin again",
    ],
)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    """A siege of a node that has one thing wrong does not end well."""
    siege = Siege(tmp_path, seed=2, planted=bug, findings_max=1)

    report = siege.run(FEW_KILLS)

    assert report.findings, f"survived: {bug}"


def test_the_reply_that_was_owed_goes_to_whoever_asked(tmp_path: Path) -> None:
    """In an envelope, from the name that was asked, although another process writes it."""
    journal = tmp_path / "journal.db"
    saga = Saga("trip", ("ledger_a", "shelf_a"), STYLES[0])
    message = {"src": "c1", "dest": "n1", "body": json.loads(saga.line(7))}

    with Life(journal, "--envelope", environment={LAST_CALL: "2"}) as life:
        life.send(json.dumps(message).encode() + b"\n")
        assert list(life.lines()) == []
    with Life(journal, "--envelope") as life:
        life.end_input()
        (reply,) = life.lines()

    assert json.loads(reply) == {"src": "n1", "dest": "c1", "body": json.loads(saga.reply(7))}

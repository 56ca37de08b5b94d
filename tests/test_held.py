"""A run that cannot continue is held: named, not failed, given to no stand-in; its client gets no false reply."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from choreo.compile import STYLES
from tests.crash.life import Life
from tests.journals import rows
from tests.shop_services import FOLDER
from tests.terminal import choreo, prose

SERVICES = "tests.shop_services"
both_styles = pytest.mark.parametrize("style", sorted(STYLES))
KILLED = -9


class Shop:
    """Folder with a journal and the names of the served steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.db"
        self.serve("settle", "mail", "book")

    def serve(self, *steps: str, others: str = "a stand-in") -> None:
        (self.folder / "served").write_text(" ".join(steps))
        (self.folder / "others").write_text(others)

    def deadly(self, call: str, step: str, times: int = 1) -> None:
        (self.folder / f"deadly {call} {step}").write_text(str(times))

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def node(self) -> Life:
        return Life(self.journal, services=SERVICES, environment={FOLDER: str(self.folder)})

    def start(self, *messages: object) -> tuple[int, list[Any], str]:
        """Run one node on this input: its exit status, its replies, and its log."""
        with self.node() as life:
            life.send(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
            life.end_input()
            replies = [json.loads(line) for line in life.lines()]
            return life.status(), replies, life.stderr

    def state_of(self, saga_id: str) -> str:
        told = choreo("show", saga_id, "--journal", str(self.journal), "--json")
        assert told.exit_code == 0, told.output
        return str(json.loads(told.stdout)["state"])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


def ask(saga_id: str, *steps: object, **fields: object) -> dict[str, object]:
    return {"type": "execute", "msg_id": 1, "saga_id": saga_id, "steps": list(steps), **fields}


# --- services that changed --------------------------------------------------------------------------------------------


@pytest.mark.slow
@both_styles
@pytest.mark.parametrize("others", ["a stand-in", "a new one each", "nobody"])
def test_a_run_whose_step_is_served_no_more_is_held_and_goes_on_when_it_is(shop: Shop, style: str, others: str) -> None:
    """The run waits for the renamed step; no other service takes it, and its client gets no reply until then."""
    shop.serve("settle", "mail", "book", others=others)
    assert shop.start(ask("before", "book", "settle", "mail", style=style))[0] == 0
    shop.deadly("execute", "settle")
    assert shop.start(ask("t", "book", "settle", "mail", style=style))[0] == KILLED
    calls = shop.calls

    shop.serve("settle", "send_mail", "book", others=others)
    status, replies, told = shop.start(ask("other", "book"))
    listed = json.loads(choreo("sagas", "--journal", str(shop.journal), "--state", "held", "--json").stdout)
    shop.serve("settle", "mail", "book", others=others)
    after = shop.start()

    assert (status, [reply["saga_id"] for reply in replies]) == (0, ["other"])
    assert 'choreo node: run-2 (saga "t") is held: no service serves step "mail" any more' in told
    assert (listed["saga_id"], listed["state"], listed["held"]["step"]) == ("t", "held", "mail")
    assert shop.calls == [*calls, "execute book", "execute settle", "execute mail"]
    assert [reply["state"] for reply in after[1]] == ["completed"]
    assert (after[0], after[2]) == (0, "")
    assert rows(str(shop.journal), "SELECT * FROM held") == []


def test_whoever_asks_for_a_run_that_is_held_is_told_so(shop: Shop) -> None:
    """By the request again an error that is true, by status the state and why; by the operator's commands too."""
    shop.deadly("execute", "settle")
    shop.start(ask("t", "book", "settle", "mail"))
    shop.serve("settle", "book")

    _, (again, status), _ = shop.start(ask("t", "book", "settle", "mail"), {"type": "status", "saga_id": "t"})
    shown = choreo("show", "t", "--journal", str(shop.journal))
    sagas = choreo("sagas", "--journal", str(shop.journal))
    resumed = choreo("resume", "t", "--journal", str(shop.journal))

    assert (again["type"], again["code"], again["in_reply_to"]) == ("error", 13, 1)
    assert 'run-1 (saga "t") is held: no service serves step "mail" any more' in again["text"]
    assert (status["type"], status["state"], status["held_step"]) == ("saga_status", "held", "mail")
    assert status["reason"].startswith('no service serves step "mail" any more')
    assert "saga t, run-1: held" in shown.stdout
    assert "no service serves step" in prose(shown.stdout)
    assert "choreo resume t --journal" in shown.stdout
    assert "1 run: 1 held" in sagas.stdout
    assert resumed.exit_code == 1
    assert "It was held, and this command could not have it go on: no service serves step" in prose(resumed.stdout)
    assert shop.state_of("t") == "held"
    assert choreo("sagas", "--journal", str(shop.journal), "--state", "running", "--json").stdout.strip() == ""


def test_a_running_node_that_is_asked_to_resume_a_held_run_says_why_not(shop: Shop) -> None:
    """The services are those with which it was started."""
    shop.deadly("execute", "settle")
    shop.start(ask("t", "book", "settle", "mail"))
    shop.serve("settle", "book")

    with shop.node() as life:
        life.send(json.dumps(ask("other", "book")).encode() + b"\n")
        next(life.lines())
        resumed = choreo("resume", "t", "--journal", str(shop.journal), "--json")

    told = json.loads(resumed.stdout)
    assert (resumed.exit_code, told["was"], told["state"], told["by"]) == (1, "held", "held", "the node")
    assert told["failure"].startswith('no service serves step "mail" any more')


def test_a_step_that_may_have_to_be_compensated_is_held_as_well(shop: Shop) -> None:
    """It was executed by a service that is gone, and the saga may still go backward."""
    shop.deadly("execute", "settle")
    shop.start(ask("t", "book", "settle"))
    shop.serve("settle")

    status, replies, told = shop.start()

    assert (status, replies) == (0, [])
    assert 'no service serves step "book" any more' in told


def test_a_step_that_is_never_reached_holds_nothing(shop: Shop) -> None:
    """The saga goes backward, and the step without a service comes after the one that failed."""
    shop.deadly("compensate", "book")
    assert shop.start(ask("t", "book", "settle", "mail", fail_step="settle"))[0] == KILLED
    shop.serve("book")

    status, (reply,), told = shop.start()

    assert (status, reply["state"], reply["compensated_steps"]) == (0, "compensated", ["book"])
    assert "held" not in told


def test_a_run_that_began_with_a_stand_in_goes_on_with_one(shop: Shop) -> None:
    """Also where a service had the step in between; a new run takes the service that is there."""
    shop.deadly("execute", "settle")
    shop.start(ask("t", "settle", "simulated"))
    shop.deadly("execute", "settle")
    shop.serve("settle", "simulated")
    assert shop.start()[0] == KILLED

    shop.serve("settle")
    status, (reply,), told = shop.start()

    assert (status, reply["state"]) == (0, "completed")
    assert "held" not in told


def test_what_served_a_step_is_remembered_for_each_run(shop: Shop) -> None:
    """A later run has begun with a stand-in; the earlier one, which had a service, is held at every start."""
    shop.deadly("execute", "settle")
    shop.start(ask("t", "settle", "mail"))
    shop.serve("settle")

    first = shop.start(ask("later", "mail"))
    second = shop.start()

    assert [reply["saga_id"] for reply in first[1]] == ["later"]
    assert second[1] == []
    assert "run-1" in second[2]
    assert "is held" in second[2]


def test_a_class_that_was_renamed_holds_nothing(shop: Shop) -> None:
    """Another class serves the step; it has no records, so none are lost."""
    shop.start(ask("before", "mail"))
    shop.deadly("execute", "settle")
    shop.start(ask("t", "settle", "mail"))
    (shop.folder / "renamed").touch()

    status, replies, told = shop.start()

    assert (status, [reply["state"] for reply in replies]) == (0, ["completed"])
    assert "held" not in told


def test_a_stuck_run_is_not_resumed_by_a_stand_in(shop: Shop) -> None:
    """It stays stuck, and why is said."""
    shop.start(ask("t", "book", "settle", fail_step="settle", fail_compensation="book"))
    shop.serve("settle")

    done = choreo("resume", "t", "--journal", str(shop.journal))

    assert done.exit_code == 1
    assert 'It cannot go on: no service serves step "book" any more' in prose(done.stdout)
    assert shop.state_of("t") == "stuck"
    assert shop.calls == ["execute book"]


# --- calls that end the process ---------------------------------------------------------------------------------------


def lives(shop: Shop, messages: Sequence[object] = (), most: int = 20) -> tuple[int, list[Any], str]:
    """As a supervisor has it: nodes, one after the other, until one ends by itself; how many were killed."""
    replies: list[Any] = []
    told = ""
    for killed in range(most):
        status, heard, said = shop.start(*messages)
        replies, told, messages = replies + heard, told + said, ()
        if status == 0:
            return killed, replies, told
        assert status == KILLED, said
    raise AssertionError(f"expected an end within {most} lives, got {told}")


@both_styles
def test_a_run_that_ends_the_process_three_times_in_one_call_is_set_aside(shop: Shop, style: str) -> None:
    """All others of the same batch go on as usual, before it is tried again."""
    shop.deadly("execute", "settle", 1000)
    others = [ask(f"other-{number}", "book", "mail", style=style) for number in range(5)]

    killed, replies, told = lives(shop, [ask("t", "book", "settle", style=style), *others])

    assert killed == 3
    assert sorted(reply["saga_id"] for reply in replies) == [f"other-{number}" for number in range(5)]
    assert 'choreo node: run-1 (saga "t") has ended the process once, in execute() of step "settle"' in told
    assert 'run-1 (saga "t") is held: execute() of step "settle" has ended the process 3 times in a row' in told
    assert shop.calls.count("execute settle") == 3
    assert shop.calls.count("execute book") <= 3 * 6
    assert shop.state_of("t") == "held"
    assert shop.start()[0] == 0


def test_an_operator_has_it_tried_again_once(shop: Shop) -> None:
    """It ends the process again: it is held again at once. Once the service is mended, it goes on."""
    shop.deadly("execute", "settle", 4)
    lives(shop, [ask("t", "book", "settle")])

    with shop.node() as life:
        life.send(json.dumps(ask("other", "book")).encode() + b"\n")
        next(life.lines())
        again = choreo("resume", "t", "--journal", str(shop.journal))
        assert life.status() == KILLED
    after = shop.start()
    done = choreo("resume", "t", "--journal", str(shop.journal))

    assert again.exit_code == 1
    assert 'execute() of step "settle" has ended the process 3 times in a row' in prose(again.stdout)
    assert "saga t, run-1: held" in again.stdout
    assert (after[0], after[1]) == (0, [])
    assert done.exit_code == 0
    assert "It was held, and this command had it go on." in done.stdout
    assert shop.state_of("t") == "completed"
    assert rows(str(shop.journal), "SELECT * FROM deadly_calls") == []
    assert rows(str(shop.journal), "SELECT count(*) FROM resumptions WHERE done_ms IS NULL") == [(0,)]


def test_a_call_that_ends_the_process_twice_is_made_a_third_time(shop: Shop) -> None:
    """The call succeeds, and its count is deleted."""
    shop.deadly("execute", "settle", 2)

    killed, (reply,), _ = lives(shop, [ask("t", "book", "settle", "mail")])

    assert (killed, reply["state"]) == (2, "completed")
    assert rows(str(shop.journal), "SELECT * FROM deadly_calls") == []


@both_styles
def test_a_compensation_that_ends_the_process_is_set_aside_as_well(shop: Shop, style: str) -> None:
    """The saga is neither stuck nor compensated; its client gets no reply."""
    shop.deadly("compensate", "book", 1000)

    killed, replies, told = lives(shop, [ask("t", "book", "settle", fail_step="settle", style=style)])

    assert (killed, replies) == (3, [])
    assert 'is held: compensate() of step "book" has ended the process 3 times in a row' in told
    assert shop.state_of("t") == "held"


@both_styles
def test_a_step_in_doubt_is_not_executed_again_where_its_undo_was_not_committed(shop: Shop, style: str) -> None:
    """The process ends behind the undo and before the commit, with another saga in the same round."""
    (shop.folder / "loses settle").touch()
    shop.deadly("commit", "settle")

    killed, replies, _ = lives(shop, [ask("t", "book", "settle", style=style), ask("u", "book", "mail", style=style)])

    assert killed == 1
    assert {reply["saga_id"]: reply["state"] for reply in replies} == {"t": "compensated", "u": "completed"}
    assert [call for call in shop.calls if "settle" in call] == ["execute settle", *["compensate settle"] * 2]
    assert choreo("check", "--journal", str(shop.journal)).exit_code == 0


@both_styles
def test_a_step_in_doubt_whose_undo_ends_the_process_is_undone_again_and_not_executed_again(
    shop: Shop, style: str
) -> None:
    """A bank that has refunded, and knows the key, would take a second charge for the first, and call it done."""
    (shop.folder / "loses settle").touch()
    shop.deadly("compensate", "settle", 2)

    killed, (reply,), _ = lives(shop, [ask("t", "book", "settle", "mail", style=style)])

    assert (killed, reply["state"], reply["in_doubt_steps"]) == (2, "compensated", ["settle"])
    assert [call for call in shop.calls if "settle" in call] == ["execute settle", *["compensate settle"] * 3]
    assert choreo("check", "--journal", str(shop.journal)).exit_code == 0


def test_two_runs_that_both_end_the_process_are_both_set_aside(shop: Shop) -> None:
    """One after the other, with everything else done before either is tried again."""
    shop.deadly("execute", "settle", 1000)
    shop.deadly("execute", "mail", 1000)

    killed, replies, _ = lives(shop, [ask("t", "settle"), ask("u", "mail"), ask("other", "book")])

    assert killed == 6
    assert [reply["saga_id"] for reply in replies] == ["other"]
    assert (shop.state_of("t"), shop.state_of("u")) == ("held", "held")


def test_a_node_that_is_killed_while_nothing_is_called_is_nobodys_fault(shop: Shop) -> None:
    """No call was under way."""
    with shop.node() as life:
        life.send(json.dumps(ask("t", "book")).encode() + b"\n")
        next(life.lines())
        life.kill()

    assert shop.start()[2] == ""
    assert rows(str(shop.journal), "SELECT * FROM deadly_calls") == []


@pytest.mark.parametrize("left", [b"", b"\xff" * 100, b"\1\0\0\0\0\0\0\0" + b"\x7f" * 16])
def test_whatever_lies_in_the_file_of_calls_is_taken_with_care(shop: Shop, left: bytes) -> None:
    """The file may be empty, hold other data, or name a call of an unknown run."""
    shop.start(ask("t", "book"))
    Path(f"{shop.journal}-calls").write_bytes(left)

    assert shop.start() == (0, [], "")


def test_a_file_of_calls_that_cannot_be_had_is_told(shop: Shop) -> None:
    """One sentence, before any input is read."""
    Path(f"{shop.journal}-calls").mkdir()

    status, replies, told = shop.start(ask("t", "book"))

    assert (status, replies) == (2, [])
    assert told.startswith("choreo node: --journal: expected a file that can be written beside the journal, got ")
    assert len(told.splitlines()) == 1

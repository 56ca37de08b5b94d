"""`choreo sagas`, `show`, `resume` and `prune`: operating a journal, with and without a node that has it."""

import json
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from choreo.analysis.expecting import expected
from choreo.compile import STYLES
from choreo.conformance.journal import check_runs
from choreo.conformance.journal_records import replayer_of
from choreo.saga.plan import Itinerary
from choreo.saga.request import Request
from choreo.storage.sqlite import opening
from choreo.storage.sqlite.checks import damage
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.lock import Lock
from choreo.storage.sqlite.schema import VERSION
from choreo.terminal.commands import prune as prune_command
from choreo.terminal.views.durations import DAY, HOUR, MINUTE, SECOND, age_text, duration_text, now_ms, read_age
from tests.journals import (
    COMPENSATED,
    COMPLETED,
    EVERY_KIND,
    SIGNS,
    STUCK,
    TRIP,
    Desk,
    change,
    resume,
    rows,
    state_of,
    write,
    write_cut,
)
from tests.node_client import Node
from tests.stories import NAMES, ROOT, Mishap, sagas
from tests.terminal import CHOREO, choreo, lines, on_a_terminal, prose, spawn

both_styles = pytest.mark.parametrize("style", sorted(STYLES))
SERVICES = ("--services", "tests.journals")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that every command can be given as it is."""
    monkeypatch.chdir(tmp_path)
    return "sagas.db"


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the control files of the node's services."""
    monkeypatch.setenv(SIGNS, str(tmp_path))
    return tmp_path


def node(path: str) -> Node:
    return Node("--journal", str(Path(path).absolute()), *SERVICES)


def ask(saga_id: str, *steps: object, **fields: object) -> dict[str, Any]:
    return {"type": "execute", "saga_id": saga_id, "steps": list(steps), **fields}


def holds(path: str) -> bool:
    journal = Journal.open_to_read(path)
    try:
        return check_runs(journal).holds and not damage(journal)
    finally:
        journal.close()


# --- ages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("milliseconds", "age", "duration"),
    [
        (-DAY, "0s", "0 ms"),
        (0, "0s", "0 ms"),
        (999, "0s", "999 ms"),
        (2500, "2s", "2.5 s"),
        (119 * SECOND, "119s", "119.0 s"),
        (2 * MINUTE, "2m", "2m"),
        (119 * MINUTE, "119m", "119m"),
        (2 * HOUR, "2h", "2h"),
        (47 * HOUR, "47h", "47h"),
        (2 * DAY, "2d", "2d"),
        (12345 * DAY, "12345d", "12345d"),
    ],
)
def test_an_age_is_a_number_and_a_unit_and_never_negative(milliseconds: int, age: str, duration: str) -> None:
    """The age is never negative for any clock, and a printed age can be typed."""
    assert age_text(milliseconds) == age
    assert duration_text(milliseconds) == duration
    assert read_age(age) <= max(milliseconds, 0)


@pytest.mark.parametrize("text", ["", "5", "d", "5 d", "-5d", "+5d", "1.5h", "5w", "5D", "٥d", "5d5h", "9999999999d"])
def test_what_is_no_age_is_wrong_use(path: str, text: str) -> None:
    """The error has examples of ages."""
    done = choreo("prune", "--journal", path, f"--older-than={text}")

    assert done.exit_code == 2
    assert "expected an age such as 30d, 12h, 90m or 45s" in prose(done.output)


# --- sagas ------------------------------------------------------------------------------------------------------------


def test_the_runs_are_listed_the_newest_last(path: str) -> None:
    """Each run has its state and its age; unfinished ones also have their next events."""
    write(path, COMPLETED, COMPENSATED, STUCK, at_ms=now_ms() - 3 * HOUR)
    write_cut(path, Request("cut", TRIP), 2, at_ms=now_ms() + HOUR)

    done = choreo("sagas", "--journal", path)

    assert done.exit_code == 0
    assert done.stdout.splitlines() == lines("""
    run    saga    state        age  expected next
    run-1  done    completed    3h
    run-2  undone  compensated  3h
    run-3  stuck   stuck        3h   nothing: waits for an operator; b could not be…
    run-4  cut     running      0s   book_hotel: succeeded or failed

    4 runs: 1 running, 1 completed, 1 compensated and 1 stuck
    """)


def test_of_many_runs_the_newest_are_listed(path: str) -> None:
    """And how many older ones there are, of the state that is asked for."""
    write(path, *(replace(STUCK if number % 2 else COMPLETED, saga_id=number) for number in range(60)))

    everything, stuck = choreo("sagas", "--journal", path), choreo("sagas", "--journal", path, "--state", "stuck")
    three = choreo("sagas", "--journal", path, "--state", "stuck", "--limit", "3").stdout.splitlines()
    unlimited = choreo("sagas", "--journal", path, "--limit", "0").stdout.splitlines()

    assert "… 40 older, which --limit 0 lists as well" in everything.stdout
    assert "… 10 older, which --limit 0 lists as well" in stuck.stdout
    assert [line.split()[0] for line in three if line.startswith("run-")] == ["run-56", "run-58", "run-60"]
    assert three[-1] == "60 runs: 30 completed and 30 stuck"
    assert sum(line.startswith("run-") for line in unlimited) == 60


def test_programs_get_a_line_a_run(path: str) -> None:
    """All runs, unless there is a limit; the next events are listed one by one."""
    write(path, STUCK, at_ms=now_ms() - HOUR)
    write_cut(path, Request(7, TRIP), 2)

    first, second = map(json.loads, choreo("sagas", "--journal", path, "--json").stdout.splitlines())
    (last,) = choreo("sagas", "--journal", path, "--json", "--limit", "1").stdout.splitlines()

    assert (first["run"], first["saga_id"], first["state"], first["next"]) == ("run-1", "stuck", "stuck", [])
    assert first["outcome"]["stuck_step"] == "b"
    assert 3600 <= first["age_s"] < 3700
    assert (second["saga_id"], second["state"], second["ended"], second["outcome"]) == (7, "running", None, None)
    assert second["next"] == [
        {"event": "step.succeeded", "source": "book_hotel", "step": "book_hotel", "position": 1},
        {"event": "step.failed", "source": "book_hotel", "step": "book_hotel", "position": 1},
    ]
    assert json.loads(last)["run"] == "run-2"


def test_a_journal_without_runs_has_none(path: str) -> None:
    """In either form."""
    write(path)

    assert choreo("sagas", "--journal", path).stdout == "no run\n"
    assert choreo("sagas", "--journal", path, "--json").stdout == ""


def test_a_run_that_cannot_be_read_hides_no_other(path: str) -> None:
    """It is listed as such, and so is one whose rows do not follow from each other."""
    write(path, COMPLETED, replace(COMPLETED, saga_id="b"))
    write_cut(path, Request("c", TRIP), 2)
    change(path, "UPDATE runs SET steps = 'no JSON' WHERE run = 1", "UPDATE deliveries SET seat = 9 WHERE run = 3")

    done = choreo("sagas", "--journal", path)
    told = [json.loads(line) for line in choreo("sagas", "--journal", path, "--json").stdout.splitlines()]

    assert (done.exit_code, len(told)) == (0, 3)
    assert re.search(r"run-1 +\? +\? +\? +cannot be read: choreo check says why", done.stdout)
    assert re.search(r"run-2 +b +completed", done.stdout)
    assert re.search(r"run-3 +c +running +0s +nobody can tell: choreo check says why", done.stdout)
    assert "cannot be read" in told[0]["wrong"]
    assert "which is not due" in told[2]["wrong"]


@both_styles
def test_what_is_expected_next_is_what_comes_next(path: str, style: str) -> None:
    """After every delivery of a run that goes backward through a group: the next event is one of those expected."""
    write(path, Request("s", ("a", ("b", "c"), "d"), "d", None, style))
    journal = Journal.open_to_read(path)
    (row,) = journal.runs()
    replayer, deliveries = replayer_of(style, row.request.steps), journal.deliveries(1)
    journal.close()

    for number in range(len(deliveries)):
        topics = {f"{t.fact}:{t.position}" for t in expected(replayer, replayer.replay(row, deliveries[:number]))}
        following = next((each.published for each in deliveries[number:] if each.published), "compensated")
        words = [word if ":" in word else f"{word}:-1" for word in following.split()]
        assert topics >= set(words), number
    assert expected(replayer, replayer.replay(row, deliveries)) == []


# --- show -------------------------------------------------------------------------------------------------------------


def test_a_stuck_saga_is_shown_with_everything_an_operator_needs(path: str) -> None:
    """The output has the request, the times, the diagram, the steps in force, the cause, and the command to resume."""
    write(path, STUCK, at_ms=now_ms() - 2 * DAY)

    done = choreo("show", "stuck", "--journal", path)

    assert done.exit_code == 0
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN", done.stdout).splitlines() == lines("""
    saga stuck, run-1: stuck
      steps       a, b + c and d (choreography)
      asked for   d is to refuse and b is not to be undone
      begun       WHEN UTC, 2d ago, by tester, message 1
      ended       after 0 ms
      client      was told stuck

       0  0 ms  client                                saga started
       1  0 ms  a            ← saga started           succeeded
       2  0 ms  b            ← a succeeded            succeeded
       3  0 ms  c            ← a succeeded            succeeded
       5  0 ms  d            ← c succeeded            failed
                             d was told to refuse
       7  0 ms  c            ← d failed               compensated
       9  0 ms  b            ← d failed               compensation_failed
                             the compensation of b was told to fail
      10  0 ms  coordinator  ← b compensation_failed  saga stuck

         client        a            b    c            d  coordinator
            │          │            │    │            │       │
      1     ● started ►┃            │    │            │       │
      2     │          ● succeeded ►┃    │            │       │  ● succeeded
      3     │          ● succeeded ─╂───►┃            │       │
      5     │          ┃            ┃    ● succeeded ►│       │  refused
      7     │          ┃            ┃    │◄─ failed ──●       │  ● compensated
      9     │          ┃            ┃◄───┼── failed ──●       │  not undone: refused
     10     │          ┃            ●─ compensation_failed ──►│  ● stuck
            │          ┃            ┃    │            │       │

      ● published   ► heard   ┃ in force

      took effect a, b and c
      compensated c
      in force    a and b
      not undone  b: the compensation of b was told to fail
      why         the saga ended stuck, because b could not be compensated: the
                  compensation of b was told to fail. It was to be compensated,
                  because d failed: d was told to refuse.
      next        nothing: waits for an operator
      resume it   choreo resume stuck --journal sagas.db
    """)


def test_what_was_resumed_is_told_as_it_is_now(path: str) -> None:
    """The client keeps its reply; the explanation leaves out the compensation that failed at first."""
    write(path, STUCK)
    resume(path, "stuck")

    told = choreo("show", "stuck", "--journal", path, width=100).stdout

    assert "saga stuck, run-1: compensated\n" in told
    assert "client      was told stuck\n" in told
    assert re.search(r"\n +14 +\d+ ms +operator +saga resumed\n", told)
    assert "in force    nothing\n" in told
    assert "resumed     once: 14 in the timeline\n" in told
    why = prose(told[told.index("  why ") :])
    assert why.startswith("why the saga ended compensated, because a was compensated, because b was compensated")
    assert "not undone" not in told[told.index("took effect") :]


@both_styles
@pytest.mark.parametrize("commits", range(1, 6))
def test_what_is_under_way_is_told_as_far_as_it_has_come(path: str, style: str, commits: int) -> None:
    """The output has the next events, and says that the client waits."""
    write_cut(path, Request("cut", ("a", ("b", "c"), "d"), "d", None, style), commits)

    done = choreo("show", "cut", "--journal", path, width=100)
    told = json.loads(choreo("show", "cut", "--journal", path, "--json").stdout)

    assert done.exit_code == 0
    assert "client      has not been told anything yet" in done.stdout
    assert re.search(r"\n  next        \w+: .+\n", done.stdout)
    assert (told["state"], told["reply"], told["ended"]) == ("running", None, None)
    assert told["next"] != []


def test_a_run_is_told_to_programs_whole(path: str) -> None:
    """With the reply as it was sent, and every trace record."""
    write(path, STUCK)

    told = json.loads(choreo("show", "stuck", "--journal", path, "--json").stdout)

    assert told["reply"] == {
        "type": "saga_stuck",
        "in_reply_to": 1,
        "saga_id": "stuck",
        "state": "stuck",
        "compensated_steps": ["c"],
        "stuck_step": "b",
    }
    assert (told["took_effect"], told["compensated"], told["in_force"]) == (["a", "b", "c"], ["c"], ["a", "b"])
    assert told["not_compensated"] == {"b": "the compensation of b was told to fail"}
    assert rows(path, "SELECT origin || '.1.' FROM origins") == [(told["key_prefix"],)]
    assert told["explanation"]["explained"] is True
    assert [record["seq"] for record in told["records"]] == list(range(1, len(told["records"]) + 1))


def test_a_step_in_doubt_is_shown_as_such(path: str) -> None:
    """The client was told the exception and its step, and so is the operator; the step is never called in force."""
    desk = Desk()
    desk.execute = lambda reference: 1 / 0  # type: ignore[method-assign,assignment,return-value]  # it is planted
    write(path, COMPLETED, service=desk)

    told = choreo("show", "done", "--journal", path, width=100).stdout
    reply = json.loads(choreo("show", "done", "--journal", path, "--json").stdout)["reply"]

    assert "client      was told stuck; book_flight raised ZeroDivisionError: division by zero" in told
    assert "in force    nothing\n  in doubt    book_flight: may have taken effect, and is not undone\n" in told
    assert (reply["type"], reply["in_doubt_steps"]) == ("saga_stuck", ["book_flight"])


def test_a_recorded_crash_is_told_as_it_was(path: str) -> None:
    """Choreo 0.1 answered an exception with error 13 and undid no step: a client that retries gets that reply again."""
    write(path, COMPLETED)
    recorded = '{"state": "compensated", "compensated_steps": [], "defect": "book_flight: TimeoutError: no answer"}'
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET state = 'compensated', outcome = ?", (recorded,))
        connection.commit()

    told = choreo("show", "done", "--journal", path, width=100).stdout
    reply = json.loads(choreo("show", "done", "--journal", path, "--json").stdout)["reply"]

    assert "client      was told of a crash: book_flight: TimeoutError: no answer" in told
    assert (reply["code"], reply["text"]) == (13, "book_flight: TimeoutError: no answer")


def test_a_picture_can_be_had_as_mermaid(path: str) -> None:
    """Only the diagram is printed."""
    write(path, STUCK)

    told = choreo("show", "stuck", "--journal", path, "--mermaid").stdout

    assert told.startswith("sequenceDiagram\n    actor p0 as client\n")
    assert ": 9 failed\n" in told
    both = choreo("show", "stuck", "--journal", path, "--mermaid", "--json")
    assert (both.exit_code, "expected one form of output" in prose(both.output)) == (2, True)


def test_who_heard_and_did_nothing_is_told_on_request(path: str) -> None:
    """Delivery 6 is the coordinator's, who only listens."""
    write(path, STUCK)

    assert "\n   6 " not in choreo("show", "stuck", "--journal", path).stdout
    assert "\n   6  " in choreo("show", "stuck", "--journal", path, "--all").stdout


def test_a_saga_that_is_not_there_is_wrong_use(path: str) -> None:
    """With one that is like it."""
    write(path, COMPLETED, replace(COMPLETED, saga_id="booking-123"))

    done = choreo("show", "booking-132", "--journal", path)
    none = choreo("show", "x", "--journal", write("empty.db"))

    assert (done.exit_code, none.exit_code) == (2, 2)
    assert "did you mean 'booking-123'?" in prose(done.output)
    assert "the journal has no saga" in prose(none.output)


def test_a_number_and_a_text_are_two_sagas(path: str) -> None:
    """A name that fits one of the two means that one; where both exist, the run decides."""
    write(path, Request(7, TRIP), Request("8", TRIP), Request(8, TRIP))

    assert "saga 7, run-1" in choreo("show", "7", "--journal", path).stdout
    both = choreo("show", "8", "--journal", path)
    assert both.exit_code == 2
    assert "run-2 of '8' and run-3 of 8" in prose(both.output)
    assert "saga 8, run-3" in choreo("show", "8", "--journal", path, "--run", "run-3").stdout
    for wrong in ("run-1", "run-9", "run-", "nine", "run-" + "9" * 40):
        assert choreo("show", "8", "--journal", path, "--run", wrong).exit_code == 2


def test_rows_that_do_not_follow_from_each_other_are_a_finding(path: str) -> None:
    """The rows are shown all the same, with the error."""
    change(write(path, COMPLETED), "UPDATE deliveries SET seat = 0 WHERE number = 2")

    done = choreo("show", "done", "--journal", path)

    assert done.exit_code == 1
    assert "run-1, delivery 2: expected what follows from the rows before" in prose(done.stdout)


def test_of_a_very_long_run_the_first_and_the_last_are_told(path: str) -> None:
    """A thousand steps there and back, on a few pages, within seconds."""
    write(path, Request("long", tuple(f"s{n}" for n in range(1000)), "s999"))

    done = choreo("show", "long", "--journal", path)

    assert len(done.stdout.splitlines()) < 350
    assert "more, which --json has" in done.stdout
    assert "took effect s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11 and 987 more" in prose(done.stdout)


# --- whatever the names are -------------------------------------------------------------------------------------------


@given(saga=sagas(), saga_id=NAMES, style=st.sampled_from(sorted(STYLES)), width=st.sampled_from((40, 80, 120)))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
def test_no_name_spoils_what_is_printed(saga: tuple[Itinerary, Mishap], saga_id: str, style: str, width: int) -> None:
    """Every line is printable and fits the width, in any encoding; and programs get the name as it is."""
    steps, mishap = saga
    with TemporaryDirectory() as directory:
        path = str(Path(directory, "sagas.db"))
        write(path, Request(saga_id, steps, mishap.fail_step, mishap.fail_compensation, style))
        listed = choreo("sagas", "--journal", path, width=width)
        shown = choreo("show", "--journal", path, "--", saga_id, width=width)
        ascii_only = choreo("show", "--journal", path, "--", saga_id, width=width, PYTHONIOENCODING="ascii")
        told = json.loads(choreo("show", "--journal", path, "--json", "--", saga_id).stdout)

    for done in (listed, shown, ascii_only):
        assert done.exit_code == 0, done.output
        for line in done.stdout.splitlines():
            assert line.isprintable(), line
            assert cell_len(line) <= width or line.startswith("  resume it "), line
    assert told["saga_id"] == saga_id
    assert told["steps"] == json.loads(json.dumps(steps))


def test_no_state_that_somebody_has_written_spoils_what_is_printed(path: str) -> None:
    """A row is as hostile as a name."""
    change(write(path, COMPLETED), "UPDATE runs SET state = 'x' || char(27) || '[31m'")

    for command in (["sagas"], ["show", "done"], ["check"], ["resume", "done", *SERVICES]):
        done = choreo(*command, "--journal", path)
        assert "\x1b" not in done.output, command
        assert "x\\x1b[31m" in prose(done.output), command


def test_whoever_stops_reading_ends_the_list_quietly(path: str) -> None:
    """As with any other program."""
    write(path, *(replace(COMPLETED, saga_id=n) for n in range(3000)))
    file = str(Path(path).absolute())

    piped = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "-", *CHOREO, "sagas", "--journal", file, "--json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )

    assert len(piped.stdout.splitlines()) == 1
    assert (piped.stderr, piped.returncode) == (b"", 141)


def test_colour_is_for_terminals_alone(path: str) -> None:
    """No colour in a pipe, and none with NO_COLOR."""
    file = str(Path(write(path, STUCK)).absolute())

    for command in (["sagas"], ["show", "stuck"], ["check"], ["prune", "--older-than", "1d", "--dry-run"]):
        arguments = (*command, "--journal", file)
        assert "\x1b" not in spawn(*arguments).stdout.decode()
        assert "\x1b" not in on_a_terminal(*arguments, NO_COLOR="1")
    assert "\x1b[1;31mstuck" in on_a_terminal("sagas", "--journal", file)
    assert "\x1b[1;31mstuck" in on_a_terminal("show", "stuck", "--journal", file)


# --- resume -----------------------------------------------------------------------------------------------------------


def test_a_stuck_saga_is_resumed_where_no_node_has_the_journal(path: str, signs: Path) -> None:
    """The command drives the run; no step is compensated twice."""
    write(path, STUCK)

    done = choreo("resume", "stuck", "--journal", path, *SERVICES)

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "saga stuck, run-1: compensated",
        "  It was stuck, and this command had it go on.",
        "  Compensated, in this order: c, b and a.",
    ]
    assert (state_of(path, "stuck"), holds(path)) == ("compensated", True)
    assert rows(path, "SELECT records FROM services") == [('{"held":0}',)]


def test_what_is_stuck_again_is_a_finding(path: str, signs: Path) -> None:
    """At every attempt, until the cause is removed."""
    write(path, STUCK)
    (signs / "closed").touch()

    for _ in range(2):
        done = choreo("resume", "stuck", "--journal", path, *SERVICES)
        assert done.exit_code == 1
        assert "It is stuck again, b could not be compensated: the desk is closed." in prose(done.stdout)
    (signs / "closed").unlink()

    assert choreo("resume", "stuck", "--journal", path, *SERVICES).exit_code == 0
    assert (state_of(path, "stuck"), holds(path)) == ("compensated", True)


def test_what_is_not_stuck_stays_as_it_is(path: str) -> None:
    """Completed or compensated: the command says so, and writes no row."""
    write(path, COMPLETED, COMPENSATED)
    before = Path(path).read_bytes()

    for saga_id in ("done", "undone"):
        done = choreo("resume", saga_id, "--journal", path, *SERVICES)
        assert done.exit_code == 0
        assert "It is not stuck: there is nothing to resume." in done.stdout
    assert Path(path).read_bytes() == before
    assert json.loads(choreo("resume", "done", "--journal", path, "--json").stdout)["by"] is None


@both_styles
def test_what_a_dead_node_has_left_is_brought_to_its_end(path: str, signs: Path, style: str) -> None:
    """The node is killed in the middle of the second step; no other node comes."""
    with node(path) as running:
        (signs / "deadly-execute").touch()
        running.send(json.dumps(ask("s", *TRIP, style=style)).encode() + b"\n")
        running.process.wait(60)
    listed = choreo("sagas", "--journal", path, "--state", "running")

    done = choreo("resume", "s", "--journal", path, *SERVICES, "--json")

    assert running.process.returncode == -signal.SIGKILL
    assert "book_flight: succeeded or failed" in listed.stdout
    told = json.loads(done.stdout)
    assert (done.exit_code, told["was"], told["state"], told["by"]) == (0, "running", "completed", "this command")
    assert holds(path)


def test_a_run_that_was_cut_off_while_it_was_resumed_goes_on(path: str, signs: Path) -> None:
    """The process that resumed it was killed in the middle of a compensation."""
    write(path, STUCK)
    (signs / "deadly-compensate").touch()

    killed = spawn("resume", "stuck", "--journal", str(Path(path).absolute()), *SERVICES)
    state = state_of(path, "stuck")
    done = choreo("resume", "stuck", "--journal", path, *SERVICES)

    assert (killed.returncode, state) == (-signal.SIGKILL, "running")
    assert done.exit_code == 0
    assert "It was cut off, and this command had it go on." in done.stdout
    assert (state_of(path, "stuck"), holds(path)) == ("compensated", True)


def test_a_node_that_has_the_journal_is_asked(path: str, signs: Path) -> None:
    """The node resumes it while it serves; a client that retries gets its old reply, and the status is the new one."""
    with node(path) as running:
        stuck = running.ask(ask("s", "a", "b", fail_step="b", fail_compensation="a"))

        done = choreo("resume", "s", "--journal", path)

        assert done.exit_code == 0
        assert "It was stuck, and the node had it go on." in done.stdout
        assert running.ask(ask("s", "a", "b", fail_step="b", fail_compensation="a")) == stuck
        assert json.loads(running.ask({"type": "status", "saga_id": "s"}))["state"] == "compensated"
        assert running.finish() == []
    assert holds(path)


def test_the_trace_of_a_node_tells_that_an_operator_had_it_go_on(path: str, signs: Path) -> None:
    """Its second outcome is therefore no violation."""
    trace = str(Path("trace.jsonl").absolute())
    with Node("--journal", str(Path(path).absolute()), *SERVICES, "--trace", trace) as running:
        running.ask(ask("s", "a", "b", fail_step="b", fail_compensation="a"))
        choreo("resume", "s", "--journal", path)
        running.finish()

    assert (
        '"event":"saga.resumed","action":"resume","saga_id":"s","run":"run-1","source":"operator"'
        in Path(trace).read_text()
    )
    assert choreo("check", trace).exit_code == 0


def test_a_node_that_is_asked_in_vain_says_so(path: str, signs: Path) -> None:
    """Stuck again: the exit status is 1."""
    (signs / "closed").touch()
    with node(path) as running:
        running.ask(ask("s", "a", "b", fail_step="b"))

        done = choreo("resume", "s", "--journal", path)

        assert done.exit_code == 1
        assert "It is stuck again, a could not be compensated: the desk is closed." in prose(done.stdout)
        assert json.loads(running.ask(ask("t", "a")))["state"] == "completed"


def test_what_a_node_is_busy_with_is_left_to_it(path: str) -> None:
    """A node has the journal and the run is in progress: the command says so, and that it has not ended."""
    write_cut(path, Request("cut", TRIP), 2)
    with locked(path):
        done = choreo("resume", "cut", "--journal", path, *SERVICES)

    assert done.exit_code == 1
    assert "Another process has the journal: a node, which sees to it" in prose(done.stdout)
    assert state_of(path, "cut") == "running"


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the journal as a process that handles no requests."""
    lock = Lock(path)
    try:
        yield
    finally:
        lock.release()


def test_a_node_that_does_not_attend_in_time_may_still_do_so(path: str, signs: Path) -> None:
    """The question stays, is told by show, and the next node sees to it."""
    write(path, STUCK)

    with locked(path):
        done = choreo("resume", "stuck", "--journal", path, "--timeout", "0.2")
    shown = choreo("show", "stuck", "--journal", path)
    with node(path) as running:
        running.ask(ask("other", "a"))
        state = json.loads(running.ask({"type": "status", "saga_id": "stuck"}))["state"]

    assert done.exit_code == 1
    assert "The node has not seen to it in time." in done.stdout
    assert "an operator has asked to resume it, and a node will see to it" in shown.stdout
    assert state == "compensated"


def test_whoever_asked_takes_over_from_a_node_that_dies(path: str, signs: Path) -> None:
    """It is killed by the very compensation that it was asked for."""
    with node(path) as running:
        running.ask(ask("s", "a", "b", "c", fail_step="c", fail_compensation="b"))
        (signs / "deadly-compensate").touch()

        done = choreo("resume", "s", "--journal", path, *SERVICES)

        running.process.wait(60)
    assert running.process.returncode == -signal.SIGKILL
    assert done.exit_code == 0
    assert "this command had it go on" in done.stdout
    assert (state_of(path, "s"), holds(path)) == ("compensated", True)
    assert rows(path, "SELECT count(*) FROM resumptions WHERE done_ms IS NULL") == [(0,)]


def test_services_that_are_not_there_leave_the_saga_as_it_is(path: str) -> None:
    """Wrong use; and the journal is free again."""
    write(path, STUCK)

    done = choreo("resume", "stuck", "--journal", path, "--services", "no_such_module")

    assert done.exit_code == 2
    assert "expected a module that can be imported, got 'no_such_module'" in prose(done.output)
    assert state_of(path, "stuck") == "stuck"
    Lock(path).release()


def test_a_stuck_run_that_cannot_be_replayed_stays_stuck(path: str, signs: Path) -> None:
    """The reason is reported, and no row is written."""
    change(write(path, STUCK), "UPDATE deliveries SET seat = 9 WHERE number = 2")

    done = choreo("resume", "stuck", "--journal", path, *SERVICES)

    assert done.exit_code == 1
    assert "It cannot go on:" in done.stdout
    assert state_of(path, "stuck") == "stuck"


# --- prune ------------------------------------------------------------------------------------------------------------


def old_and_new(path: str) -> str:
    """Two old runs that ended, one that is stuck and one that is under way; and two new ones."""
    write(path, COMPLETED, COMPENSATED, STUCK, at_ms=now_ms() - 40 * DAY)
    write_cut(path, Request("cut", TRIP), 2, at_ms=now_ms() - 40 * DAY)
    return write(path, replace(COMPLETED, saga_id="new"), replace(COMPLETED, saga_id="newest"))


def sagas_in(path: str) -> list[str]:
    return [json.loads(name) for (name,) in rows(path, "SELECT saga_id FROM runs ORDER BY run")]


def test_what_ended_long_ago_is_forgotten_and_nothing_else(path: str) -> None:
    """Their deliveries are deleted too; stuck and unfinished runs are counted and kept."""
    old_and_new(path)

    counted = choreo("prune", "--journal", path, "--older-than", "30d", "--dry-run")
    before = sagas_in(path)
    done = choreo("prune", "--journal", path, "--older-than", "30d")

    assert counted.stdout.splitlines() == [
        "2 runs would be forgotten that ended more than 30d ago",
        "  kept: 2 runs that were begun before that and are unfinished or stuck",
    ]
    assert before == ["done", "undone", "stuck", "cut", "new", "newest"]
    assert done.stdout.splitlines()[0] == "2 runs forgotten that ended more than 30d ago"
    assert sagas_in(path) == ["stuck", "cut", "new", "newest"]
    assert rows(path, "SELECT DISTINCT run FROM deliveries ORDER BY run") == [(3,), (4,), (5,), (6,)]
    assert holds(path)


def test_the_newest_run_stays(path: str) -> None:
    """However old: it holds the place for the next number."""
    write(path, COMPLETED, COMPENSATED, at_ms=now_ms() - 40 * DAY)

    told = json.loads(choreo("prune", "--journal", path, "--older-than", "30d", "--json").stdout)

    assert told == {"pruned": 1, "kept": 0, "dry_run": False, "stopped": False}
    assert sagas_in(path) == ["undone"]


def test_a_clock_that_was_set_back_forgets_nothing(path: str) -> None:
    """A run that ended in the future is not old."""
    write(path, COMPLETED, COMPENSATED, at_ms=now_ms() + DAY)

    assert choreo("prune", "--journal", path, "--older-than", "0s").stdout.startswith("0 runs forgotten")


def test_a_prune_may_be_stopped_and_begun_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two batches: deleted runs stay deleted, and the next prune deletes the rest."""
    write(path, *(replace(COMPLETED, saga_id=n) for n in range(10)), at_ms=now_ms() - DAY)
    monkeypatch.setattr(prune_command, "BATCH", 4)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(prune_command.time, "sleep", ctrl_c)
        stopped = choreo("prune", "--journal", path, "--older-than", "1h")
    left = sagas_in(path)
    done = choreo("prune", "--journal", path, "--older-than", "1h")

    assert stopped.exit_code == 1
    assert stopped.stdout.splitlines()[0] == "4 runs forgotten that ended more than 1h ago"
    assert "stopped: what is left goes with the next prune" in stopped.stdout
    assert left == [4, 5, 6, 7, 8, 9]
    assert done.stdout.startswith("5 runs forgotten")
    assert sagas_in(path) == [9]


def ctrl_c(seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_node_serves_while_its_journal_is_pruned(path: str, signs: Path) -> None:
    """A pruned saga is executed again when it is requested again; all else is unchanged."""
    with node(path) as running:
        for number in range(300):
            running.send(json.dumps(ask(f"s{number}", "a")).encode() + b"\n")
        replies = [running.receive() for _ in range(300)]

        done = choreo("prune", "--journal", path, "--older-than", "0s")

        assert len(replies) == 300
        assert done.stdout.startswith("299 runs forgotten")
        assert json.loads(running.ask({"type": "status", "saga_id": "s0"}))["code"] == 20
        assert json.loads(running.ask(ask("s0", "a")))["state"] == "completed"
        assert json.loads(running.ask({"type": "status", "saga_id": "s299"}))["state"] == "completed"
        assert running.finish() == []
    assert rows(path, "SELECT run FROM runs ORDER BY run") == [(300,), (301,)]
    assert holds(path)


# --- whatever the file is ---------------------------------------------------------------------------------------------

LOOKING = (["sagas"], ["show", "stuck"], ["check"], ["prune", "--older-than", "1d", "--dry-run"])
WRITING = (["resume", "stuck", *SERVICES], ["prune", "--older-than", "1d"])


def no_file(path: str) -> str:
    return "there is no such file"


def a_directory(path: str) -> str:
    Path(path).mkdir()
    return "it is a directory"


def an_empty_file(path: str) -> str:
    Path(path).touch()
    return "it is empty"


def a_text(path: str) -> str:
    Path(path).write_text("Dear diary, " * 1000)
    return "it is something else"


def a_database_of_another_program(path: str) -> str:
    sqlite3.connect(path).executescript("CREATE TABLE diary (day, entry)").connection.close()
    return "a SQLite file of some other program"


def a_newer_one(path: str) -> str:
    change(write(path, STUCK), f"PRAGMA user_version = {VERSION + 1}")
    return "a newer choreo has written it"


def an_older_one(path: str) -> str:
    change(write(path, STUCK), f"PRAGMA user_version = {VERSION - 1}")
    return "a node brings it forward when it opens it"


def a_damaged_one(path: str) -> str:
    write(path, *(replace(COMPLETED, saga_id=n) for n in range(100)), STUCK)
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    return "it is damaged"


def a_cut_one(path: str) -> str:
    write(path, *(replace(COMPLETED, saga_id=n) for n in range(100)), STUCK)
    os.truncate(path, 5000)
    return "it is damaged"


BAD = (no_file, a_directory, an_empty_file, a_text, a_database_of_another_program, a_newer_one, an_older_one)
BROKEN = (a_damaged_one, a_cut_one)


@pytest.mark.parametrize("command", [*LOOKING, *WRITING], ids=" ".join)
@pytest.mark.parametrize("bad", [*BAD, *BROKEN])
def test_whatever_is_wrong_with_the_file_is_told(path: str, bad: Any, command: list[str]) -> None:
    """In a sentence, with exit status 2, or as a finding of `check`; and the file is as it was."""
    expected = bad(path)
    before = Path(path).read_bytes() if Path(path).is_file() else None

    done = choreo(*command, "--journal", path)

    is_finding = bad in BROKEN and command == ["check"]
    assert done.exit_code == (1 if is_finding else 2), done.output
    assert ("the file is damaged" if is_finding else "Invalid value for --journal: expected ") in prose(done.output)
    assert expected in prose(done.output)
    assert "Traceback" not in done.output
    assert (Path(path).read_bytes() if Path(path).is_file() else None) == before


@pytest.mark.parametrize("command", [*LOOKING, *WRITING], ids=" ".join)
def test_a_journal_that_another_program_has_locked_is_told(
    path: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, which is short here."""
    write(path, STUCK)
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    greedy = sqlite3.connect(path, isolation_level=None)
    greedy.execute("PRAGMA locking_mode = EXCLUSIVE")
    greedy.execute("BEGIN EXCLUSIVE")

    done = choreo(*command, "--journal", path)

    greedy.close()
    assert done.exit_code == (1 if command[0] in ("prune", "resume") else 2)
    assert "another program has it locked" in prose(done.output)


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Run as a user who may read the folder and its files, and may not write."""
    for file in (folder, *folder.iterdir()):
        file.chmod(0o555 if file.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        for parent in folder.parents:
            if parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for file in (folder, *folder.iterdir()):
            file.chmod(0o755 if file.is_dir() else 0o644)


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_journal_that_is_read_only_is_told(path: str, tmp_path: Path, command: list[str]) -> None:
    """By the commands that write; the journal is unchanged."""
    write(path, replace(COMPLETED, saga_id="old"), STUCK, COMPLETED, at_ms=now_ms() - 40 * DAY)
    before = Path(path).read_bytes()

    with without_rights(tmp_path):
        done = choreo(*command, "--journal", path)

    assert done.exit_code == 2
    assert re.search("read-only|cannot be opened", prose(done.output))
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_a_journal_that_is_read_only_can_be_looked_at(path: str, tmp_path: Path, command: list[str]) -> None:
    """A copy in an archive, say."""
    write(path, *EVERY_KIND)

    with without_rights(tmp_path):
        done = choreo(*command, "--journal", path)

    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", ["sagas", "show", "resume", "prune", "check"])
def test_help_has_examples_and_the_exit_statuses(command: str) -> None:
    """This holds for every command of the journal."""
    done = choreo(command, "--help")

    assert done.exit_code == 0
    assert f"choreo {command} " in done.stdout
    assert "--journal" in done.stdout
    assert "Exit status" in done.stdout

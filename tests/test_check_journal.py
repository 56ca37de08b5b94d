"""`choreo check --journal`: a journal written by a node passes, and every other content is reported."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.conformance import CheckReport
from choreo.conformance import journal as checking_journal
from choreo.conformance.journal import check_runs
from choreo.conformance.journal_records import replayer_of, run_history
from choreo.conformance.journal_rows import TITLES
from choreo.saga.keys import read_key
from choreo.saga.plan import Itinerary
from choreo.saga.request import Request
from choreo.saga.service import Refused
from choreo.storage.sqlite.journal import Journal
from choreo.trace.record import Record, encode_record
from tests.journals import (
    COMPENSATED,
    COMPLETED,
    EVERY_KIND,
    ORCHESTRATED,
    STUCK,
    STUCK_TOO,
    TRIP,
    Desk,
    change,
    resume,
    rows,
    runner_on,
    state_of,
    write,
    write_cut,
)
from tests.stories import ROOT, Mishap, sagas
from tests.terminal import choreo, prose

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return "sagas.db"


def judged(path: str, **options: Any) -> CheckReport:
    journal = Journal.open_to_read(path)
    try:
        return check_runs(journal, **options)
    finally:
        journal.close()


def codes(verdict: CheckReport) -> list[str]:
    return list(dict.fromkeys(violation.code for violation in verdict.violations))


def records_in(path: str) -> dict[str, list[Record]]:
    """Return the records of every run of a journal."""
    journal = Journal.open_to_read(path)
    told = {}
    for row in journal.runs():
        replayer = replayer_of(row.request.style, row.request.steps)
        told[f"run-{row.number}"] = run_history(row, journal.deliveries(row.number), replayer).records
    journal.close()
    return told


# --- what is told -----------------------------------------------------------------------------------------------------


def test_the_rows_tell_what_the_trace_tells(path: str) -> None:
    """The same events with their causes and reasons, and the same effects; no delivery that the trace does not have."""
    requests = b"".join(execute_line(number, each) for number, each in enumerate(EVERY_KIND))
    command = [sys.executable, "main.py", "--journal", str(Path(path).absolute()), "--trace", "--trace-level", "debug"]

    node = subprocess.run(command, input=requests, capture_output=True, cwd=ROOT, check=True)

    traced = [json.loads(line) for line in node.stderr.splitlines()]
    told = [json.loads(encode_record(record)) for records in records_in(path).values() for record in records]
    for action in ("publish", "execute", "compensate"):
        assert essences(told, action) == essences(traced, action)
    assert essences(told, "deliver") <= essences(traced, "deliver")
    assert [r["in_reply_to"] for r in told if r["action"] == "reply"] == list(range(len(EVERY_KIND)))


def execute_line(number: int, request: Request) -> bytes:
    fields = ("saga_id", "steps", "fail_step", "fail_compensation", "style")
    body = {"type": "execute", "msg_id": number} | {name: getattr(request, name) for name in fields}
    return json.dumps(body).encode() + b"\n"


def essences(records: Iterable[dict[str, Any]], action: str) -> Counter[tuple[Any, ...]]:
    """Count records without their times. Of calls, only those with an effect: replay calls no service."""
    names = ("event", "saga_id", "run", "source", "step", "position", "id", "causation_id", "reason")
    is_call = action in ("execute", "compensate")
    chosen = (r for r in records if r["action"] == action and not (is_call and "reason" in r))
    return Counter(tuple(record.get(name) for name in names) for record in chosen)


# --- what a node writes holds -----------------------------------------------------------------------------------------


@given(saga=sagas(), style=st.sampled_from(sorted(STYLES)))
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
def test_whatever_a_runner_writes_holds(saga: tuple[Itinerary, Mishap], style: str) -> None:
    """Any itinerary, any names, any mishap, in both styles; and once more after an operator has had it go on."""
    steps, mishap = saga
    with TemporaryDirectory() as directory:
        path = write(
            str(Path(directory, "sagas.db")),
            Request("s", steps, mishap.fail_step, mishap.fail_compensation, style),
            service=Moody(mishap.refusing, mishap.stubborn),
        )
        before = judged(path)
        if "stuck" in before.outcomes:
            resume(path, "s", Moody(stubborn=mishap.stubborn))
            resume_if_stuck(path, "s")
        after = judged(path, is_at_rest=True)

    assert (before.violations, before.due) == ((), ())
    assert (after.violations, after.due) == ((), ())
    assert set(after.outcomes) <= {"completed", "compensated"}


class Moody(Desk):
    """Refuses at certain positions."""

    def __init__(self, refusing: Collection[int] = (), stubborn: Collection[int] = ()) -> None:
        super().__init__()
        self.refusing, self.stubborn = refusing, stubborn

    def execute(self, reference: str) -> tuple[str, str]:
        if read_key(reference).position in self.refusing:
            raise Refused("sold out")
        return super().execute(reference)

    def compensate(self, reference: str, receipt: object) -> None:
        if read_key(reference).position in self.stubborn:
            raise ZeroDivisionError
        super().compensate(reference, receipt)


def resume_if_stuck(path: str, saga_id: str) -> None:
    if state_of(path, saga_id) == "stuck":
        resume(path, saga_id, Moody())


@both_styles
def test_a_run_that_is_under_way_is_no_violation_until_it_is_said_to_be_at_rest(path: str, style: str) -> None:
    """Cut off at any point: no event is missing; at rest the outcome is missing, and pending events are listed."""
    for commits in range(1, 6):
        file = f"{path}{commits}"
        write_cut(file, Request("cut", ("a", ("b", "c"), "d"), "d", None, style), commits)

        merely, at_rest = judged(file), judged(file, is_at_rest=True)

        assert (merely.violations, merely.due, merely.outcomes) == ((), (), {"none": 1})
        assert set(codes(at_rest)) <= {"S1", "L1", "L2"}
        assert "L1" in codes(at_rest)
        assert at_rest.due[0].expected[-2:] == ("its outcome", "the reply to its client")


def test_what_is_due_to_nobody_is_at_rest(path: str) -> None:
    """A run without an outcome and without pending deliveries never ends."""
    write(path, Request("s", ("a", "b")))
    change(path, "UPDATE runs SET state = 'running', ended_ms = NULL, outcome = NULL")

    assert {"J4", "L4"} <= set(codes(judged(path)))


def test_a_stuck_run_that_was_resumed_twice_has_three_outcomes_and_breaks_nothing(path: str) -> None:
    """Each of them behind an operator's word."""
    write(path, Request("s", TRIP, "book_car", "book_hotel"))
    resume(path, "s", Desk(is_closed=True))
    resume(path, "s")

    verdict = judged(path)

    said = [(record.action, record.event) for record in records_in(path)["run-1"] if record.event.startswith("saga.")]
    assert [event for action, event in said if action in ("publish", "resume", "reply")] == [
        *("saga.started", "saga.stuck", "saga.stuck", "saga.resumed"),
        *("saga.stuck", "saga.resumed", "saga.compensated"),
    ]
    assert (verdict.violations, verdict.outcomes) == ((), {"compensated": 1})


# --- whatever else stands there is found ------------------------------------------------------------------------------

LAST = "(SELECT max(number) FROM deliveries WHERE run = 1)"
SAYS_AGAIN = (
    "INSERT INTO deliveries SELECT run, {last} + 1, at_ms, seat, heard, published, detail, receipt FROM deliveries "
    "WHERE run = 1 AND published = '{published}'"
)
RESUMED = f"INSERT INTO deliveries VALUES (1, {LAST} + 1, 0, -1, 'resumed', '', NULL, NULL)"

PLANTED = [
    ("J1", COMPLETED, "DELETE FROM deliveries WHERE number = 2"),
    ("J1", COMPLETED, "UPDATE deliveries SET number = 99 WHERE number = 4"),
    ("J2", COMPLETED, SAYS_AGAIN.format(last=LAST, published="succeeded:1")),
    ("J3", COMPLETED, "UPDATE deliveries SET heard = 'succeeded:2' WHERE number = 2"),
    ("J3", COMPLETED, "UPDATE deliveries SET seat = 17 WHERE number = 2"),
    ("J3", COMPLETED, "UPDATE deliveries SET published = 'nonsense:9' WHERE number = 2"),
    ("J3", COMPENSATED, "UPDATE deliveries SET published = 'compensation_failed:1' WHERE published = 'compensated:1'"),
    ("J4", COMPLETED, "UPDATE runs SET state = 'stuck'"),
    ("J4", COMPLETED, "UPDATE runs SET state = 'lost'"),
    ("J4", COMPLETED, "UPDATE runs SET ended_ms = NULL"),
    ("J4", COMPLETED, 'UPDATE runs SET outcome = \'{"state": "completed", "completed_steps": 2}\''),
    ("J4", COMPENSATED, "UPDATE runs SET outcome = replace(outcome, 'told to refuse', 'bored')"),
    ("J4", COMPLETED, "UPDATE runs SET resolution = outcome"),
    ("J4", COMPLETED, f"DELETE FROM deliveries WHERE number = {LAST}"),
    ("J5", COMPLETED, "UPDATE runs SET steps = 'no JSON'"),
    ("J5", COMPLETED, "UPDATE runs SET steps = '[[[\"a\"]]]'"),
    ("J5", COMPLETED, "UPDATE runs SET style = 'ballet'"),
    ("J5", COMPLETED, "UPDATE runs SET saga_id = 'no JSON'"),
    ("J5", COMPLETED, "UPDATE runs SET begun_ms = 'yesterday'"),
    ("J5", COMPLETED, 'UPDATE runs SET outcome = \'{"state": "merry"}\''),
    ("J5", COMPENSATED, "UPDATE deliveries SET detail = 'no JSON' WHERE detail IS NOT NULL"),
    ("J5", COMPLETED, "UPDATE deliveries SET receipt = 'no JSON' WHERE number = 1"),
    ("J6", COMPLETED, "DELETE FROM runs"),
    ("S1", COMPENSATED, "UPDATE deliveries SET published = '' WHERE published = 'compensated:1'"),
    ("S2", COMPLETED, SAYS_AGAIN.format(last=LAST, published="succeeded:0")),
    ("S3", COMPENSATED, "UPDATE deliveries SET published = 'succeeded:3' WHERE published = 'failed:3'"),
    ("S4", COMPENSATED, SAYS_AGAIN.format(last=LAST, published="succeeded:0")),
    ("S7", COMPENSATED, SAYS_AGAIN.format(last=LAST, published="compensated")),
    ("S7", COMPLETED, RESUMED),
    ("S8", COMPENSATED, 'UPDATE runs SET outcome = \'{"state": "completed", "completed_steps": 4}\''),
    ("S9", COMPLETED, "UPDATE deliveries SET heard = 'succeeded:1' WHERE number = 2"),
    ("L1", COMPLETED, "UPDATE deliveries SET published = '' WHERE published = 'completed'"),
    ("L2", STUCK, "UPDATE deliveries SET published = 'compensated' WHERE published = 'stuck'"),
    ("L4", COMPLETED, "UPDATE runs SET outcome = NULL"),
]


@pytest.mark.parametrize(("code", "request_", "statement"), PLANTED, ids=lambda value: str(value)[:50])
def test_a_row_changed_by_hand_is_found(path: str, code: str, request_: Request, statement: str) -> None:
    """By the statement that it breaks, beside others that it may break as well."""
    assert code in codes(judged(change(write(path, request_), statement)))


def test_every_statement_about_rows_has_a_bug_of_its_own() -> None:
    """J1 to J6."""
    assert {code for code, _, _ in PLANTED if code.startswith("J")} == set(TITLES)


@pytest.mark.parametrize("request_", [COMPLETED, COMPENSATED, STUCK, ORCHESTRATED, STUCK_TOO], ids=lambda r: r.saga_id)
def test_no_row_can_be_dropped_or_say_nothing_unnoticed(path: str, request_: Request) -> None:
    """Each row in turn, except the last ones without effect, which a node may have had no time to write."""
    write(path, request_)
    deliveries = rows(path, "SELECT number, published FROM deliveries ORDER BY number")
    last = max(number for number, published in deliveries if published)
    for number, published in deliveries:
        for statement in (
            f"DELETE FROM deliveries WHERE number = {number}",
            f"UPDATE deliveries SET published = '' WHERE number = {number}",
        ):
            file = f"{path}-changed"
            Path(file).write_bytes(Path(path).read_bytes())
            verdict = judged(change(file, statement))
            is_the_same = not published and statement.startswith("UPDATE")
            is_lost_at_the_end = number > last and number == len(deliveries)
            assert verdict.holds == (is_the_same or is_lost_at_the_end), (number, statement)


# --- of a whole journal -----------------------------------------------------------------------------------------------


def many(path: str, count: int) -> str:
    """The same few kinds of runs over and over."""
    kinds = (COMPLETED, COMPENSATED, STUCK, ORCHESTRATED, STUCK_TOO)
    return write(path, *(replace(kinds[number % len(kinds)], saga_id=number) for number in range(count)))


def test_the_one_run_that_violates_one_is_found_among_many_that_are_alike(path: str) -> None:
    """Equal runs are checked once, and the run that violates one does not count as equal to them."""
    change(many(path, 200), "UPDATE deliveries SET published = 'compensated:0' WHERE run = 126 AND number = 1")

    verdict = judged(path)

    assert {violation.run for violation in verdict.violations} == {"run-126"}
    assert (verdict.runs, verdict.violated_runs) == (200, 1)
    assert sum(verdict.outcomes.values()) == 200


def test_that_runs_are_alike_changes_no_verdict(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each judged on its own comes to the same."""
    change(many(path, 60), "UPDATE runs SET state = 'completed' WHERE run % 7 = 0")
    at_once = judged(path)

    monkeypatch.setattr(checking_journal, "ALIKE_DELIVERIES_MAX", -1)

    assert judged(path) == at_once
    assert not at_once.holds


def test_of_very_many_violations_so_many_are_listed_and_the_rest_counted(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the number of violations."""
    change(many(path, 60), "UPDATE runs SET ended_ms = NULL")
    monkeypatch.setattr(checking_journal, "LISTED_MAX", 25)

    verdict = judged(path)

    assert (len(verdict.violations), verdict.unlisted, verdict.violated_runs) == (25, 35, 60)
    assert not verdict.holds


def test_progress_is_told_batch_by_batch(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is the number of runs checked so far."""
    many(path, 10)
    monkeypatch.setattr(checking_journal, "BATCH", 4)
    told: list[int] = []

    judged(path, progress=told.append)

    assert told == [4, 8, 10]


def test_a_run_and_its_deliveries_are_read_as_of_one_moment(path: str) -> None:
    """A node that writes in between, at every single run, makes no run look half written."""
    with runner_on(path, Desk()) as runner:
        for number in range(8):
            runner.begin(Request(number, TRIP))
        runner.commit()
        journal = Journal.open_to_read(path)
        deliveries = journal.deliveries

        def deliveries_while_the_node_goes_on(run: int) -> list[Any]:
            runner.run_until_idle()
            if run <= 8:
                runner.begin(Request(f"{run} more", TRIP))
            return deliveries(run)

        journal.deliveries = deliveries_while_the_node_goes_on  # type: ignore[method-assign]  # it is planted

        verdict = check_runs(journal)

    journal.close()
    assert (verdict.runs, verdict.violations) == (16, ())


def test_nothing_is_imported_that_a_cell_names(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By any command that looks: a receipt and the records of services may name anybody's code."""
    (tmp_path / "planted_code.py").write_text("class Thing: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    value = '{"$object":"planted_code:Thing","fields":{}}'
    write(path, COMPLETED, STUCK)
    change(path, f"UPDATE deliveries SET receipt = '{value}'", f"UPDATE services SET records = '{value}', name = '*'")

    for command in (["check"], ["sagas"], ["show", "stuck"], ["prune", "--older-than", "1d"]):
        assert choreo(*command, "--journal", path).exit_code == 0, command
    assert "planted_code" not in sys.modules


# --- the command ------------------------------------------------------------------------------------------------------


def test_what_holds_is_said_in_three_lines(path: str) -> None:
    """The three lines are about the runs, the rows, and the file."""
    write(path, *EVERY_KIND)

    done = choreo("check", "--journal", path)

    assert done.exit_code == 0
    assert done.stdout == (
        "sagas.db: a journal, 7 runs: 3 completed, 2 compensated and 2 stuck\n"
        "S1-S12 and L1-L5 hold, and so do J1-J6 of the rows\n"
        "  the file is sound\n"
    )


def test_what_violates_one_is_told_run_by_run_with_its_delivery(path: str) -> None:
    """The first of them, then each run, and how many there are; the exit status is 1."""
    write(path, COMPLETED, COMPENSATED)
    change(path, "UPDATE deliveries SET published = 'failed:2' WHERE run = 1 AND published = 'succeeded:2'")

    done = choreo("check", "--journal", path, width=100)

    assert done.exit_code == 1
    assert "first violation: delivery 4, saga done, run-1" in done.stdout
    assert "J3 one follows from another" in done.stdout
    assert "4 violations in 1 of 2 runs: J3, S9, S1, S8" in done.stdout


def test_a_run_that_is_under_way_is_mentioned(path: str) -> None:
    """A running run is no violation. With --at-rest its missing outcome is one, and its pending events are listed."""
    write_cut(path, COMPLETED, 2)

    merely, at_rest = choreo("check", "--journal", path), choreo("check", "--journal", path, "--at-rest")

    assert (merely.exit_code, at_rest.exit_code) == (0, 1)
    assert "1 under way" in prose(merely.stdout)
    assert "1 run is under way: an outcome is expected of it with --at-rest only" in prose(merely.stdout)
    assert "never came: the success or the failure of book_hotel" in prose(at_rest.stdout)


def test_a_damaged_index_is_a_finding(path: str) -> None:
    """The rows can be read, and the file is not sound."""
    write(path, COMPLETED, STUCK)
    ((page,), (size,)) = (
        rows(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'runs_of_saga'"),
        rows(path, "PRAGMA page_size"),
    )
    data = Path(path).read_bytes()
    begin = (page[0] - 1) * size[0]
    index = data[begin : begin + size[0]].replace(b'"done"', b'"dome"')
    Path(path).write_bytes(data[:begin] + index + data[begin + size[0] :])

    done = choreo("check", "--journal", path)

    assert done.exit_code == 1
    assert "the file is damaged: row 1 missing from index runs_of_saga" in prose(done.stdout)


def test_programs_get_the_same_as_json(path: str) -> None:
    """One object: the counts, the violations, the pending events, and the damage."""
    write(path, COMPLETED, COMPENSATED)
    change(path, "UPDATE runs SET state = 'stuck' WHERE run = 2")

    done = choreo("check", "--journal", path, "--json")

    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["runs"], told["outcomes"], told["holds"]) == (2, {"completed": 1, "compensated": 1}, False)
    assert told["first"] == told["deviations"][0]
    assert (told["first"]["code"], told["first"]["run"], told["first"]["saga_id"]) == ("J4", "run-2", "undone")
    assert (told["deviating"], told["unlisted"], told["due"], told["damage"]) == (1, 0, [], [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected a trace, or --journal FILE, got neither"),
        (["trace.jsonl", "--journal", "sagas.db"], "expected it without --journal, got 'trace.jsonl'"),
        (["--journal", "sagas.db", "--definition", "lesson-1"], "expected it without --journal, got 'lesson-1'"),
        (["--journal", "sagas.db", "--mapping", "m.toml"], "expected it without --journal, got 'm.toml'"),
        (["--journal", "sagas.db", "--format", "cloudevents"], "expected it without --journal, got 'cloudevents'"),
        (["trace.jsonl", "--at-rest"], "expected it with --journal"),
    ],
)
def test_a_trace_and_a_journal_exclude_each_other(arguments: list[str], expected: str) -> None:
    """Options of the one are refused with the other."""
    done = choreo("check", *arguments)

    assert done.exit_code == 2
    assert expected in prose(done.output)

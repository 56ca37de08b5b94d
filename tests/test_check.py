"""`choreo check`: traces of the real node and of the lab, CloudEvents, other logs with a mapping, tampered traces."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from msgspec.structs import replace

from choreo.api import open_services
from choreo.compile import STYLES
from choreo.conformance import CheckReport, Form, NotOfThisSaga, check, read_mapping, read_trace
from choreo.conformance.foreign_words import Meaning, event_of_type
from choreo.conformance.mapping import WrongMapping, at
from choreo.lab.model.world import World
from choreo.lab.simulate.campaign import Lab
from choreo.lab.simulate.simulator import Simulation
from choreo.lessons import lesson, lessons
from choreo.saga.definition import FaultKind, Faults
from choreo.trace.record import NotATrace, encode_record
from services import sagas
from tests.stories import ROOT
from tests.terminal import choreo, lines, prose

Lines = list[dict[str, Any]]

MIXED: Lines = [
    {"saga_id": "done", "steps": ["a", "b"]},
    {"saga_id": "undone", "steps": ["a", ["b", "c"], "d"], "fail_step": "d"},
    {"saga_id": "halfway", "steps": ["a", ["b", "c"], "d"], "fail_step": "b"},
    {"saga_id": "stuck", "steps": ["a", "b", "c"], "fail_step": "c", "fail_compensation": "b"},
    {"saga_id": "nothing", "steps": []},
    {"saga_id": "done", "steps": ["a", "b"]},
    {"saga_id": 7, "steps": ["x", "x", ["x", "y"]], "fail_step": "y"},
]


def node(requests: Iterable[dict[str, Any]], *options: str) -> Lines:
    """Return the trace that the real node writes for these sagas."""
    data = b"".join(json.dumps({"type": "execute", **request}).encode() + b"\n" for request in requests)
    command = [sys.executable, str(ROOT / "main.py"), "--trace", *options]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.fixture(scope="module", params=[(level, style) for level in ("info", "debug") for style in STYLES], ids=str)
def traced(request: pytest.FixtureRequest) -> Lines:
    level, style = request.param
    return node([saga | {"style": style} for saga in MIXED], "--trace-level", level)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(told: Lines | str, name: str = "trace.jsonl") -> str:
        file = tmp_path / name
        file.write_text(told if isinstance(told, str) else text_of(told))
        return str(file)

    return write


def text_of(told: Lines) -> str:
    return "".join(json.dumps(line) + "\n" for line in told)


def judged(told: Lines, **more: Any) -> CheckReport:
    return check(read_trace(text_of(told).encode().splitlines(keepends=True), "t"), **more)


def codes(verdict: CheckReport) -> list[str]:
    return list(dict.fromkeys(violation.code for violation in verdict.violations))


# --- the node ---------------------------------------------------------------------------------------------------------


def test_the_node_breaks_nothing(traced: Lines, write: Callable[..., str]) -> None:
    """In both styles and at both levels: parallel, stuck, without steps, one name twice, one saga executed twice."""
    done = choreo("check", write(traced), "--json")

    told = json.loads(done.stdout)
    assert (done.exit_code, told["holds"], told["deviations"], told["due"]) == (0, True, [], [])
    assert told["outcomes"] == {"completed": 3, "compensated": 3, "stuck": 1}
    assert (told["missing"], told["disorder"], told["ignored"]) == (0, [], {})


@pytest.mark.slow
@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_thousand_sagas_of_the_node_break_nothing_within_seconds(level: str) -> None:
    """Every shape and every failure in turn, both styles; the time grows with the trace, not with the runs in it."""
    shapes = [["a"], ["a", "b", "c"], [["a", "b"], "c"], ["a", ["b", "c"], "d"], [["a", "b"], ["c", "d"]]]
    requests: Lines = []
    for number in range(1_200):
        shape: list[Any] = shapes[number % len(shapes)]
        names = [name for group in shape for name in ([group] if isinstance(group, str) else group)]
        fail = [None, *names][number // 5 % (len(names) + 1)]
        stubborn = names[0] if number % 7 == 0 else None
        style = tuple(STYLES)[number % 2]
        requests.append(
            {"saga_id": number, "steps": shape, "fail_step": fail, "fail_compensation": stubborn, "style": style}
        )
    told = node(requests, "--trace-level", level)

    began = perf_counter()
    verdict = judged(told)

    assert verdict.violations == ()
    assert verdict.runs == 1_200
    assert set(verdict.outcomes) == {"completed", "compensated", "stuck"}
    assert perf_counter() - began < 10


@pytest.mark.slow
def test_a_very_long_run_is_checked_within_seconds() -> None:
    """Two thousand steps forward and back: no per-event copy grows with their number."""
    names = [f"s{number}" for number in range(2_000)]

    verdict = judged(node([{"saga_id": "long", "steps": names, "fail_step": names[-1]}], "--trace-level", "debug"))

    assert verdict.violations == ()


def test_a_trace_that_two_processes_wrote_one_after_the_other_has_two_runs_of_one_name() -> None:
    """The numbers begin again, and so do the names of the runs."""
    told = node(MIXED[:2])

    verdict = judged(told + told)

    assert verdict.violations == ()
    assert verdict.runs == 4


# --- the lab ----------------------------------------------------------------------------------------------------------


def simulated(definition: Any, style: str) -> Lines:
    simulation = Simulation(World(definition, style, open_services("services"))).run()
    return [json.loads(encode_record(record)) for record in simulation.records()]


@pytest.mark.parametrize("style", STYLES)
def test_the_lab_breaks_nothing_with_its_definition_and_without(style: str) -> None:
    """Resources, a pivot and a retriable step among them."""
    told = simulated(sagas.order, style)

    assert judged(told, definition=sagas.order).violations == ()
    assert judged(told).violations == ()


@pytest.mark.parametrize("style", STYLES)
def test_a_trace_with_faults_is_judged_as_in_the_lab(style: str) -> None:
    """With the definition, the checker finds the lab's first violation; without it, a correct history stays correct."""
    found = 0
    for each in lessons():
        for definition in (each.broken, each.mended):
            faulty = replace(definition, faults=Faults(tuple(FaultKind), budget=3))
            lab = Lab(faulty, style, open_services("services"), dict.fromkeys(FaultKind, 0.05))
            for seed in range(4):
                history = lab.play(seed)
                told = [json.loads(encode_record(record)) for record in history.records]
                expected = history.violations[0].code if history.violations else None
                found += expected is not None
                verdict = judged(told, definition=definition)
                assert (expected in codes(verdict)) if expected else verdict.holds
                assert expected or judged(told).holds
    assert found


def test_a_definition_brings_the_minimum() -> None:
    """The checker knows from the definition that credit must not be negative."""
    definition = lesson(14).broken
    told = simulated(definition, "choreography")
    for record in told:
        if record["action"] == "write":
            record |= {"value": record["value"] - 1000}

    assert "S10" in codes(judged(told, definition=definition))
    assert "below its minimum" not in str(judged(told).violations)


def test_a_definition_brings_the_pivot() -> None:
    """Lesson 3 undoes the steps before the pivot after the pivot has committed."""
    told = simulated(lesson(3).broken, "choreography")

    assert "S6" in codes(judged(told, definition=lesson(3).broken))
    assert "S6" not in codes(judged(told))


def test_a_definition_says_which_step_is_missing(write: Callable[..., str]) -> None:
    """Without the plan, a run that ends before notify looks complete."""
    told = [record for record in simulated(sagas.order, "choreography") if record.get("step") != "notify"]
    told = [r | ({"causation_id": "run-1/step/ship/succeeded"} if r["event"] == "saga.completed" else {}) for r in told]

    assert "S1" in codes(judged(told, definition=sagas.order))
    done = choreo("check", write(told), "--definition", "services.sagas:order")
    assert done.exit_code == 1
    assert "notify took effect never" in done.stdout


def test_a_step_that_is_not_defined_is_wrong_use(write: Callable[..., str]) -> None:
    """With the line, the steps that there are, and the likely one."""
    told = node([{"saga_id": "s", "steps": ["place_order", "chargé"]}])

    with pytest.raises(NotOfThisSaga, match=r"t:3: expected a step of order \(.*\), got 'chargé'; did you mean"):
        judged(told, definition=sagas.order)
    done = choreo("check", write(told), "--definition", "services.sagas:order")
    assert done.exit_code == 2


# --- tampered ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_can_be_dropped_doubled_or_swapped_unnoticed(traced: Lines) -> None:
    """Every line in turn: an invariant is broken, or the trace is called damaged."""
    for index in range(len(traced)):
        before, line, after = traced[:index], traced[index], traced[index + 1 :]
        for what in ([*before, *after], [*before, line, line, *after], [*before, *after[:1], line, *after[1:]]):
            if what == traced:
                continue  # there is nothing behind the last line to swap it with
            told = read_trace(text_of(what).encode().splitlines(), "t")
            verdict = check(told)
            assert verdict.violations or told.missing or told.disorder, (index, line)


CHAIN: Lines = [{"saga_id": "s", "steps": ["a", "b", "c"], "fail_step": "c"}]


@pytest.mark.parametrize(
    ("event", "step", "changed", "code"),
    [
        ("saga.started", None, None, "S9"),
        ("step.succeeded", "b", None, "S9"),
        ("step.failed", "c", None, "S3"),
        ("step.compensated", "b", None, "S1"),
        ("saga.compensated", None, None, "L1"),
        ("step.succeeded", "b", {"event": "step.failed"}, "S1"),
        ("step.failed", "c", {"event": "step.succeeded"}, "S3"),
        ("step.compensated", "a", {"event": "step.succeeded"}, "S2"),
        ("saga.compensated", None, {"event": "saga.completed"}, "S1"),
        ("step.succeeded", "a", {"step": "x"}, "S1"),
        ("step.succeeded", "b", {"causation_id": "run-1/step/x/succeeded"}, "S9"),
        ("step.succeeded", "b", {"run": "run-2"}, "S9"),
    ],
)
def test_a_changed_line_breaks_the_right_invariant(
    event: str, step: str | None, changed: dict[str, str] | None, code: str
) -> None:
    """A line is dropped where no replacement is given."""
    told = [
        changed and record | changed
        if (record["event"], record.get("step"), record["action"]) == (event, step, "publish")
        else record
        for record in node(CHAIN)
    ]

    assert code in codes(judged([record for record in told if record]))


@pytest.mark.parametrize(
    ("step", "action", "code"),
    [("b", "execute", "S9"), ("b", "compensate", "S1"), (None, "reply", "L4"), ("b", "deliver", "S9")],
)
def test_with_effects_and_deliveries_a_word_is_not_enough(step: str | None, action: str, code: str) -> None:
    """At debug level who says that it committed must have, and who names a cause must have heard it."""
    told = [
        r for r in node(CHAIN, "--trace-level", "debug") if (r["action"], r.get("source")) != (action, step or "node")
    ]

    assert code in codes(judged(told))


def test_a_swapped_undo_is_out_of_order() -> None:
    """a is undone before b, which depends on it."""
    told = node(CHAIN)
    undo_b, undo_a = [index for index, record in enumerate(told) if record["event"] == "step.compensated"]
    told[undo_b], told[undo_a] = told[undo_a], told[undo_b]

    assert codes(judged(told)) == ["S9", "S5"]


def test_a_word_that_choreo_does_not_know_is_told(write: Callable[..., str]) -> None:
    """Its consequences are found too."""
    told = [
        r | {"event": "step.suceeded"} if r["event"] == "step.succeeded" and r["step"] == "b" else r
        for r in node(CHAIN)
    ]

    done = choreo("check", write(told))

    assert done.exit_code == 1
    assert "1 line about something else: step.suceeded (1)" in done.stdout


def test_a_run_of_two_sagas_is_damaged(write: Callable[..., str]) -> None:
    """A run has one saga_id."""
    told = node(CHAIN)
    told[2]["saga_id"] = "t"

    done = choreo("check", write(told))

    assert done.exit_code == 1
    assert "run-1 is of saga s, and here of t" in " ".join(done.stdout.split())


# --- what is due ------------------------------------------------------------------------------------------------------


def test_what_never_came_is_listed() -> None:
    """For a run that turned back, the missing events are the compensations in order, the outcome, and the reply."""
    told = node(CHAIN)
    cut = [record for record in told if record["event"] in ("saga.started", "step.succeeded", "step.failed")]

    verdict = judged(cut)

    assert codes(verdict) == ["L2", "L1"]
    assert verdict.due[0].expected == (
        "the compensation of b",
        "the compensation of a",
        "its outcome",
        "the reply to its client",
    )


def test_with_a_plan_the_step_that_is_due_is_known() -> None:
    """charge is next; the steps after it are not due yet."""
    told = node([{"saga_id": "s", "steps": ["place_order", "charge"]}])[:2]

    verdict = judged(told, definition=sagas.order)

    assert verdict.due[0].expected[:2] == ("the success or the failure of charge", "its outcome")


def test_a_command_without_an_answer_is_due() -> None:
    """In orchestration the addressee of each command is known."""
    told = node([{"saga_id": "s", "steps": ["a", "b"], "style": "orchestration"}])[:4]

    assert judged(told).due[0].expected[0] == "the success or the failure of b"


def test_a_lock_that_is_never_released_is_due() -> None:
    """By the run that holds it, although it has ended."""
    told = simulated(lesson(14).mended, "choreography")

    verdict = judged([record for record in told if record["action"] != "release"], definition=lesson(14).mended)

    assert "L5" in codes(verdict)
    assert [due.expected for due in verdict.due] == [("the release of credit",)]


# --- how it is told ---------------------------------------------------------------------------------------------------


def test_what_people_read(write: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The output has the first violation, all violations run by run, their number, and the basis of the verdict."""
    told = [
        record
        for record in node(MIXED[:1] + CHAIN)
        if record.get("step") != "b" or record["event"] != "step.compensated"
    ]
    write(told)
    monkeypatch.chdir(tmp_path)

    done = choreo("check", "trace.jsonl", width=100)

    assert done.exit_code == 1
    assert done.stdout.splitlines() == lines("""
    trace.jsonl: a choreo trace, 12 lines, 2 runs: 1 completed and 1 compensated

    first violation: line 10, saga s, run-2, step a, step.compensated
      S9 nothing from nowhere: run-2/step/a/compensated names the cause run-2/step/b/compensated,
         which nobody had published

    saga s, run-2
       S9 line 10: run-2/step/a/compensated names the cause run-2/step/b/compensated, which nobody
          had published
       S1 line 11: compensated, but b took effect once and was undone never
       S8 line 11: compensated was said, and b is in force
       L2 at the end: s turned back, and b was never undone

    4 violations in 1 of 2 runs: S9, S1, S8, L2
      1 record is missing: the numbers leave gaps
      the trace has no effects, so a step's word is taken for what its service did
      without --definition the steps are those that are told of, and none of them is a pivot
    """)


def test_the_json_has_everything(write: Callable[..., str]) -> None:
    """One object; a violation at rest has no line."""
    done = choreo("check", write(node(CHAIN)[:3]), "--json")

    told = json.loads(done.stdout)
    assert list(told) == [
        "trace", "format", "definition", "lines", "runs", "outcomes", "holds", "first", "deviations", "due", "ignored",
        "resent", "missing", "disorder",
    ]  # fmt: skip
    assert told["first"] == {
        "code": "L1",
        "title": "every run ends",
        "sentence": "s came to rest without an outcome, and a, b in force",
        "run": "run-1",
        "saga_id": "s",
        "line": None,
        "event": None,
        "step": None,
    }
    assert told["due"] == [{"run": "run-1", "saga_id": "s", "expected": ["its outcome", "the reply to its client"]}]


def test_a_trace_on_stdin() -> None:
    """With a byte order mark and blank lines."""
    given = b"\xef\xbb\xbf\n" + text_of(node(CHAIN)).replace("\n", "\r\n\r\n").encode()

    done = choreo("check", "-", given=given.replace(b"\xef\xbb\xbf\n", b"\xef\xbb\xbf"))

    assert done.exit_code == 0, done.output


def test_names_from_outside_move_no_cursor(write: Callable[..., str]) -> None:
    """Escaped wherever they come up."""
    done = choreo("check", write(node([{"saga_id": "\x1b[2J", "steps": ["\x1b[31mred", "b"]}])[:2]))

    assert done.exit_code == 1
    assert "\x1b" not in done.stdout


def test_of_very_many_violations_the_first_are_shown(write: Callable[..., str]) -> None:
    """The rest is counted."""
    told = [record for record in node(CHAIN * 30) if record["event"] != "saga.compensated"]

    done = choreo("check", write(told))

    assert "and 20 more runs, which --json lists" in done.stdout


# --- CloudEvents ------------------------------------------------------------------------------------------------------


def as_cloud_events(records: Lines) -> Iterator[dict[str, Any]]:
    """The node's trace as another system would write it: under its own prefix, without commands' positions."""
    for record in records:
        if record["action"] == "publish":
            yield {
                "specversion": "1.0",
                "id": record["id"],
                "source": f"/services/{record['source']}",
                "type": f"com.example.{record['event']}.v1",
                "time": record["time"],
                "subject": record.get("step", str(record["saga_id"])),
                "correlationid": record["run"],
                **({"causationid": record["causation_id"]} if "causation_id" in record else {}),
            }


@pytest.mark.parametrize("style", STYLES)
def test_cloud_events_are_read(style: str, write: Callable[..., str]) -> None:
    """The same sagas, the same verdict."""
    told = list(as_cloud_events(node([saga | {"style": style} for saga in MIXED[:5]])))

    done = choreo("check", write(told), "--json")

    read = json.loads(done.stdout)
    assert (done.exit_code, read["format"], read["holds"]) == (0, "cloudevents", True)
    assert read["outcomes"] == {"completed": 2, "compensated": 2, "stuck": 1}


def test_a_cloud_event_that_is_sent_again_counts_once() -> None:
    """The same source and id is the same event; another id is another effect."""
    told = list(as_cloud_events(node(CHAIN)))
    again = [*told[:3], told[2], *told[3:]]
    twice = [*told[:3], told[2] | {"id": "another"}, *told[3:]]

    read = read_trace(text_of(again).encode().splitlines(), "t")

    assert (read.resent, check(read).violations) == (1, ())
    assert "S2" in codes(judged(twice))


def test_the_step_may_stand_in_the_data_and_others_may_be_causes_too() -> None:
    """An event of another type is passed over, and all the same a cause."""
    told = list(as_cloud_events(node(CHAIN)))
    step = told[2].pop("subject")
    told[2] |= {"data": {"step": step, "position": 1}, "causationid": "http-1"}
    told.insert(2, told[1] | {"id": "http-1", "type": "com.example.http.called", "causationid": told[1]["id"]})

    read = read_trace(text_of(told).encode().splitlines(), "t")

    assert check(read).violations == ()
    assert read.ignored == {"com.example.http.called": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"specversion": "0.3"}, "t:2: expected specversion 1.0, got '0.3'"),
        ({"id": ""}, "t:2: expected a CloudEvent with id, a text, got ''"),
        ({"source": None}, "t:2: expected a CloudEvent with source, a text, got nothing"),
        ({"correlationid": None}, "t:2: expected correlationid, the run of com.example.step.succeeded.v1, got nothing"),
        ({"subject": 1.5}, "t:2: expected the step of com.example.step.succeeded.v1 in subject or data.step, got 1.5"),
        ({"causationid": ["a"]}, "t:2: expected causationid, got an array of 1"),
    ],
)
def test_a_cloud_event_that_is_none_is_an_error(change: dict[str, Any], why: str) -> None:
    """The error names the line, the expected and the received value."""
    told = list(as_cloud_events(node(CHAIN)))
    told[1] |= change

    with pytest.raises(NotATrace) as error:
        judged(told)

    assert str(error.value) == why


@pytest.mark.parametrize(
    ("type_", "event"),
    [
        ("step.succeeded", "step.succeeded"),
        ("com.example.step.compensation_failed", "step.compensation_failed"),
        ("example/saga.stuck/v2", "saga.stuck"),
        ("com.example.misstep.succeeded", None),
        ("saga.succeeded", None),
        ("com.example.order.created", None),
    ],
)
def test_a_type_is_recognised_behind_any_prefix(type_: str, event: str | None) -> None:
    """And only as a whole word."""
    assert event_of_type(type_) == event


# --- any JSON lines ---------------------------------------------------------------------------------------------------

MAPPING = """
[fields]
run = "ctx.order.id"
fact = "msg"
step = "service"
id = "@id"
cause = "ctx.because"
source = "service"
[facts]
placed = "saga started"
done = "succeeded"
sold_out = "stock failed"
refunded = "charge compensated"
cancelled = "saga.compensated"
told_no = "reply compensated"
"""


def log(*words: tuple[str, str]) -> Lines:
    told: Lines = []
    for number, (service, word) in enumerate(words):
        because = {"because": f"m{number - 1}"} if number else {}
        told.append({"msg": word, "service": service, "@id": f"m{number}", "ctx": {"order": {"id": 12}, **because}})
    return told


REFUNDED = log(
    ("shop", "placed"),
    ("charge", "done"),
    ("stock", "sold_out"),
    ("payments", "refunded"),
    ("shop", "cancelled"),
    ("shop", "told_no"),
)


def mapped(told: Lines, mapping: str = MAPPING) -> CheckReport:
    return check(read_trace(text_of(told).encode().splitlines(), "t", mapping=read_mapping(mapping)))


def test_any_log_is_read_with_a_mapping(write: Callable[..., str]) -> None:
    """Dotted paths, words for steps, for the saga and for replies; an unrelated line is counted."""
    told = [REFUNDED[0], {"msg": "cache miss"}, {"level": 3}, *REFUNDED[1:]]

    done = choreo("check", write(told), "--mapping", write(MAPPING, "mapping.toml"), "--json")

    read = json.loads(done.stdout)
    assert (done.exit_code, read["holds"], read["outcomes"]) == (0, True, {"compensated": 1})
    assert read["ignored"] == {"cache miss": 1, "no word for what happened": 1}


@pytest.mark.parametrize(
    ("leave_out", "code"),
    [("placed", "S9"), ("sold_out", "S3"), ("refunded", "S1"), ("cancelled", "L1"), ("told_no", "L4")],
)
def test_what_is_missing_in_a_mapped_log_is_found(leave_out: str, code: str) -> None:
    """The right invariant speaks."""
    other = [line | {"@id": f"x{line['@id']}", "ctx": {"order": {"id": 13}}} for line in REFUNDED[-1:]]

    assert code in codes(mapped([line for line in REFUNDED if line["msg"] != leave_out] + other))


def test_of_what_a_log_never_tells_nothing_is_expected() -> None:
    """No ids, no causes, no replies."""
    told = [{key: line[key] for key in ("msg", "service")} | {"ctx": {"order": {"id": 1}}} for line in REFUNDED[:-1]]
    mapping = "\n".join(line for line in MAPPING.splitlines() if not line.startswith(("id", "cause", "source")))

    assert mapped(told, mapping).violations == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"msg": "done", "service": "charge"}, "t:1: expected the run in ctx.order.id, got nothing"),
        ({"msg": "done", "ctx": {"order": {"id": 1}}}, "t:1: expected the step of 'done' in service, got nothing"),
        ({"msg": "placed", "ctx": {"order": {"id": {}}}}, "t:1: expected the run in ctx.order.id, got an empty table"),
    ],
)
def test_a_mapped_line_without_its_run_or_step_is_an_error(line: dict[str, Any], why: str) -> None:
    """A line that is mapped in part only is an error."""
    with pytest.raises(NotATrace) as error:
        mapped([line])

    assert str(error.value) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[fields", "expected TOML, got: "),
        ("[fields]\nrun = 'r'\nfact = 'f'", "facts: expected it, got nothing"),
        ("fields = 1\nfacts = {}", "fields: expected a table, got 1"),
        ("[fields]\nrun = 'r'\n[facts]\na = 'succeeded'", "fields.fact: expected it, got nothing"),
        ("[fields]\nrun = 'r'\nfact = 'f'\nstepp = 's'\n[facts]", "fields.stepp: expected run, fact, saga, step, "),
        ("[fields]\nrun = 1\nfact = 'f'\n[facts]", "fields.run: expected a dotted path such as order.id, got 1"),
        ("[fields]\nrun = 'r'\nfact = 'f'\n[facts]", "facts: expected words and what they mean"),
        (
            "[fields]\nrun = 'r'\nfact = 'f'\n[facts]\na = 1",
            "facts.'a': expected a text such as charge succeeded, got 1",
        ),
        ("[fields]\nrun = 'r'\nfact = 'f'\n[facts]\na = 'x won'", "facts.'a': expected STEP succeeded, failed, "),
        ("[fields]\nrun = 'r'\nfact = 'f'\n[facts]\na = 'saga won'", "facts.'a': expected saga started, completed, "),
    ],
)
def test_a_mapping_that_makes_no_sense_is_an_error(text: str, why: str, write: Callable[..., str]) -> None:
    """The error names the key, the expected and the received value; exit status 2."""
    with pytest.raises(WrongMapping) as error:
        read_mapping(text)

    assert str(error.value).startswith(why)
    done = choreo("check", write(REFUNDED), "--mapping", write(text, "mapping.toml"), width=500)
    assert done.exit_code == 2
    assert "mapping.toml" in done.stderr


def test_paths_and_meanings() -> None:
    """A key with dots is found as it is; a number counts into an array."""
    assert at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert at({"a": [{"b": 2}]}, "a.0.b") == 2
    assert at({"a": 1}, "a.b") is None
    assert at({"a": [1]}, f"a.{'1' * 5000}") is None
    assert at({"a": [1]}, f"a.{'0' * 5000}") is None
    for words, meaning in {
        "succeeded": ("publish", "step.succeeded", None),
        "step.failed": ("publish", "step.failed", None),
        "book hotel compensated": ("publish", "step.compensated", "book hotel"),
        "compensated": ("publish", "step.compensated", None),
        "saga compensated": ("publish", "saga.compensated", None),
        "completed": ("publish", "saga.completed", None),
        "reply stuck": ("reply", "saga.stuck", None),
    }.items():
        read = Meaning(words)
        assert (read.action, read.event, read.step) == meaning


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "expected a trace, got no line"),
        ("\n\n", "expected a trace, got no line"),
        ("nonsense\n", "trace.jsonl:1: expected a JSON object, got b'nonsense"),
        ("[1]\n", "trace.jsonl:1: expected a JSON object, got b'[1]"),
        ('{"a": 1}\n', "expected a choreo trace or CloudEvents, got JSON with the keys a"),
        ('{"event": "saga.started", "action": "publish"}\n', "trace.jsonl:1: expected a record of a choreo trace"),
        ('{"seq": 1, "time": 1, "event": "x", "action": "publish", "run": "r"}\n', "at least one run"),
        (
            '{"seq": 1, "time": 1, "event": "step.failed", "action": "publish", "run": "r", "id": "i"}\n',
            "expected the step of step.failed, got none",
        ),
        (
            '{"seq": 1, "time": 1, "event": "saga.started", "action": "publish", "run": "r"}\n',
            "expected the id of saga.started, got none",
        ),
        ("[" * 100_000 + "\n", "trace.jsonl:1: expected a JSON object"),
        (
            '{"seq": "\\ud800", "time": 1, "event": "saga.started", "action": "publish"}\n',
            "trace.jsonl:1: expected a record of a choreo trace",
        ),
    ],
)
def test_what_is_no_trace_is_wrong_use(content: str, why: str, write: Callable[..., str]) -> None:
    """Exit status 2, and the line."""
    done = choreo("check", write(content), width=400)

    assert done.exit_code == 2
    assert why in prose(done.stderr)


@pytest.mark.parametrize("form", ["choreo", "cloudevents", "json"])
def test_a_lone_surrogate_anywhere_is_read_as_any_other_character(form: str, write: Callable[..., str]) -> None:
    """JSON can spell it, in a name, a word and a key; all output is printable."""
    lone = "\ud800"
    made = {
        "choreo": [record | {lone: lone, "reason": lone} for record in node([{"saga_id": lone, "steps": ["a", lone]}])],
        "cloudevents": [
            {
                "specversion": "1.0",
                "id": f"{lone}{number}",
                "source": lone,
                "type": type_,
                "correlationid": lone,
                lone: lone,
            }
            | {"data": {"step": step}, "subject": lone}
            for number, (type_, step) in enumerate([("saga.started", lone), ("step.succeeded", lone), (lone, lone)])
        ],
        "json": [{"order": lone, "what": word, "step": lone, lone: lone} for word in ("ok", "fin", lone)],
    }[form]
    mapping = (
        '[fields]\nrun = "order"\nfact = "what"\nstep = "step"\n[facts]\nok = "succeeded"\nfin = "saga completed"\n'
    )
    options = ("--mapping", write(mapping, "mapping.toml")) if form == "json" else ()

    for output in ((), ("--json",)):
        done = choreo("check", write(made), *options, *output)
        assert done.exit_code in (0, 1), done.stderr
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert all(each == "\n" or each.isprintable() for each in done.stdout)


def test_a_bad_line_in_the_middle_is_named(write: Callable[..., str]) -> None:
    """By its number in the file, blank lines included."""
    done = choreo("check", write("\n" + text_of(node(CHAIN)) + "{half\n"), width=400)

    assert done.exit_code == 2
    assert "trace.jsonl:10: expected a JSON object" in prose(done.stderr)


def test_options_that_do_not_go_together(write: Callable[..., str], tmp_path: Path) -> None:
    """And files that are not there."""
    trace, mapping = write(REFUNDED), write(MAPPING, "mapping.toml")
    for arguments, why in [
        ([trace, "--format", "json"], "expected --mapping with json"),
        ([trace, "--format", "cloudevents", "--mapping", mapping], "expected it with --format json, got cloudevents"),
        ([str(tmp_path / "none")], "expected a file that can be read"),
        ([str(tmp_path)], "expected a file that can be read"),
        ([trace, "--mapping", str(tmp_path / "none")], "expected a file that can be read"),
        ([trace, "--definition", "none.toml"], "there is no such file"),
        ([trace, "--format", "xml"], "xml"),
    ]:
        done = choreo("check", *arguments, width=400)
        assert done.exit_code == 2, arguments
        assert why in prose(done.stderr)


def test_the_form_may_be_said() -> None:
    """Then it is not guessed, and a line of another form is an error."""
    told = text_of(node(CHAIN)).encode().splitlines()

    assert check(read_trace(told, "t", Form.CHOREO)).holds
    with pytest.raises(NotATrace, match="expected a CloudEvent with specversion"):
        read_trace(told, "t", Form.CLOUDEVENTS)

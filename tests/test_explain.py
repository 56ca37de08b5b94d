"""`choreo explain`: why each compensation ran, from traces of the real node and from traces with something planted."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.analysis.causes import Origin, explain
from choreo.analysis.recording import Recording
from choreo.compile import STYLES
from choreo.saga.plan import Itinerary
from choreo.saga.service import Refused, ServiceOf
from choreo.terminal.options.trace_file import Alike, text_of
from choreo.terminal.options.trace_lines import LINE_BYTES_MAX
from choreo.trace.record import Record, encode_record
from tests.stories import Mishap, sagas
from tests.terminal import ROOT, choreo, lines, prose, recorded, spawn
from tests.test_terminal_mermaid import recording_of

REQUESTS: list[dict[str, Any]] = [
    {"saga_id": "done", "steps": ["a", "b"]},
    {"saga_id": "undone", "steps": ["a", "b", "c"], "fail_step": "c"},
    {"saga_id": "commanded", "steps": ["a", "b", "c"], "fail_step": "c", "style": "orchestration"},
    {"saga_id": "stuck", "steps": ["a", "b", "c"], "fail_step": "c", "fail_compensation": "b"},
    {"saga_id": "first", "steps": ["a", "b"], "fail_step": "a"},
    {"saga_id": 7, "steps": ["a", "b"], "fail_step": "b"},
    {"saga_id": "twice", "steps": ["a", "b"], "fail_step": "b"},
    {"saga_id": "twice", "steps": ["a", "b"]},
    {"saga_id": "group", "steps": [["a", "b"], "c"], "fail_step": "a", "style": "orchestration"},
    {"saga_id": "\x1b[2J", "steps": ["\x1b[31mred", "b"], "fail_step": "b"},
]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A trace that the node wrote."""
    file = tmp_path_factory.mktemp("explain") / "trace.jsonl"
    data = b"".join(json.dumps({"type": "execute", **request}).encode() + b"\n" for request in REQUESTS)
    node(data, "--trace", str(file))
    return str(file)


def node(data: bytes, *options: str) -> None:
    command = [sys.executable, str(ROOT / "main.py"), *options]
    subprocess.run(command, input=data, stdout=subprocess.DEVNULL, check=True, env=os.environ)


Plant = Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]]


@pytest.fixture
def planted(trace: str, tmp_path: Path) -> Callable[[Plant], str]:
    """The same trace with its records changed."""

    def plant(change: Plant) -> str:
        records = [json.loads(line) for line in Path(trace).read_text().splitlines()]
        file = tmp_path / "planted.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in change(records)))
        return str(file)

    return plant


# --- as it is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saga_id", "told"),
    [
        (
            "done",
            """
    saga done, run-1: completed
      Nothing was compensated, the saga completed.
    """,
        ),
        (
            "undone",
            """
    saga undone, run-2: compensated

      b was compensated, because c failed: c was told to refuse.
        10 b compensated ← 9 c failed

      a was compensated, because b was compensated, because c failed: c was told
      to refuse.
        11 a compensated ← 10 b compensated ← 9 c failed
    """,
        ),
        (
            "commanded",
            """
    saga commanded, run-3: compensated

      b was compensated, because c failed: c was told to refuse.
        22 b compensated ← 21 compensate b ← 20 c failed

      a was compensated, because b was compensated, because c failed: c was told
      to refuse.
        24 a compensated ← 23 compensate a ← 22 b compensated ← 21 compensate b ←
        20 c failed
    """,
        ),
        (
            "stuck",
            """
    saga stuck, run-4: stuck

      b could not be compensated: the compensation of b was told to fail. It was
      to be compensated, because c failed: c was told to refuse.
        31 b compensation_failed ← 30 c failed
    """,
        ),
        (
            "first",
            """
    saga first, run-5: compensated
      a failed: a was told to refuse.
      Nothing had to be compensated: nothing was in force.
    """,
        ),
        (
            "group",
            """
    saga group, run-9: compensated

      b was compensated, because a failed: a was told to refuse.
        61 b compensated ← 60 compensate b ← 58 a failed
    """,
        ),
    ],
)
def test_each_compensation_is_led_back_to_the_failure(trace: str, saga_id: str, told: str) -> None:
    """In a sentence, and as the chain of causes with their numbers in the trace."""
    result = choreo("explain", trace, saga_id)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == lines(told)


def test_an_integer_is_a_saga_id_too(trace: str) -> None:
    """As it is typed, it is text."""
    result = choreo("explain", trace, "7")

    assert result.exit_code == 0
    assert result.stdout.startswith("saga 7, run-6: compensated\n")


def test_a_saga_that_ran_twice_is_told_run_by_run(trace: str) -> None:
    """`--run` chooses one."""
    both, one = choreo("explain", trace, "twice"), choreo("explain", trace, "twice", "--run", "run-8")

    assert [line for line in both.stdout.splitlines() if line.startswith("saga")] == [
        "saga twice, run-7: compensated",
        "saga twice, run-8: completed",
    ]
    assert both.stdout.endswith(one.stdout)
    assert both.exit_code == one.exit_code == 0


def test_a_trace_is_read_from_stdin(trace: str) -> None:
    """As `-`."""
    result = choreo("explain", "-", "undone", given=Path(trace).read_bytes())

    assert result.stdout == choreo("explain", trace, "undone").stdout


def test_a_trace_of_every_delivery_is_explained_the_same(tmp_path: Path, trace: str) -> None:
    """Deliveries and calls are no events of their own."""
    file = tmp_path / "debug.jsonl"
    node(json.dumps({"type": "execute", **REQUESTS[1]}).encode(), "--trace", str(file), "--trace-level", "debug")

    detailed = choreo("explain", str(file), "undone")

    sentences = [line for line in choreo("explain", trace, "undone").stdout.splitlines() if "because" in line]
    assert detailed.exit_code == 0
    assert [line for line in detailed.stdout.splitlines() if "because" in line] == sentences


def test_an_explanation_as_json_has_every_chain(trace: str) -> None:
    """For each compensation its causes, the nearest first, and the failure at the end."""
    result = choreo("explain", trace, "commanded", "--json")

    explained = json.loads(result.stdout)
    (run,) = explained["runs"]
    assert explained["saga_id"] == "commanded"
    assert (run["run"], run["outcome"], run["explained"]) == ("run-3", "compensated", True)
    assert [failure["step"] for failure in run["failures"]] == ["c"]
    assert [(each["step"], each["hops"], each["last"]["step"]) for each in run["compensations"]] == [
        ("b", 2, "c"),
        ("a", 4, "c"),
    ]
    assert [cause["event"] for cause in run["compensations"][1]["causes"]] == [
        "step.compensate",
        "step.compensated",
        "step.compensate",
        "step.failed",
    ]
    assert run["compensations"][0]["last"]["reason"] == "c was told to refuse"


def test_hostile_names_in_a_trace_stay_text(trace: str) -> None:
    """A trace may come from anywhere."""
    result = choreo("explain", trace, "\x1b[2J")

    assert result.exit_code == 0
    assert r"\x1b[31mred was compensated" in result.stdout
    assert all(character == "\n" or character.isprintable() for character in result.stdout)


def test_in_ascii_the_arrows_are_ascii(trace: str) -> None:
    """An ASCII encoding has no other arrows."""
    printed = spawn("explain", trace, "undone", PYTHONIOENCODING="ascii")

    assert printed.stdout.isascii()
    assert b"10 b compensated <- 9 c failed" in printed.stdout


def test_a_very_long_chain_is_told_in_short() -> None:
    """Its beginning, how much is left out, and its end."""
    steps = [f"s{number}" for number in range(40)]
    file = encode(recorded("choreography", *steps, fail_step="s39"))

    result = choreo("explain", "-", "saga-1", given=file)

    last = "\n".join(result.stdout.splitlines()[-7:])
    assert result.exit_code == 0
    assert "s0 was compensated, because s1 was compensated, because s2 was compensated, and so on" in prose(last)
    assert "← 32 more ← 41 s39 failed" in prose(last)


# --- what is a finding ------------------------------------------------------------------------------------------------


def test_a_missing_cause_is_a_finding(planted: Callable[[Plant], str]) -> None:
    """Planted: the trace has lost the failure."""
    file = planted(lambda records: [r for r in records if r.get("id") != "run-2/step/c/failed"])

    result = choreo("explain", file, "undone")

    assert result.exit_code == 1
    assert "the cause of 10 step.compensated, run-2/step/c/failed, is not in the trace." in prose(result.stdout)


def test_a_compensation_without_a_failure_is_a_finding(planted: Callable[[Plant], str]) -> None:
    """Planted: the compensation names a success as its cause."""

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            if record.get("id") == "run-2/step/b/compensated":
                record["causation_id"] = "run-2/step/b/succeeded"
        return records

    result = choreo("explain", planted(change), "undone")

    assert result.exit_code == 1
    assert "the causes end at 6 saga.started, and none of them is a failure." in prose(result.stdout)


def test_a_compensation_without_any_cause_is_a_finding(planted: Callable[[Plant], str]) -> None:
    """Planted: it names none."""

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            if record.get("id") == "run-2/step/b/compensated":
                del record["causation_id"]
        return records

    assert choreo("explain", planted(change), "undone").exit_code == 1


def test_causes_that_go_round_are_a_finding(planted: Callable[[Plant], str]) -> None:
    """Planted: two events that caused each other."""

    def change(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            if record.get("id") == "run-2/step/b/compensated":
                record["causation_id"] = "run-2/step/a/compensated"
        return records

    result = choreo("explain", planted(change), "undone")
    as_json = json.loads(choreo("explain", planted(change), "undone", "--json").stdout)

    assert result.exit_code == 1
    assert "the causes go round in a circle" in prose(result.stdout)
    assert [each["ends_at"] for each in as_json["runs"][0]["compensations"]] == ["circle", "circle"]


def test_an_outcome_that_nothing_led_to_is_a_finding(planted: Callable[[Plant], str]) -> None:
    """Planted: of the run there is only that it was compensated."""
    file = planted(lambda records: [r for r in records if r.get("event") == "saga.compensated"])

    result = choreo("explain", file, "undone")

    assert result.exit_code == 1
    assert "the saga ended compensated; the cause of 12 saga.compensated" in prose(result.stdout)


def test_a_run_without_an_outcome_is_told_as_one(planted: Callable[[Plant], str]) -> None:
    """The trace ends early: the available events are explained."""
    file = planted(lambda records: records[:10])

    result = choreo("explain", file, "undone")

    assert result.exit_code == 0
    assert result.stdout.startswith("saga undone, run-2: no outcome in this trace\n")
    assert "b was compensated, because c failed" in result.stdout


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(STYLES)), sagas())
def test_every_saga_can_be_explained(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """For every failure, in either style, each compensation leads back to a failure."""
    recording = recording_of(style, saga)

    explanations = explain(records_of(recording), 3)

    (explanation,) = explanations
    undone = [r for r in records_of(recording) if r.event in ("step.compensated", "step.compensation_failed")]
    assert explanation.is_explained
    assert [chain.nearest[0] for chain in explanation.compensations] == undone
    assert all(chain.last.event == "step.failed" for chain in explanation.compensations)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 11), st.booleans()), max_size=10))
def test_any_causes_have_an_end(events: list[tuple[int, int | None, bool]]) -> None:
    """Missing, circular, doubled: each chain ends where following it by hand does; in a circle anywhere is the end."""
    records = [
        Record(
            seq=seq,
            time=0,
            event="step.failed" if fails else "step.compensated",
            action="publish",
            id=str(own),
            causation_id=None if cause is None else str(cause),
        )
        for seq, (own, cause, fails) in enumerate(events)
    ]

    for explanation in explain(records, 100):
        by_id = {record.id: record for record in reversed(records)}
        for chain in explanation.compensations:
            origin, hops = by_hand(chain.nearest[0], by_id)
            assert chain.origin is origin
            assert chain.hops == hops or origin is Origin.CIRCLE
            assert len(chain.nearest) == chain.hops + 1


def by_hand(record: Record, by_id: dict[str | None, Record]) -> tuple[Origin, int]:
    seen = []
    while True:
        if record in seen:
            return Origin.CIRCLE, len(seen)
        seen.append(record)
        if record.event == "step.failed":
            return Origin.FAILURE, len(seen) - 1
        if record.causation_id is None:
            return Origin.NO_FAILURE, len(seen) - 1
        if record.causation_id not in by_id:
            return Origin.MISSING, len(seen) - 1
        record = by_id[record.causation_id]


def records_of(recording: Recording) -> list[Record]:
    """The trace of a recorded run."""
    return [
        Record(
            seq=number,
            time=0,
            event=event.topic.event,
            action="publish",
            saga_id=event.run.saga_id,
            run=event.run.id,
            source=event.topic.source,
            step=event.topic.step,
            position=event.topic.position,
            id=event.id,
            causation_id=event.causation_id,
            reason=event.reason,
        )
        for number, event in enumerate(recording.events, start=1)
    ]


def encode(recording: Recording) -> bytes:
    return b"".join(encode_record(record) + b"\n" for record in records_of(recording))


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the trace tells of no saga"),
        (b"\n\n", "the trace tells of no saga"),
        (b"\x7fELF\x00\x01\xff\xfe", "trace.bin:1: expected a trace record as JSON"),
        (b'{"seq": 1}\n', "trace.bin:1: expected a trace record as JSON"),
        (b"[]", "trace.bin:1: expected a trace record as JSON"),
        (b"[" * 100_000, "trace.bin:1: expected a trace record as JSON"),
        (b'{"seq":1,"time":0,"event":"saga.started","action":"publish","x":' + b"[" * 100_000, "trace.bin:1: expected"),
        (b"\n" + encode_record(Record(1, 0, "e", "publish")) + b"\nnonsense", "trace.bin:3: expected a trace record"),
    ],
    ids=range(8),
)
def test_what_is_no_trace_is_named_by_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    """Exit status 2, and never a traceback."""
    file = tmp_path / "trace.bin"
    file.write_bytes(content)

    result = choreo("explain", str(file), "x", width=300)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in prose(result.stderr)


@pytest.mark.parametrize(("file", "why"), [("no/such/file", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_wrong_use(file: str, why: str) -> None:
    """With the reason."""
    result = choreo("explain", file, "x", width=200)

    assert result.exit_code == 2
    assert f"expected a file that can be read, got '{file}' ({why})" in prose(result.stderr)


def test_no_such_saga_suggests_some_that_are_alike(trace: str) -> None:
    """And says so where none is."""
    misspelt, unlike = choreo("explain", trace, "comanded", width=300), choreo("explain", trace, "zzz", width=300)

    assert misspelt.exit_code == unlike.exit_code == 2
    assert "got 'comanded'; did you mean 'commanded'?" in prose(misspelt.stderr)
    assert prose(unlike.stderr).endswith("got 'zzz'")


def test_no_such_run_names_the_runs(trace: str) -> None:
    """Only runs of that saga are named."""
    result = choreo("explain", trace, "twice", "--run", "run-1", width=200)

    assert result.exit_code == 2
    assert "--run: expected a run of this saga (run-7 and run-8), got 'run-1'" in prose(result.stderr)


def test_suggestions_take_bounded_memory() -> None:
    """However many sagas a trace tells of, only the few most alike are remembered."""
    alike = Alike("booking-5")

    for number in range(2_000):
        alike.meet(f"booking-{number}")
        alike.meet("something else")

    assert alike.suggestion() == "; did you mean 'booking-5' or 'booking-15' or 'booking-25'?"
    assert len(msgspec.json.encode(vars(alike)["_best"])) < 200


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    """A sparse file of zeros, larger than any record."""
    file = tmp_path / "zeros"
    with file.open("wb") as zeros:
        zeros.truncate(LINE_BYTES_MAX + 1)

    result = choreo("explain", str(file), "x", width=200)

    assert result.exit_code == 2
    assert f"zeros:1: expected a trace record, got a line of more than {LINE_BYTES_MAX} bytes" in prose(result.stderr)


def test_a_huge_integer_has_a_text() -> None:
    """Also one with more digits than Python writes out."""
    assert text_of(10**10_000) == hex(10**10_000)
    assert (text_of(7), text_of("7"), text_of(None)) == ("7", "7", None)


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2028", "\x1b[2J", "\ud800"], ids=ascii)
def test_hostile_events_in_a_trace_stay_text(character: str, tmp_path: Path) -> None:
    """Also in the line with the chain of causes, and where the trail is lost."""
    chain = [
        {"event": "saga.started", "source": "client"},
        {"event": f"other.{character}", "source": "x", "step": "a"},
        {"event": f"{character}.other", "source": "x"},
        {"event": "step.compensated", "source": "a", "step": "a", "position": 0},
    ]
    records = [
        {"seq": number, "time": 0, "action": "publish", "saga_id": "s", "run": "run-1", "id": str(number)}
        | ({"causation_id": str(number - 1)} if number > 1 else {})
        | record
        for number, record in enumerate(chain, start=1)
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))

    printed = choreo("explain", str(path), "s").stdout

    assert "compensated" in printed
    assert all(each == "\n" or each.isprintable() for each in printed)


# --- what could not be undone -----------------------------------------------------------------------------------------


class _Tours:
    """Two of its bookings are too late to cancel."""

    def __init__(self, step: str) -> None:
        self.step = step

    def execute(self, reference: str) -> None:
        if self.step == "pay":
            raise Refused("pay says no")
        if self.step == "visa":
            raise TimeoutError("no answer")

    def compensate(self, reference: str, receipt: object) -> None:
        if self.step in ("flight", "car", "visa"):
            raise Refused(f"{self.step} is too late to cancel")


def tours() -> ServiceOf:
    """The services of a tour."""
    return lambda step: _Tours(step)


TOURS = "from tests.test_explain import tours as catalogue\n"


def explained(tmp_path: Path, steps: list[Any], style: str) -> str:
    """Return the output of `explain` for a saga of tours."""
    (tmp_path / "tour_services.py").write_text(TOURS)
    file = tmp_path / "trace.jsonl"
    request = json.dumps({"type": "execute", "saga_id": "tour", "steps": steps, "style": style}).encode()
    command = [sys.executable, str(ROOT / "main.py"), "--trace", str(file), "--services", "tour_services"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run(command, input=request, stdout=subprocess.DEVNULL, check=True, env=environment)
    return prose(choreo("explain", str(file), "tour").stdout)


@pytest.mark.parametrize("style", STYLES)
def test_each_compensation_that_did_not_work_has_its_own_reason(tmp_path: Path, style: str) -> None:
    """Two of three in a group: the refusal that turned the saga back is not the reason why they stay."""
    told = explained(tmp_path, [["flight", "hotel", "car"], "pay"], style)

    for step in ("flight", "car"):
        assert (
            f"{step} could not be compensated: {step} is too late to cancel. It was to be compensated, because pay "
            "failed: pay says no." in told
        )
    assert "hotel was compensated, because pay failed: pay says no." in told


@pytest.mark.parametrize("style", STYLES)
def test_a_step_in_doubt_is_the_failure_itself(tmp_path: Path, style: str) -> None:
    """No step failed before it, so the chain of causes ends there, and is complete."""
    told = explained(tmp_path, [["visa", "hotel"], "pay"], style)

    assert (
        "visa was in doubt, and could not be undone: TimeoutError: no answer; it may have taken effect, and its "
        "compensation failed: visa is too late to cancel." in told
    )
    assert "none of them is a failure" not in told

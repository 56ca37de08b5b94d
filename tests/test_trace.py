"""The trace, as the real node writes it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from choreo.trace.record import NotATrace, read_records

ROOT = Path(__file__).parent.parent
MAIN = [sys.executable, str(ROOT / "main.py")]

PLANTED_DEFECT = """
class Broken:
    def execute(self, reference):
        raise ZeroDivisionError("planted")
    def compensate(self, reference, receipt):
        pass

class Fine(Broken):
    def execute(self, reference):
        return None

def catalogue():
    return lambda step: Broken() if step == "broken" else Fine()
"""


def request(msg_id: int = 1, **fields: Any) -> bytes:
    body = {"type": "execute", "msg_id": msg_id, "saga_id": f"saga-{msg_id}", "steps": ["a", "b", "c"]}
    return json.dumps(body | fields).encode() + b"\n"


def run_node(data: bytes, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*MAIN, *options], input=data, capture_output=True, env=os.environ | environment, check=False)


def trace_of(data: bytes, tmp_path: Path, *options: str, **environment: str) -> list[dict[str, Any]]:
    file = tmp_path / "trace.jsonl"
    node = run_node(data, "--trace", str(file), *options, **environment)
    assert node.returncode == 0, node.stderr
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_completed_chain_is_one_record_an_event_and_one_for_the_reply(tmp_path: Path) -> None:
    """The published events and the reply, with the fields in their documented order."""
    records = trace_of(request(), tmp_path)

    assert [(r["event"], r["action"], r["source"]) for r in records] == [
        ("saga.started", "publish", "client"),
        ("step.succeeded", "publish", "a"),
        ("step.succeeded", "publish", "b"),
        ("step.succeeded", "publish", "c"),
        ("saga.completed", "publish", "coordinator"),
        ("saga.completed", "reply", "node"),
    ]
    assert [r["seq"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert list(records[1]) == [
        *("seq", "time", "event", "action", "saga_id", "run", "source"),
        *("step", "position", "id", "causation_id"),
    ]
    assert records[1]["id"] == "run-1/step/a/succeeded"
    assert records[1]["causation_id"] == records[0]["id"] == "run-1/saga/started"


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_the_chain_of_causes_leads_from_each_compensation_to_the_failure(tmp_path: Path, style: str) -> None:
    """From a trace alone one can tell why each compensation ran."""
    data = request(steps=["a", ["b", "c"], "d", "e"], fail_step="e", style=style)

    records = [r for r in trace_of(data, tmp_path) if r["action"] == "publish"]

    by_id = {r["id"]: r for r in records}
    compensated = [r for r in records if r["event"] == "step.compensated"]
    assert len(compensated) == 4
    for record in compensated:
        while record["event"] != "step.failed":
            record = by_id[record["causation_id"]]
        assert record["step"] == "e"
        assert record["reason"] == "e was told to refuse"


def test_a_trace_names_nothing_that_was_not_published_before(tmp_path: Path) -> None:
    """Every event but the first of a run names a cause in the same run, published earlier."""
    data = b"".join(request(n, steps=["a", ["b", "a"], "c"], fail_step="abc"[n % 3]) for n in range(1, 10))

    seen: set[str] = set()
    for record in trace_of(data, tmp_path):
        if record["event"] != "saga.started":
            assert record["causation_id"] in seen
            assert record["causation_id"].startswith(f"{record['run']}/")
        seen.add(record.get("id", ""))


def test_the_debug_level_adds_deliveries_and_calls_of_services(tmp_path: Path) -> None:
    """Recipients of events, and the time of each local transaction and compensation."""
    records = trace_of(request(steps=["a", "b"], fail_step="b"), tmp_path, "--trace-level", "debug")

    acts = [(r["action"], r["event"], r["source"]) for r in records]
    assert ("deliver", "saga.started", "a") in acts
    assert ("execute", "step.execute", "a") in acts
    assert ("deliver", "step.failed", "a") in acts
    assert ("compensate", "step.compensate", "a") in acts
    assert ("deliver", "saga.compensated", "client") in acts
    assert ("execute", "step.execute", "b") not in acts, "it was told to refuse before it was called"


def test_the_same_input_gives_the_same_trace_apart_from_the_time(tmp_path: Path) -> None:
    """In two processes, under two hash seeds."""
    data = b"".join(request(n, steps=["x", ["y", "z"], "x"], fail_step="xyz"[n % 3]) for n in range(1, 50))

    one, two = (trace_of(data, tmp_path, PYTHONHASHSEED=seed) for seed in ("1", "2"))

    for record in (*one, *two):
        del record["time"]
    assert one == two


def test_the_traceback_of_a_defect_is_in_the_trace(tmp_path: Path) -> None:
    """The reply has the outcome, the step and the exception in a line; the trace has the rest."""
    (tmp_path / "planted.py").write_text(PLANTED_DEFECT)

    records = trace_of(request(steps=["a", "broken"]), tmp_path, "--services", "planted", PYTHONPATH=str(tmp_path))

    (failed,) = [r for r in records if r["event"] == "step.failed"]
    assert failed["reason"] == "ZeroDivisionError: planted"
    assert 'raise ZeroDivisionError("planted")' in failed["traceback"]
    assert [r["step"] for r in records if r["event"] == "step.compensated"] == ["a"]
    assert records[-1]["event"] == "saga.compensated"
    assert records[-1]["reason"] == "ZeroDivisionError: planted"


def test_a_refused_message_is_in_the_trace_as_a_reply_without_a_run(tmp_path: Path) -> None:
    """It never became a run, and is not blamed on the one before."""
    records = trace_of(request() + b'{"type": "execute", "msg_id": 2}\n', tmp_path)

    assert records[-1]["event"] == "error"
    assert records[-1]["code"] == 12
    assert records[-1]["in_reply_to"] == 2
    assert "run" not in records[-1]


def test_names_that_utf_8_cannot_spell_are_traced_as_json_spells_them(tmp_path: Path) -> None:
    """A lone surrogate is legal JSON; so is the trace."""
    records = trace_of(b'{"type":"execute","saga_id":"\\ud800","steps":["\\udc00"]}\n', tmp_path)

    assert {r["saga_id"] for r in records if "saga_id" in r} == {"\ud800"}
    assert records[1]["step"] == "\udc00"


def test_the_trace_goes_to_stderr_unless_a_file_is_named() -> None:
    """And replies alone to stdout."""
    node = run_node(request(), "--trace")

    assert [json.loads(line)["seq"] for line in node.stderr.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert [json.loads(line)["type"] for line in node.stdout.splitlines()] == ["saga_completed"]


def test_the_console_format_has_a_line_a_record_and_no_colour_in_a_pipe() -> None:
    """No character of a name moves the cursor."""
    node = run_node(request(steps=["\x1b[2Jboo\n", "b"], fail_step="b"), "--trace", "--trace-format", "console")

    lines = node.stderr.decode().splitlines()
    assert len(lines) == 6
    assert b"\x1b" not in node.stderr
    assert "\\x1b[2Jboo\\x0a" in node.stderr.decode()
    assert "b was told to refuse" in lines[2]


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2028", "\x9b", "\x07", "\u200b", "\ue000"], ids=ascii)
def test_no_character_in_the_console_format_turns_a_line_around_or_ends_it(character: str) -> None:
    """In a step's name, a saga's name, a reason, or the log of a defect."""
    name = f"a{character}b"
    node = run_node(request(steps=["x", name], fail_step=name, saga_id=name), "--trace", "--trace-format", "console")

    printed = node.stderr.decode()
    assert all(each == "\n" or each.isprintable() for each in printed)
    assert len(printed.splitlines()) == len(printed.split("\n")) - 1 == 6
    assert ascii(character)[1:-1] in printed


def test_a_number_of_very_many_digits_is_traced() -> None:
    """As far as it fits."""
    node = run_node(
        b'{"type": "execute", "msg_id": 1, "saga_id": %s, "steps": ["a"]}' % (b"7" * 5000),
        "--trace",
        "--trace-format",
        "console",
    )

    assert b"Traceback" not in node.stderr


@pytest.mark.parametrize("place", ["missing/trace.jsonl", "."])
def test_a_trace_file_that_cannot_be_opened_ends_the_node_before_it_reads(tmp_path: Path, place: str) -> None:
    """Exit status 2, a clear word on stderr, empty stdout."""
    reader, writer = os.pipe()
    os.write(writer, request())

    node = subprocess.run([*MAIN, "--trace", str(tmp_path / place)], stdin=reader, capture_output=True, check=False)

    assert node.returncode == 2
    assert node.stdout == b""
    assert node.stderr.startswith(b"choreo node: ")
    assert b"Traceback" not in node.stderr
    assert os.read(reader, 1000) == request(), "nothing was read"
    os.close(reader)
    os.close(writer)


def test_a_full_disk_ends_the_trace_and_not_the_node() -> None:
    """Said once on stderr; every request is answered."""
    node = run_node(b"".join(request(n) for n in range(1, 2001)), "--trace", "/dev/full")

    assert node.returncode == 0
    assert len(node.stdout.splitlines()) == 2000
    assert node.stderr.count(b"\n") == 1
    assert b"the trace ends here" in node.stderr


def test_replies_that_cannot_be_written_end_the_node_with_a_word() -> None:
    """A full disk on stdout: status 1, and no traceback."""
    with open("/dev/full", "wb") as full:
        node = subprocess.run(MAIN, input=request(), stdout=full, stderr=subprocess.PIPE, check=False)

    assert node.returncode == 1
    assert node.stderr == b"choreo node: stdin or stdout failed: No space left on device\n"


def test_a_trace_to_a_closed_stderr_does_not_harm_the_node() -> None:
    """The trace is dropped, since its reader is gone."""
    command = f'"{sys.executable}" main.py --trace 2>&-'

    node = subprocess.run(["bash", "-c", command], input=request(), stdout=subprocess.PIPE, cwd=ROOT, check=False)

    assert node.returncode == 0
    assert b"saga_completed" in node.stdout


def test_a_closed_stderr_does_not_mix_messages_into_the_trace(tmp_path: Path) -> None:
    """The file does not become standard error because that number was free."""
    file = tmp_path / "trace.jsonl"
    command = f'"{sys.executable}" main.py --envelope --trace "{file}" 2>&-'

    node = subprocess.run(
        ["bash", "-c", command], input=b"nonsense\n" + request(), stdout=subprocess.PIPE, cwd=ROOT, check=False
    )

    assert node.returncode == 0
    assert [json.loads(line)["seq"] for line in file.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_the_trace_of_a_request_is_there_when_its_reply_is(tmp_path: Path) -> None:
    """A client that has read a reply finds its trace at once."""
    file = tmp_path / "trace.jsonl"
    node = subprocess.Popen([*MAIN, "--trace", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert node.stdin is not None
    assert node.stdout is not None
    for number in (1, 2, 3):
        node.stdin.write(request(number))
        node.stdin.flush()

        node.stdout.readline()

        assert len(file.read_text().splitlines()) == 6 * number
    node.stdin.close()
    assert node.wait() == 0
    node.stdout.close()


def test_what_is_no_record_is_named_with_its_line(tmp_path: Path) -> None:
    """A reader of traces says where it stumbled."""
    file = tmp_path / "trace.jsonl"
    file.write_bytes(b'{"seq":1,"time":"","event":"saga.started","action":"publish"}\n\nnonsense\n')

    with file.open("rb") as lines, pytest.raises(NotATrace, match=r"trace:3: expected a trace record as JSON"):
        list(read_records(lines, "trace"))

"""Requests that name a saga of the node: `--saga FILE`, with input and results."""

import json
from pathlib import Path
from typing import Any

import pytest

import choreo
from tests.node_client import Node, line

ORDER = """
[saga]
name = "order"

[[step]]
name = "book_flight"

[[step]]
name = "book_hotel"
after = []

[[step]]
name = "book_car"
kind = "pivot"
after = ["book_flight", "book_hotel"]

[[step]]
name = "notify"
kind = "retriable"
"""
EXECUTE = {"type": "execute", "msg_id": 1, "saga_id": "s", "saga": "order"}


def asked(tmp_path: Path, request: dict[str, Any], *options: str) -> dict[str, Any]:
    (tmp_path / "order.toml").write_text(ORDER)
    with Node("--saga", str(tmp_path / "order.toml"), *options) as node:
        reply: dict[str, Any] = json.loads(node.ask(request))
    return reply


@pytest.mark.parametrize("is_durable", [False, True])
@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_a_saga_is_run_by_its_name(style: str, is_durable: bool, tmp_path: Path) -> None:
    options = ["--journal", str(tmp_path / "sagas.db")] if is_durable else []

    reply = asked(tmp_path, EXECUTE | {"style": style}, *options)

    assert reply == {
        "type": "saga_completed",
        "in_reply_to": 1,
        "saga_id": "s",
        "state": "completed",
        "completed_steps": 4,
        "result": {"book_hotel": 80, "book_car": "CAR 003"},
    }


def test_the_pivot_of_a_saga_is_obeyed(tmp_path: Path) -> None:
    reply = asked(tmp_path, EXECUTE | {"fail_step": "notify"})

    assert (reply["state"], reply["compensated_steps"]) == ("stuck", [])


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (EXECUTE | {"saga": "ordr"}, 'saga: expected "order", got "ordr"; did you mean \'order\'?'),
        (EXECUTE | {"steps": ["a"]}, 'steps: expected none beside saga, got ["a"]'),
        (EXECUTE | {"saga": 7}, "saga: expected a string, got 7"),
        ({"type": "execute", "msg_id": 1, "saga_id": "s"}, "steps: expected an array of step names, got nothing"),
    ],
)
def test_a_request_that_names_no_saga_is_refused(request_: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert asked(tmp_path, request_) == {"type": "error", "in_reply_to": 1, "code": 12, "text": text}


def test_a_saga_of_null_is_none(tmp_path: Path) -> None:
    assert asked(tmp_path, EXECUTE | {"saga": None, "steps": ["a"]})["completed_steps"] == 1


def test_a_saga_in_an_envelope_is_answered_in_one(tmp_path: Path) -> None:
    reply = asked(tmp_path, {"src": "c", "dest": "n", "body": EXECUTE}, "--envelope")

    assert (reply["dest"], reply["body"]["completed_steps"]) == ("c", 4)


def test_forms_may_be_mixed(tmp_path: Path) -> None:
    """Each form has a decoder of its own, and the last one is tried first."""
    (tmp_path / "order.toml").write_text(ORDER)
    steps = {"type": "execute", "saga_id": "t", "steps": ["a"]}

    with Node("--saga", str(tmp_path / "order.toml")) as node:
        node.send(b"".join(line(each) for each in (EXECUTE, steps, {"src": "c", "body": EXECUTE}, EXECUTE, steps)))
        replies = [json.loads(reply) for reply in node.finish()]

    assert [reply["completed_steps"] for reply in replies] == [4, 1, 4, 4, 1]


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        (ORDER + "timeout_ms = 5\n", "expected none on a step that is retriable"),
        (ORDER.replace("pivot", "compensatable").replace('"retriable"', '"compensatable"\ntimeout_ms = 5'), "no clock"),
        ("", "saga: expected a table, got nothing: it is required"),
    ],
)
def test_a_saga_that_the_node_cannot_run_is_wrong_use(toml: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "order.toml").write_text(toml)

    with Node("--saga", str(tmp_path / "order.toml")) as node:
        node.finish()

        assert node.process.wait(10) == 2
        assert text in node.stderr
        assert "Traceback" not in node.stderr


def test_input_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]

    reply = asked(tmp_path, EXECUTE | {"input": deep})

    assert (reply["type"], reply["code"]) == ("error", 12)
    assert reply["text"].startswith("input: ")


@pytest.mark.parametrize("number", ["9" * 5000, "1e999"])
def test_a_number_that_python_cannot_express_is_refused_in_an_input(number: str, tmp_path: Path) -> None:
    (tmp_path / "order.toml").write_text(ORDER)
    request = json.dumps(EXECUTE | {"input": {"total": 0}}).replace('"total": 0', f'"total": [{number}]')

    with Node("--saga", str(tmp_path / "order.toml")) as node:
        node.send(request.encode() + b"\n")
        (reply,) = node.finish()

    assert json.loads(reply)["code"] == 12
    assert json.loads(reply)["text"].startswith("input: expected numbers")


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("fail", ["notify", "book_car", None])
def test_the_trace_of_a_saga_with_kinds_holds(level: str, fail: str | None, tmp_path: Path) -> None:
    """Attempts are events of their own, and a step that was told to refuse has made none."""
    trace = tmp_path / "trace.jsonl"
    asked(tmp_path, EXECUTE | {"fail_step": fail}, "--trace", str(trace), "--trace-level", level)

    report = choreo.check(str(trace), choreo.Saga.from_toml(str(tmp_path / "order.toml")))

    assert report.violations == ()

"""Messages: their decoding, the texts of errors, and the text of the replies."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.node.careful import decode_with_care, looks_like_message
from choreo.node.messages import (
    DECODE_ERRORS,
    Execute,
    Init,
    Malformed,
    Message,
    decode,
    decode_bare,
)
from choreo.node.replies import (
    MALFORMED_REQUEST,
    NOT_SUPPORTED,
    envelope_text,
    error_text,
    init_ok_text,
    reply_text,
)
from choreo.saga.outcome import Outcome, State
from tests.node_client import execute, line

any_text = st.text(st.characters(exclude_categories=[]))
"""Also with lone surrogates, which JSON can write as escapes."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
itineraries = st.lists(any_text | st.lists(any_text, max_size=3), max_size=5)
bodies = st.fixed_dictionaries(
    {"type": st.just("execute"), "saga_id": any_text | st.integers(), "steps": itineraries},
    optional={
        "msg_id": st.integers(),
        "fail_step": st.none() | any_text,
        "fail_compensation": st.none() | any_text,
        "style": st.sampled_from(["choreography", "orchestration"]),
        "in_reply_to": json_values,
        "unknown": json_values,
    },
)
fields = ["type", "saga_id", "steps", "msg_id", "fail_step", "fail_compensation", "style", "in_reply_to", "x"]
odd_bodies = st.dictionaries(st.sampled_from(fields), json_values | st.sampled_from(["execute", "init"]), max_size=6)
envelopes = st.fixed_dictionaries({"body": bodies}, optional={"src": any_text, "dest": any_text, "id": st.integers()})


def understood(body: dict[str, Any], src: str | None = None, dest: str | None = None) -> Message:
    """The message, built from plain values."""
    steps = tuple(tuple(step) if isinstance(step, list) else step for step in body["steps"])
    known = {name: value for name, value in body.items() if name not in ("type", "unknown")}
    return Message(Execute(**{**known, "steps": steps}), src, dest)


def care(message: object) -> Message:
    return decode_with_care(json.dumps(message).encode())


def taken(fast: Callable[[bytes], Message], data: bytes) -> Message | None:
    """Return the message from a fast decoder; None where the careful decoder must decide."""
    try:
        return fast(data)
    except DECODE_ERRORS:
        return None


def mistake(message: object) -> Malformed:
    """Return the error of a malformed message."""
    with pytest.raises(Malformed) as caught:
        care(message)
    return caught.value


@given(envelope=envelopes)
@settings(deadline=None)
def test_a_valid_message_is_understood_with_care(envelope: dict[str, Any]) -> None:
    """Strings that the fast decoder refuses, lone surrogates, are legal JSON too."""
    message = care(envelope)

    assert message == understood(envelope["body"], envelope.get("src"), envelope.get("dest"))


@given(message=envelopes | bodies | odd_bodies | st.fixed_dictionaries({"body": odd_bodies}), ascii_only=st.booleans())
@settings(deadline=None, max_examples=300)
def test_what_the_fast_decoders_take_is_the_same_with_care(message: Any, ascii_only: bool) -> None:
    """The fast path is a shorter way to the same place."""
    data = json.dumps(message, ensure_ascii=ascii_only).encode("utf-8", "replace")

    fast, bare = taken(decode, data), taken(decode_bare, data)

    assert fast is None or fast == decode_with_care(data)
    assert bare is None or bare == decode_with_care(data)
    assert fast is None or bare is None


FRAGMENTS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"',
    "\\",
    '"body":',
    '"type":"execute"',
    '"saga_id":1',
    '"steps":[]',
    '"x":',
]
FRAGMENTS += ["1", "-0", "01", "1.5", "1e9", "\\u00e9", "\\ud800", "é", "null", "true", "\t", " "]


BODY = '{"type":"execute","saga_id":1,"steps":["a"],"x":%s}'


@given(data=st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
@settings(deadline=None, max_examples=500)
def test_the_fast_decoders_take_no_other_json(data: str) -> None:
    """Neither a comma too many nor a wrong escape is overlooked, not even in a field that is ignored."""
    bare = (BODY % data).encode()
    message = b'{"body":' + bare + b"}"

    for fast in (taken(decode, message), taken(decode_bare, message)):
        assert fast is None or fast == decode_with_care(message)
    for fast in (taken(decode, bare), taken(decode_bare, bare)):
        assert fast is None or fast == decode_with_care(bare)


INNER = '{"type": "init", "node_id": "n"}'
HIDDEN_KEYS = {
    "plain": '"body"',
    "with an escape": r'"b\u006fdy"',
    "all escapes": r'"\u0062\u006F\u0064\u0079"',
}


@pytest.mark.parametrize("value", [INNER, "7", "null", '"body"', "[{}]"])
@pytest.mark.parametrize("key", HIDDEN_KEYS.values(), ids=list(HIDDEN_KEYS))
@pytest.mark.parametrize("fields", [[0, 1], [1, 0], [0, 1, 0], [1, 0, 1]])
def test_what_has_a_body_is_no_bare_body(fields: list[int], key: str, value: str) -> None:
    """For any spelling, place, number and value of the key."""
    own = '"type": "execute", "saga_id": 1, "steps": []'
    text = f"{{{', '.join((own, f'{key}: {value}')[field] for field in fields)}}}".encode()

    assert taken(decode_bare, text) is None
    fast = taken(decode, text)
    assert (fast == decode_with_care(text) == Message(Init("n"))) if value == INNER else fast is None


def test_a_field_of_a_body_that_is_called_body_is_ignored() -> None:
    """Like every unknown field, with the fast decoder and with the careful one."""
    message = {"body": {"type": "execute", "saga_id": 1, "steps": ["a"], "body": {"type": "init"}}}

    assert care(message) == Message(Execute(1, ("a",)))


@pytest.mark.parametrize("name", ["body", 'a"body"', "back\\slash", "line\nbreak", "café"])
def test_a_bare_body_is_taken_fast_whatever_its_names(name: str) -> None:
    """A value is no key, and an escape is no reason to look twice."""
    data = json.dumps({"type": "execute", "saga_id": name, "steps": [name]}).encode()

    assert decode_bare(data) == decode_with_care(data) == Message(Execute(name, (name,)))


def test_the_last_of_two_equal_keys_counts() -> None:
    """As in Python's JSON parser; both decoders agree."""
    twice = b'{"body":{"type":"execute","saga_id":1,"saga_id":2,"steps":["a"],"steps":[]}}'
    corrected = b'{"body":7,"body":{"type":7,"type":"execute","saga_id":1,"steps":7,"steps":[]}}'

    assert decode(twice) == decode_with_care(twice) == Message(Execute(2, ()))
    assert decode_with_care(corrected) == Message(Execute(1, ()))


def test_unknown_fields_are_ignored() -> None:
    """Any value, at any level, with an envelope and without."""
    odd = b'1e999, "y": ' + b"9" * 5000 + rb', "\ud800": "\ud800", "z": {"type": "init", "body": []}'
    body = b'{"type": "execute", "saga_id": 1, "steps": [], "x": ' + odd + b"}"

    in_envelope = decode_with_care(b'{"id": 3, "body": ' + body + b', "y": ' + odd + b"}")
    bare = decode_with_care(body)

    assert in_envelope == bare == Message(Execute(1, ()))


EXECUTE = {"type": "execute", "msg_id": 1, "saga_id": "s", "steps": ["a"]}
INIT = {"type": "init", "msg_id": 1, "node_id": "n1"}
VALUES = {
    "null": None,
    "true": True,
    "7": 7,
    "1.0": 1.0,
    '"text"': "text",
    "[7]": [7],
    '{"a": 7}': {"a": 7},
}
STRING, STRING_OR_NULL = "a string", "a string or null"
EXPECTED = {
    "saga_id": (EXECUTE, "a string or an integer", ['"text"', "7"]),
    "msg_id": (EXECUTE, "an integer", ["7"]),
    "fail_step": (EXECUTE, STRING_OR_NULL, ['"text"', "null"]),
    "fail_compensation": (EXECUTE, STRING_OR_NULL, ['"text"', "null"]),
    "style": (EXECUTE, '"choreography" or "orchestration"', []),
    "type": (EXECUTE, STRING, ['"text"']),
    "node_id": (INIT, STRING, ['"text"']),
}
WRONG_TYPES = [
    pytest.param(body, field, value, expected, shown, id=f"{field}={shown}")
    for field, (body, expected, right) in EXPECTED.items()
    for shown, value in VALUES.items()
    if shown not in right
]


@pytest.mark.parametrize(("body", "field", "value", "expected", "shown"), WRONG_TYPES)
def test_a_wrong_type_is_named(body: dict[str, Any], field: str, value: object, expected: str, shown: str) -> None:
    """The field, the expected and the received value; with an envelope and without."""
    wrong = body | {field: value}

    bare, in_envelope = mistake(wrong), mistake({"src": "c1", "dest": "n1", "body": wrong})

    assert str(bare) == str(in_envelope) == f"{field}: expected {expected}, got {shown}"
    assert bare.code == in_envelope.code == MALFORMED_REQUEST
    assert bare.msg_id == in_envelope.msg_id == (None if field == "msg_id" else 1)
    assert (bare.src, bare.dest) == (None, None)
    assert (in_envelope.src, in_envelope.dest) == ("c1", "n1")


@pytest.mark.parametrize("shown", [shown for shown in VALUES if shown != "[7]"])
def test_steps_of_a_wrong_type_are_named(shown: str) -> None:
    """Only an array holds steps."""
    error = mistake(EXECUTE | {"steps": VALUES[shown]})

    assert str(error) == f"steps: expected an array of step names, got {shown}"


@pytest.mark.parametrize("shown", [shown for shown in VALUES if shown not in ('"text"', "[7]")])
def test_a_step_of_a_wrong_type_is_named(shown: str) -> None:
    """With the place where it stands, on its own or in a group."""
    alone, in_group = (
        mistake(EXECUTE | {"steps": ["a", VALUES[shown]]}),
        mistake(EXECUTE | {"steps": ["a", ["b", VALUES[shown]]]}),
    )

    assert str(alone) == f"steps[1]: expected a string, got {shown}"
    assert str(in_group) == f"steps[1][1]: expected a string, got {shown}"


def test_a_group_in_a_group_is_refused() -> None:
    """Nesting ends at one level."""
    error = mistake(EXECUTE | {"steps": ["a", ["b", ["c"]]]})

    assert str(error) == 'steps[1][1]: expected a string, got ["c"]'
    assert error.code == MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (EXECUTE, "type", STRING),
        (EXECUTE, "saga_id", "a string or an integer"),
        (EXECUTE, "steps", "an array of step names"),
        (INIT, "node_id", STRING),
    ],
)
def test_a_missing_field_is_named(body: dict[str, Any], field: str, expected: str) -> None:
    """The received value is shown as missing."""
    error = mistake({name: value for name, value in body.items() if name != field})

    assert str(error) == f"{field}: expected {expected}, got nothing"
    assert error.code == MALFORMED_REQUEST
    assert error.msg_id == 1


@pytest.mark.parametrize("shown", VALUES)
def test_a_wrong_envelope_is_named(shown: str) -> None:
    """Its addresses are strings, its body is an object."""
    value = VALUES[shown]
    if not isinstance(value, str | None):
        assert str(mistake({"src": value, "body": EXECUTE})) == f"src: expected a string, got {shown}"
        assert str(mistake({"dest": value, "body": EXECUTE})) == f"dest: expected a string, got {shown}"
    if not isinstance(value, dict):
        assert str(mistake({"src": "c1", "body": value})) == f"body: expected an object, got {shown}"


def test_an_envelope_without_a_body_is_named() -> None:
    """It is not mistaken for a bare body, and can be answered."""
    error = mistake({"src": "c1", "dest": "n1"})

    assert str(error) == "body: expected an object, got nothing"
    assert (error.src, error.dest) == ("c1", "n1")


def test_an_unknown_type_is_not_supported() -> None:
    """The error names the types that are."""
    error = mistake({"body": {"type": "rollback", "msg_id": 4}})

    assert error.code == NOT_SUPPORTED
    assert str(error) == 'type: expected "execute", "init" or "status", got "rollback"'
    assert error.msg_id == 4


@pytest.mark.parametrize("shown", VALUES)
def test_json_that_is_no_object_is_no_message(shown: str) -> None:
    """And has neither number nor address."""
    value = VALUES[shown]
    if isinstance(value, dict):
        return

    error = mistake(value)

    assert str(error) == f"expected a message (a JSON object), got {shown}"
    assert not error.is_message
    assert error.msg_id is None


def test_numbers_beyond_measure_are_refused_where_they_matter() -> None:
    """Integers of up to 4300 digits, as many as Python reads, are echoed; longer ones are told by their length."""
    long, too_long = "9" * 4300, "9" * 4301
    body = '{"type": "execute", "saga_id": %s, "steps": []}'
    numbered = '{"type": "execute", "saga_id": 1, "steps": [], "msg_id": %s}'

    def said(text: str) -> str:
        with pytest.raises(Malformed) as caught:
            decode_with_care(text.encode())
        return str(caught.value)

    assert decode_with_care((body % long).encode()) == Message(Execute(int(long), ()))
    limit = "an integer of at most 4300 digits, got an integer of 4301 digits"
    assert said(body % too_long) == f"saga_id: expected a string or {limit}"
    assert said(body % f"-{too_long}") == f"saga_id: expected a string or {limit}"
    assert said(numbered % too_long) == f"msg_id: expected {limit}"
    assert said(numbered % "1e999") == "msg_id: expected an integer, got 1e999"
    assert said(numbered % "[-1e999]") == 'msg_id: expected an integer, got ["-1e999"]'


def test_a_lone_surrogate_is_a_string_like_any_other() -> None:
    """JSON can write it, so a message may have it wherever it may have a string."""
    odd = "\ud800"

    message = care(
        {"src": odd, "dest": odd, "body": EXECUTE | {"saga_id": odd, "steps": [odd, [odd]], "fail_step": odd}}
    )

    assert message.body == Execute(odd, (odd, (odd,)), 1, odd)
    assert str(mistake(EXECUTE | {"type": odd})) == r'type: expected "execute", "init" or "status", got "\ud800"'
    assert str(mistake(EXECUTE | {"style": odd})) == r'style: expected "choreography" or "orchestration", got "\ud800"'


def test_a_value_that_is_too_long_to_show_is_shortened() -> None:
    """An error stays a line that one can read."""
    error = str(mistake(EXECUTE | {"msg_id": ["x" * 1000]}))

    assert error.startswith('msg_id: expected an integer, got ["xxx')
    assert len(error) < 100


@pytest.mark.parametrize("field", [b"msg_id", b"unknown", b"in_reply_to", b"steps"])
def test_deep_nesting_never_raises_anything_else(field: bytes) -> None:
    """Whichever part of the work it is too deep for: to read it, to check it or to show it."""
    for depth in (*range(800, 1010), 100_000):
        deep = b"[" * depth + b"]" * depth
        data = b'{"type": "execute", "saga_id": 1, "steps": [], "' + field + b'": ' + deep + b"}"

        try:
            outcome = type(decode_with_care(data).body).__name__
        except Malformed as error:
            outcome = str(error)

        assert len(outcome) < 120


@given(data=st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_refused_or_understood(data: bytes) -> None:
    """Only `Malformed` is raised."""
    try:
        message = decode_with_care(data)
    except Malformed:
        return
    assert isinstance(message.body, Execute | Init)


def test_a_bare_body_is_told_from_an_envelope() -> None:
    """However its keys are written: `"b\\u006fdy"` is a body."""
    hidden = rb'{"type": "execute", "saga_id": 1, "steps": [], "b\u006fdy": {"type": "init", "node_id": "n"}}'

    assert decode_bare(line(EXECUTE)) == Message(Execute("s", ("a",), 1))
    assert taken(decode_bare, hidden) is None
    assert decode_with_care(hidden) == Message(Init("n"))


def test_a_line_looks_like_a_message_if_it_is_an_object_with_a_type_or_a_body() -> None:
    """Right or wrong in its fields; a part of a message, or other JSON, does not."""
    like = [
        line(EXECUTE),
        b"  " + line(execute(1)),
        b'{"type": 7}\r',
        b'{"body": {}}',
        b'{"type": ' + b"9" * 5000 + b"}",
    ]
    unlike = [
        b"",
        b"{",
        b"}",
        b'{"a": 1}',
        b'{"type": "execute"},',
        b'"type": {}',
        b'{"body": 7}',
        b'{"type": NaN}',
        b"[{}]",
    ]

    assert all(map(looks_like_message, like))
    assert not any(map(looks_like_message, unlike))


steps = st.lists(any_text, max_size=4)
outcomes = (
    st.builds(Outcome, st.just(State.COMPLETED), st.integers(0))
    | st.builds(Outcome, st.just(State.COMPENSATED), st.just(0), steps.map(tuple))
    | st.builds(Outcome, st.just(State.STUCK), st.just(0), steps.map(tuple), any_text)
)


@given(saga_id=any_text | st.integers(), msg_id=st.integers() | st.none(), outcome=outcomes)
@settings(deadline=None)
def test_a_reply_is_what_json_dumps_would_write(saga_id: str | int, msg_id: Any, outcome: Outcome) -> None:
    """Order of keys, spacing and escapes."""
    reply: dict[str, Any] = {"type": f"saga_{outcome.state}"}
    if msg_id is not None:
        reply["in_reply_to"] = msg_id
    reply |= {"saga_id": saga_id, "state": str(outcome.state)}
    if outcome.state is State.COMPLETED:
        reply["completed_steps"] = outcome.completed_steps
    else:
        reply["compensated_steps"] = list(outcome.compensated_steps)
    if outcome.state is State.STUCK:
        reply["stuck_step"] = outcome.stuck_step

    text = reply_text(saga_id, msg_id, outcome)

    assert text == json.dumps(reply)


@given(msg_id=st.integers(), text=any_text, src=any_text, dest=st.none() | any_text)
@settings(deadline=None)
def test_errors_and_envelopes_are_what_json_dumps_would_write(
    msg_id: int, text: str, src: str, dest: str | None
) -> None:
    """With a number to reply to and without, with a sender and without."""
    error = {"type": "error", "in_reply_to": msg_id, "code": 12, "text": text}
    unnumbered = {"type": "error", "code": 12, "text": text}

    assert error_text(msg_id, 12, text) == json.dumps(error)
    assert error_text(None, 12, text) == json.dumps(unnumbered)
    assert envelope_text(src, dest, "{}") == json.dumps({"src": src, "dest": dest, "body": {}})
    assert init_ok_text(msg_id) == json.dumps({"type": "init_ok", "in_reply_to": msg_id})
    assert init_ok_text(None) == json.dumps({"type": "init_ok"})

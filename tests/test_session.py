"""A session: every good message gets exactly its reply, in order, whatever stands between."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.node.messages import Malformed, Message
from choreo.node.reader import Reader
from choreo.node.session import MESSAGE_BYTES_MAX, Session
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.plan import STEPS_MAX
from choreo.saga.request import Request, Sender
from choreo.saga.service import Refused
from choreo.storage.sqlite.journal import Journal
from services.simulated import Simulated
from tests.node_client import EXAMPLES, Talk, errors_in, execute, expected_reply, line, replies_to

CASES = ["completed", "compensated"]
LAYOUTS = [{"indent": None}, {"indent": 0}, {"indent": 1}, {"indent": 2}, {"indent": 4}, {"separators": (",", ":")}]
GOOD = execute(7, "a", "b", "c", fail_step="c")
GOOD_REPLY = expected_reply(GOOD["body"])


def case(name: str) -> tuple[bytes, list[str]]:
    """A reference case as it is published, and its expected lines."""
    message = (EXAMPLES / f"{name}.input.json").read_bytes()
    expected = (EXAMPLES / f"{name}.expected.jsonl").read_text()
    return message, expected.splitlines()


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# The reference cases


@pytest.mark.parametrize("name", CASES)
def test_a_reference_case_is_answered_character_for_character(name: str) -> None:
    """As it is published, spread over several lines."""
    message, expected = case(name)

    assert Talk().all(message) == expected
    assert Talk().all(message.rstrip()) == expected


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_reference_case_is_answered_in_any_layout(name: str, layout: dict[str, Any]) -> None:
    """On a single line, and spread over as many as its writer likes."""
    message, expected = case(name)
    data = json.dumps(json.loads(message), **layout).encode()

    assert Talk().say(data + b"\n") == expected


def test_all_reference_cases_are_answered_one_after_the_other() -> None:
    """In one conversation, and in the order of the requests."""
    (first, first_reply), (second, second_reply) = map(case, CASES)

    assert Talk().all(first, second, first) == [*first_reply, *second_reply, *first_reply]


# Lines


@pytest.mark.parametrize(
    "disguise",
    [
        lambda data: data + b"\n",
        lambda data: data,
        lambda data: data + b"\r\n",
        lambda data: b"\n\r\n  \n" + data + b"\n\n\t\n",
        lambda data: b"\xef\xbb\xbf" + data + b"\n",
        lambda data: b"\xef\xbb\xbf\r\n" + data + b"\r\n",
        lambda data: b" \t" + data + b" \t\n",
        lambda data: data.replace(b" ", b"\n") + b"\n",
        lambda data: data.replace(b" ", b"\r\n\r\n") + b"\n",
        lambda data: b"\xef\xbb\xbf" + data.replace(b" ", b"\n  "),
    ],
    ids=["newline", "no newline", "CRLF", "blank lines", "BOM", "BOM CRLF", "blanks", "torn", "torn CRLF", "BOM torn"],
)
def test_a_message_is_understood_in_any_disguise(disguise: Callable[[bytes], bytes]) -> None:
    """Newlines, CRLF, blank lines, a byte order mark, a last line without a newline."""
    for message in (GOOD, GOOD["body"]):
        assert Talk().all(disguise(json.dumps(message).encode())) == [GOOD_REPLY]


@pytest.mark.parametrize("gap", [b"", b" ", b"\t", b"\r"])
def test_several_messages_on_one_line_are_answered_in_order(gap: bytes) -> None:
    """Also without a separator."""
    messages = [execute(number, *"abc"[:number]) for number in range(4)]

    replies = Talk().all(gap.join(json.dumps(message).encode() for message in messages))

    assert replies == [expected_reply(message["body"]) for message in messages]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_message_may_come_byte_by_byte(indent: int | None) -> None:
    """And is answered with its last byte, or the newline behind it."""
    data = json.dumps(GOOD, indent=indent).encode() + b"\n"

    replies = [Talk().all(*in_chunks(data * 2, size)) for size in (1, 2, 3, 7, len(data) - 1)]

    assert replies == [[GOOD_REPLY, GOOD_REPLY]] * 5


def test_a_message_is_answered_as_soon_as_it_is_complete() -> None:
    """Also without a newline, since its sender may wait for the reply before it writes more."""
    single, pretty = json.dumps(GOOD).encode(), json.dumps(GOOD, indent=2).encode()
    talk = Talk()

    assert talk.say(single) == [GOOD_REPLY]
    assert talk.say(b"\n" + single) == [GOOD_REPLY]
    assert talk.say(single) == [GOOD_REPLY]
    assert talk.say(b"\n" + pretty) == [GOOD_REPLY]
    assert talk.say(b"\n" + line(GOOD)) == [GOOD_REPLY]
    assert talk.end() == []


def test_a_byte_order_mark_in_the_middle_of_a_line_is_a_mistake() -> None:
    """Also where the text before it was answered already."""
    data = line(GOOD).strip(), b"\xef\xbb\xbf" + line(GOOD)

    assert len(Talk().all(*data)) == len(Talk().all(b"".join(data))) == 3


def test_an_empty_input_has_no_replies() -> None:
    """Nor has one of blanks."""
    assert Talk().all() == []
    assert Talk().all(b"") == []
    assert Talk().all(b" \r\n\t\n\n ") == []
    assert Talk().all(b"\xef\xbb\xbf") == []


# One bad message never harms the next

WRONG = execute(7, "a", "b", saga_id=None)
BAD = [
    b"hello",
    b"\0\0",
    b"\xff",
    b'{"src": "a", "body": {"type": "execute", "saga_id": "\xff", "steps": []}}',
    b'{"type": "execute", "saga_id": "s", "steps": [], "x": "\xff"}',
    b'{"body": {"type": "execute", "saga_id": "s", "steps": [], "\xc0\x80": 1}}',
    b"}",
    b"]",
    b",",
    b'"',
    b"\\",
    b"NaN",
    b"7",
    b"null",
    b'"text"',
    b"[]",
    b"[1, 2]",
    b"{}",
    b"{'type': 'execute'}",
    b'{"type": "execute"',
    b'{"type": "execute", "msg_id": "s", "steps": ["a", "b"',
    b'{"src": "a", "body":',
    b'{"src": "a", "body": {"type": "execute", "steps": [',
    b'{"src": "a", "body": {"type": "exe',
    b'{"type": "execute", "saga_id": oops, "steps": []}',
    b'{"type": "execute", "saga_id": NaN, "steps": []}',
    b'{"type": "execute", "saga_id": "s", "steps": [7]}',
    b'{"type": "rollback"}',
    b'{"type": null}',
    b'{"body": 7}',
    b"{" * 2000,
    b"[" * 2000 + b"]" * 2000,
    json.dumps(WRONG, indent=2).encode(),
    json.dumps(WRONG, indent=2).encode()[:-1],
    json.dumps(WRONG, indent=2).encode()[:60],
    json.dumps(GOOD, indent=2).encode().replace(b"7", b"07"),
    json.dumps(WRONG, indent=0).encode()[:40],
    json.dumps(GOOD, indent=0).encode().replace(b"7", b"seven"),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_gets_one_error_and_the_next_its_reply(bad: bytes) -> None:
    """Not ten errors, not a silent drop."""
    for good in (line(GOOD), json.dumps(GOOD, indent=2).encode() + b"\n"):
        before, error, after = Talk().all(good + bad + b"\n" + good)

        assert (before, after) == (GOOD_REPLY, GOOD_REPLY)
        assert json.loads(error)["code"] in (10, 12)


names = st.text(st.characters(exclude_categories=[]), max_size=4)
chains = st.lists(names | st.sampled_from("abc"), max_size=5)


@st.composite
def good_messages(draw: st.DrawFn) -> dict[str, Any]:
    """A good message about a chain of steps."""
    steps = draw(chains)
    body: dict[str, Any] = {"type": "execute", "saga_id": draw(names | st.integers()), "steps": steps}
    for field, values in {
        "msg_id": st.integers(),
        "fail_step": st.none() | names | st.sampled_from([*steps, "a"]),
        "fail_compensation": st.none() | st.sampled_from([*steps, "a"]),
        "style": st.sampled_from(["choreography", "orchestration"]),
        "x": st.integers() | names,
    }.items():
        if draw(st.booleans()):
            body[field] = draw(values)
    return draw(st.sampled_from([body, {"body": body}, {"src": "c1", "dest": "n1", "id": 3, "body": body}]))


def body_of(message: dict[str, Any]) -> dict[str, Any]:
    return message.get("body", message)


@given(
    stretches=st.lists(
        good_messages()
        | st.sampled_from(BAD)
        | st.binary(max_size=20)
        | st.binary(max_size=20).map(lambda data: b"{" + data),
        max_size=12,
    ),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_each_good_message_gets_exactly_its_reply(stretches: list[Any], sizes: list[int]) -> None:
    """In order, on a line of its own, with any text on the lines between, and in chunks of any size."""
    data = b"".join(line(stretch) if isinstance(stretch, dict) else stretch + b"\n" for stretch in stretches)
    expected = [expected_reply(body_of(stretch)) for stretch in stretches if isinstance(stretch, dict)]
    chunks: list[bytes] = []
    at = 0
    while at < len(data):
        chunks.append(data[at : at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])

    replies = Talk().all(*chunks)

    assert [reply for reply in replies if not reply.startswith('{"type": "error"')] == expected
    assert replies == Talk().all(data)


FRAGMENTS = [
    *b'{}[],:" \n\\',
    b"\n\n",
    b"\r\n",
    b"  ",
    b'"a"',
    b'"body":',
    b"true",
    b"tru",
    b"1.",
    b"-",
    b"oops",
    b"\xff",
    b"\0",
]
FRAGMENTS += [
    b"{}",
    b'{"a": 1}',
    b'{"type": "x"}',
    b"\xef\xbb\xbf",
    "é".encode(),
    line(GOOD),
    line(GOOD["body"]).strip(),
]
FRAGMENTS += [json.dumps(GOOD, indent=2).encode(), json.dumps(GOOD, indent=0).encode() + b"\n"]
fragments = st.sampled_from([bytes([part]) if isinstance(part, int) else part for part in FRAGMENTS])


@given(data=st.lists(fragments, max_size=16).map(b"".join), size=st.integers(1, 80))
@settings(deadline=None, max_examples=300)
def test_chunks_change_nothing(data: bytes, size: int) -> None:
    """Good or bad, the input has the same replies, to the character, however it is cut."""
    assert Talk().all(*in_chunks(data, size)) == Talk().all(data)


@given(data=st.binary(max_size=200), more=st.binary(max_size=50), limit=st.integers(1, 400))
@settings(deadline=None, max_examples=300)
def test_random_bytes_never_raise_and_harm_no_good_line(data: bytes, more: bytes, limit: int) -> None:
    """For every limit, and with or without an unfinished line."""
    small = {"type": "execute", "saga_id": 1, "steps": []}
    talk = Talk(message_bytes_max=max(limit, len(line(small))))

    talk.say(data)
    talk.say(more)
    talk.say(b"\n")
    replies = talk.say(line(small))

    assert replies[-1] == expected_reply(small)


@pytest.mark.parametrize("cut", range(1, len(json.dumps(GOOD))))
def test_a_message_cut_off_anywhere_costs_one_error(cut: int) -> None:
    """The line behind it is answered at once."""
    talk = Talk()
    text = json.dumps(GOOD).encode()

    *errors, reply = talk.say(text[:cut] + b"\n" + line(GOOD))

    assert reply == GOOD_REPLY
    assert len(errors) == 1


def test_a_good_message_behind_a_bad_one_on_the_same_line_is_answered() -> None:
    """The bad one ends where its brackets do."""
    data = b'hello {"a": [1, }, {"type": oops} ' + line(GOOD)

    assert Talk().all(data)[-1] == GOOD_REPLY
    assert len(Talk().all(data)) == 4


def test_a_line_that_is_a_message_ends_what_is_unfinished() -> None:
    """Be it right or wrong in its fields, in an envelope or bare; other JSON may belong to the unfinished message."""
    unfinished = b'{"src": "a", "x": [\n'

    for message in (GOOD, GOOD["body"]):
        assert Talk().say(unfinished + line(message))[1:] == [GOOD_REPLY]
    assert [json.loads(reply)["code"] for reply in Talk().say(unfinished + b'{"type": "rollback"}\n')] == [12, 10]
    assert Talk().say(unfinished + b'{"y": 1}\n') == []


def test_a_part_of_a_message_that_was_cut_off_is_no_message() -> None:
    """Not even where it is complete, and begins in column one."""
    message = json.dumps({"x": [{"a": 1}, {"b": 2}]}, indent=0).encode()
    cut_off = message[: message.index(b"2\n}") + 3]

    error, reply = Talk().all(cut_off + b"\n" + line(GOOD))

    assert json.loads(error)["text"].startswith("the message is not complete")
    assert reply == GOOD_REPLY


# Size


def of_size(size: int, **fields: object) -> bytes:
    """A good message of that many bytes."""
    message = execute(1, "a", pad="", **fields)
    message["body"]["pad"] = "x" * (size - len(json.dumps(message)))
    return json.dumps(message).encode()


LIMIT = 8 * 1024 * 1024


@pytest.mark.parametrize("chunk_bytes", [64 * 1024, 32 * LIMIT])
def test_a_message_of_eight_mebibytes_is_answered_and_a_larger_one_refused(chunk_bytes: int) -> None:
    """It is refused with one error, and the next message is fine."""
    just_fits, too_large = of_size(LIMIT), of_size(LIMIT + 1)
    data = just_fits + b"\n" + too_large + b"\n" + line(GOOD)

    first, error, last = Talk().all(*in_chunks(data, chunk_bytes))

    assert first == expected_reply(execute(1, "a")["body"])
    assert json.loads(error) == {
        "type": "error",
        "code": 12,
        "text": f"expected a message of at most {LIMIT} bytes, got a larger one",
    }
    assert last == GOOD_REPLY


@given(
    sizes=st.lists(st.integers(180, 420), max_size=8),
    gaps=st.lists(st.sampled_from([b"", b" ", b"\n", b" " * 500, b"\n" * 500, b"\r\n"]), min_size=8, max_size=8),
    chunk_bytes=st.integers(1, 1000),
    indent=st.sampled_from([None, 2]),
)
@settings(deadline=None)
def test_the_limit_is_one_of_messages(
    sizes: list[int], gaps: list[bytes], chunk_bytes: int, indent: int | None
) -> None:
    """Not of lines, nor of chunks, nor of the blanks between messages; also where it is smaller than a chunk."""
    limit = 300
    texts = [json.dumps(json.loads(of_size(size)), indent=indent).encode() for size in sizes]
    data = b"".join(text + gap for text, gap in zip(texts, gaps, strict=False))

    replies = [json.loads(reply) for reply in Talk(message_bytes_max=limit).all(*in_chunks(data, chunk_bytes))]

    expected = ["saga_completed" if len(text) <= limit else "error" for text in texts]
    assert [reply["type"] for reply in replies] == expected


def test_what_was_too_large_is_not_patched_together() -> None:
    """The beginning of a message and the text after an oversized line never become one message."""
    begin, rest = b'{"body": {"type": "execute", "saga_id": 1,\n', b'"steps": []}}\n'

    replies = [
        json.loads(reply) for reply in Talk(message_bytes_max=100).all(begin, b'"x": "' + b"y" * 200, b'",\n', rest)
    ]

    assert [reply["type"] for reply in replies] == ["error"]


def test_many_tiny_lines_can_be_one_message() -> None:
    """One token a line, 100,000 lines."""
    body: dict[str, Any] = {"type": "execute", "saga_id": 1, "steps": [], "x": [1] * 100_000}

    assert Talk().all(json.dumps(body, indent=0).encode()) == [expected_reply(body)]


HOSTILE = [
    b'{"type":1}\n',
    b'{"type":1',
    b"{}",
    b"{}\n",
    b"{",
    b"\n",
    b"a\n",
    b"\xff\n",
    b'{"body":{"type":"x"}}{"a":\n',
    b'{"a":[\n{"type":"x"}\n',
]


@pytest.mark.slow
@pytest.mark.parametrize("pattern", HOSTILE)
@pytest.mark.parametrize("limit", [100, LIMIT])
def test_hostile_input_is_worked_off(pattern: bytes, limit: int) -> None:
    """Half a megabyte of it; the good message behind it is answered."""
    data = pattern * (500_000 // (len(pattern) * (10 if b"\n" in pattern else 1)))
    talk = Talk(message_bytes_max=limit)

    for chunk in in_chunks(data, 64 * 1024):
        talk.say(chunk)
    replies = talk.say(b'\n{"type": "execute", "saga_id": 1, "steps": []}\n')

    assert replies[-1] == expected_reply({"saga_id": 1, "steps": []})


# Replies


@given(message=good_messages())
@settings(deadline=None)
def test_the_fast_path_and_the_careful_one_give_the_same_reply(message: dict[str, Any]) -> None:
    """A message on a line of its own, the same one torn, and the same one behind a byte order mark."""
    single, torn = line(message), json.dumps(message, indent=1).encode()

    replies = [*Talk().all(single), *Talk().all(torn), *Talk().all(b"\xef\xbb\xbf" + single)]

    assert replies == [expected_reply(body_of(message))] * 3


class Careful(Reader):
    """Notes the messages, and the lines that the fast path does not take."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refused: list[Malformed] = []
        super().__init__(self.messages.append, self.refused.append, MESSAGE_BYTES_MAX)
        self.lines: list[bytes] = []

    def _handle_with_care(self, line: bytes) -> None:
        self.lines.append(line)
        super()._handle_with_care(line)


def test_both_forms_of_a_message_take_the_fast_path() -> None:
    """Only a line in another form than the one before it is looked at again."""
    envelope, bare = line(GOOD), line(GOOD["body"])
    reader = Careful()

    reader.feed(envelope * 3 + bare * 3 + envelope * 3)

    assert [message.src for message in reader.messages] == [*[GOOD["src"]] * 3, *[None] * 3, *[GOOD["src"]] * 3]
    assert reader.refused == []
    assert [each + b"\n" for each in reader.lines] == [bare, envelope]


def test_a_name_that_is_not_among_the_steps_fails_nothing() -> None:
    """Nor does null."""
    for fail_step in ("z", "", None):
        (reply,) = replies_to(line(execute(1, "a", "b", fail_step=fail_step)))

        assert reply["state"] == "completed"


def test_a_name_may_come_twice() -> None:
    """The first of that name is the one that fails."""
    (reply,) = replies_to(line(execute(1, "a", "b", "a", "b", fail_step="b")))

    assert reply["compensated_steps"] == ["a"]


def test_groups_count_each_of_their_steps() -> None:
    """An empty group counts no step."""
    (reply,) = replies_to(line(execute(1, "a", ["b", "c"], [], "d")))

    assert reply["completed_steps"] == 4


# Envelope


def wrapped(replies: list[dict[str, Any]]) -> list[tuple[Any, Any, Any]]:
    return [(reply["src"], reply["dest"], reply["body"]["type"]) for reply in replies]


INIT = {"src": "c0", "dest": "n1", "id": 0, "body": {"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]}}


def test_the_handshake_switches_the_envelope_on() -> None:
    """Requests before the handshake are answered without an envelope."""
    before, *replies = replies_to(line(GOOD) + line(INIT) + line(GOOD))

    assert before["type"] == "saga_compensated"
    assert replies == [
        {"src": "n1", "dest": "c0", "body": {"type": "init_ok", "in_reply_to": 1}},
        {"src": "n1", "dest": "orchestrator", "body": json.loads(GOOD_REPLY)},
    ]


def test_a_bare_handshake_is_answered_bare() -> None:
    """The handshake has no address; from then on the envelope is on."""
    init_ok, reply = replies_to(line(INIT["body"]) + line(GOOD))

    assert init_ok == {"type": "init_ok", "in_reply_to": 1}
    assert wrapped([reply]) == [("n1", "orchestrator", "saga_compensated")]


def test_the_envelope_can_be_on_from_the_start() -> None:
    """Until a handshake names us, we are who the sender says; a bare body has no sender to reply to."""
    replies = replies_to(line(GOOD) + line(GOOD["body"]) + line(INIT) + line(GOOD), envelope=True)

    assert wrapped(replies) == [
        ("saga", "orchestrator", "saga_compensated"),
        ("choreo", None, "saga_compensated"),
        ("n1", "c0", "init_ok"),
        ("n1", "orchestrator", "saga_compensated"),
    ]


def test_an_envelope_is_written_as_json_dumps_would() -> None:
    """Order of keys, spacing and escapes."""
    message = {"src": "é", "dest": '"', "body": GOOD["body"]}

    (reply,) = Talk(envelope=True).all(line(message))

    assert reply == json.dumps({"src": '"', "dest": "é", "body": json.loads(GOOD_REPLY)})


def test_a_reply_is_not_replied_to() -> None:
    """Two nodes would never end; without the envelope the field is one that we do not know."""
    good = GOOD["body"] | {"in_reply_to": 3}
    data = b"".join(
        line({"src": "c1", "dest": "n1", "body": body})
        for body in (
            good,
            {"type": "echo_ok", "in_reply_to": 3},
            {"type": "execute", "in_reply_to": None},
            {"in_reply_to": 1},
        )
    )

    talk = Talk(envelope=True)

    assert talk.all(data) == []
    assert talk.logged == []
    assert Talk().all(line(good)) == [GOOD_REPLY]
    assert len(Talk().all(data)) == 4


@pytest.mark.parametrize("identifier", [7, -1, "seven", None, [7]])
def test_a_message_id_of_the_network_is_ignored(identifier: object) -> None:
    """Maelstrom numbers its messages."""
    (reply,) = Talk().all(line({"id": identifier, **GOOD}))

    assert reply == GOOD_REPLY


def test_text_that_has_no_address_is_logged_where_replies_have_one() -> None:
    """Only messages go to the network."""
    talk = Talk(envelope=True)

    replies = talk.all(b"hello\n", b"[7]\n", b"\xff\n", b"{}\n", b'{"type": "exe\n', line(GOOD), b'{"src": "c1",')

    assert wrapped(list(map(json.loads, replies))) == [("saga", "orchestrator", "saga_compensated")]
    assert len(talk.logged) == 6
    assert talk.logged[0] == "expected a JSON value, got 'hello'"


def test_a_mistake_in_a_message_is_answered_to_its_sender() -> None:
    """As far as the message says who that is."""
    replies = replies_to(
        line({"src": "c1", "dest": "n1", "body": {"type": "execute", "msg_id": 4}}),
        line({"src": "c1", "dest": "n1", "body": {"type": "rollback", "msg_id": 5}}),
        line({"src": "c1", "dest": "n1", "body": 7}),
        line({"src": 7, "dest": "n1", "body": {"type": "execute", "msg_id": 6}}),
        line({"type": "execute", "msg_id": 8}),
        envelope=True,
    )

    assert [(reply["dest"], reply["body"].get("in_reply_to"), reply["body"]["code"]) for reply in replies] == [
        ("c1", 4, 12),
        ("c1", 5, 10),
        ("c1", None, 12),
        (None, 6, 12),
        (None, 8, 12),
    ]


def test_a_wrong_handshake_changes_nothing() -> None:
    """Its mistake is answered, and the next message as before."""
    data = line({"type": "init", "msg_id": 1}) + line({"type": "init", "msg_id": 2, "node_id": 7}) + line(GOOD)

    *errors, reply = Talk().all(data)

    assert [json.loads(error)["text"] for error in errors] == [
        "node_id: expected a string, got nothing",
        "node_id: expected a string, got 7",
    ]
    assert reply == GOOD_REPLY


# Errors


def test_an_error_is_written_as_json_dumps_would() -> None:
    """The example of the contract, character for character."""
    (reply,) = Talk().all(line(execute(1, "a", 7)))

    assert reply == '{"type": "error", "in_reply_to": 1, "code": 12, "text": "steps[1]: expected a string, got 7"}'


class Broken:
    """A service that raises; without `has_undo` its compensation refuses as well."""

    def __init__(self, has_undo: bool) -> None:
        self.has_undo = has_undo

    def execute(self, reference: str) -> object:
        return 1 // 0

    def compensate(self, reference: str, receipt: object) -> None:
        if not self.has_undo:
            raise Refused("nobody has written it")


class Held:
    """Counts the retained objects."""

    def __init__(self) -> None:
        self.held = 0

    def execute(self, reference: str) -> None:
        self.held += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.held -= 1


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_an_exception_of_a_service_does_not_hide_the_outcome(style: str) -> None:
    """The step in doubt is undone, and named with its exception; the next message is fine."""
    held, broken = Held(), Broken(has_undo=True)
    talk = Talk(runner=InProcessRunner(lambda step: broken if step == "broken" else held))

    compensated, reply = talk.all(line(execute(1, "a", "b", "broken", style=style)), line(execute(2, "a")))

    assert compensated == (
        '{"type": "saga_compensated", "in_reply_to": 1, "saga_id": "booking-1", "state": "compensated", '
        '"compensated_steps": ["b", "a"], "in_doubt_steps": ["broken"], "failed_step": "broken", '
        '"reason": "ZeroDivisionError: integer division or modulo by zero"}'
    )
    assert reply == expected_reply(execute(2, "a")["body"])
    assert held.held == 1


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_what_is_in_doubt_and_cannot_be_undone_is_answered_as_stuck(style: str) -> None:
    """The reply never says that the step was compensated."""
    held, broken = Held(), Broken(has_undo=False)
    talk = Talk(runner=InProcessRunner(lambda step: broken if step == "broken" else held))

    (stuck,) = talk.all(line(execute(1, "a", "broken", style=style)))

    assert json.loads(stuck) == {
        "type": "saga_stuck",
        "in_reply_to": 1,
        "saga_id": "booking-1",
        "state": "stuck",
        "compensated_steps": [],
        "stuck_step": "broken",
        "in_doubt_steps": ["broken"],
        "failed_step": "broken",
        "reason": "ZeroDivisionError: integer division or modulo by zero; it may have taken effect, and its "
        "compensation failed: nobody has written it",
    }


class BrokenUndo(Held):
    """A service whose compensation raises."""

    def compensate(self, reference: str, receipt: object) -> None:
        raise NotImplementedError("later")


def test_an_exception_of_a_compensation_is_told_beside_the_outcome() -> None:
    """It is in force, and in no doubt."""
    held, broken = Held(), BrokenUndo()
    talk = Talk(runner=InProcessRunner(lambda step: broken if step == "broken" else held))

    (stuck,) = talk.all(line(execute(1, "a", "broken", "b", fail_step="b")))

    assert json.loads(stuck) == {
        "type": "saga_stuck",
        "in_reply_to": 1,
        "saga_id": "booking-1",
        "state": "stuck",
        "compensated_steps": [],
        "stuck_step": "broken",
        "failed_step": "broken",
        "reason": "NotImplementedError: later",
    }


def test_a_defect_of_choreo_itself_is_answered_and_logged() -> None:
    """No service is found here; the log has the traceback, since no event can carry it."""

    def nobody(step: str) -> Held:
        raise LookupError(step)

    talk = Talk(runner=InProcessRunner(nobody))

    crash, reply = talk.all(line(execute(1, "a")), line(execute(2)))

    assert json.loads(crash) == {"type": "error", "in_reply_to": 1, "code": 13, "text": "LookupError: a"}
    assert reply == expected_reply(execute(2)["body"])
    assert "Traceback" in talk.logged[0]


def test_a_saga_that_is_too_large_is_refused() -> None:
    """In steps, and in dependencies between groups; the next message is fine."""
    steps = line(execute(1, *["a"] * (STEPS_MAX + 1)))
    group = ["a"] * 1000
    dependencies = line(execute(2, group, group))

    first, second, third = replies_to(steps, dependencies, line(GOOD))

    assert (first["code"], first["in_reply_to"]) == (12, 1)
    assert first["text"] == f"steps: expected at most {STEPS_MAX} steps, got {STEPS_MAX + 1}"
    assert (second["code"], second["in_reply_to"]) == (12, 2)
    assert "dependencies between groups" in second["text"]
    assert third["type"] == "saga_compensated"


def test_an_error_is_shown_to_whoever_watches_the_replies() -> None:
    """Errors have no number to reply to where none came."""
    replies = replies_to(b"hello\n", b"{}\n", b'{"type": "execute", "msg_id": "one"}\n')

    assert [reply.get("in_reply_to") for reply in errors_in(replies)] == [None, None, None]


# --- with a journal ---------------------------------------------------------------------------------------------------


class Journaled(Talk):
    """Session with a journal; recovers the runs of an earlier session on the same file first."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.journal = Journal.open(str(path))
        service = Simulated()
        super().__init__(durable=DurableRunner(lambda step: service, self.journal, lambda: 0), **options)

    def recover(self) -> list[str]:
        return b"".join(self._session.recover()).decode("ascii").splitlines()


def test_with_a_journal_replies_are_the_same_and_in_the_same_order(tmp_path: Path) -> None:
    """For any requests, good or bad, in one piece: runs are concurrent, replies come in order."""
    mix = [
        execute(1, "a", "b"),
        execute(2, "a", "b", fail_step="b"),
        {"type": "unheard"},
        execute(3, "a", "b", "c", fail_step="c", fail_compensation="a", style="orchestration"),
        execute(4, 7),
        execute(5),
        {"src": "c1", "body": {"type": "init", "msg_id": 6, "node_id": "n1", "node_ids": []}},
        execute(7, ["a", "b"], "c", fail_step="c"),
    ]
    data = b"".join(map(line, mix))

    assert Journaled(tmp_path / "sagas.db").all(data) == Talk().all(data)


def test_a_request_that_is_made_again_has_the_same_reply(tmp_path: Path) -> None:
    """In the same piece of input, later, and after a restart: byte for byte; another message id gets its own."""
    request = line(execute(1, "a", "b", fail_step="b"))
    talk = Journaled(tmp_path / "sagas.db")

    first, second = talk.say(request + request)
    (third,) = talk.say(request)
    talk.journal.close()
    later = Journaled(tmp_path / "sagas.db")
    (fourth,) = later.say(request)
    (renumbered,) = later.say(request.replace(b'"msg_id": 1', b'"msg_id": 99'))

    assert first == second == third == fourth == expected_reply(execute(1, "a", "b", fail_step="b")["body"])
    assert json.loads(renumbered) == json.loads(first) | {"in_reply_to": 99}


def test_a_saga_with_other_content_gets_code_22(tmp_path: Path) -> None:
    """The text names the recorded and the received content."""
    talk = Journaled(tmp_path / "sagas.db")
    talk.say(line(execute(1, "a", "b")))

    (reply,) = talk.say(line({"type": "execute", "msg_id": 2, "saga_id": "booking-1", "steps": ["a", "c"]}))

    assert json.loads(reply) == {
        "type": "error",
        "in_reply_to": 2,
        "code": 22,
        "text": 'saga_id: "booking-1" is recorded with steps ["a", "b"]; expected the same, got steps ["a", "c"]',
    }


def test_status_tells_what_became_of_a_saga(tmp_path: Path) -> None:
    """Of each kind of outcome, in order, and of an unknown saga."""
    talk = Journaled(tmp_path / "sagas.db")
    requests = [
        execute(1, "a"),
        execute(2, "a", "b", fail_step="b"),
        execute(3, "a", "b", fail_step="b", fail_compensation="a"),
    ]
    questions = [{"type": "status", "msg_id": 10 + n, "saga_id": f"booking-{n}"} for n in (1, 2, 3, 4)]

    at_once = talk.say(b"".join(map(line, [*requests, *questions])))[3:]
    afterwards = talk.say(b"".join(map(line, questions)))

    assert at_once == afterwards
    states = [json.loads(reply) for reply in at_once]
    assert states[0] == {
        "type": "saga_status", "in_reply_to": 11, "saga_id": "booking-1", "state": "completed", "completed_steps": 1
    }  # fmt: skip
    assert (states[1]["state"], states[1]["compensated_steps"]) == ("compensated", ["a"])
    assert (states[2]["state"], states[2]["stuck_step"]) == ("stuck", "a")
    assert (states[3]["code"], states[3]["text"]) == (
        20, 'saga_id: expected a saga that was executed here, got "booking-4"'
    )  # fmt: skip


def test_without_a_journal_there_is_no_status() -> None:
    """A node without a memory says so."""
    (reply,) = replies_to(line({"type": "status", "msg_id": 1, "saga_id": "booking-1"}))

    assert (reply["code"], reply["in_reply_to"]) == (10, 1)
    assert "expected a node with a journal (--journal FILE)" in reply["text"]


def test_what_an_earlier_node_had_begun_is_answered_first(tmp_path: Path) -> None:
    """In the form in which the earlier node would have answered: its envelope, its name."""
    path = tmp_path / "sagas.db"
    journal = Journal.open(str(path))
    service = Simulated()
    runner = DurableRunner(lambda step: service, journal, lambda: 0)
    runner.begin(Request("booking-1", ("a",)), Sender("c1", 7, "n1"))
    runner.begin(Request("booking-2", ("a",)), Sender(None, None, None))
    runner.commit()
    journal.close()

    assert Journaled(path).recover() == [
        '{"src": "n1", "dest": "c1", "body": {"type": "saga_completed", "in_reply_to": 7, "saga_id": "booking-1", '
        '"state": "completed", "completed_steps": 1}}',
        '{"type": "saga_completed", "saga_id": "booking-2", "state": "completed", "completed_steps": 1}',
    ]


def test_the_replies_to_what_was_recovered_together_come_in_one_piece(tmp_path: Path) -> None:
    """A client that stops after a piece has lost no reply of it: the runs behind them have all ended."""
    path = tmp_path / "sagas.db"
    journal = Journal.open(str(path))
    service = Simulated()
    runner = DurableRunner(lambda step: service, journal, lambda: 0)
    for number in range(5):
        runner.begin(Request(number, ("a",)), Sender(None, number, None))
    runner.commit()
    journal.close()

    later = DurableRunner(lambda step: service, Journal.open(str(path)), lambda: 0)
    piece = next(Session(later, print, durable=later).recover())

    assert [json.loads(reply)["in_reply_to"] for reply in piece.splitlines()] == list(range(5))

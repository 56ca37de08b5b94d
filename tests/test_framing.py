"""Framing: every JSON value is found, whatever text surrounds it."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.node.framing import Frame, Framer, Text, Unreadable

LIMIT = 1 << 20

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)
indents = st.sampled_from([None, 0, 1, 2, 4, "\t"])


def frames(*lines: bytes, limit: int = LIMIT) -> list[Frame]:
    """Return the frames of the whole input."""
    framer = Framer(limit)
    found = [frame for line in lines for frame in framer.feed(line)]
    return [*found, *framer.give_up()]


def split(data: str | bytes) -> list[bytes]:
    data = data.encode() if isinstance(data, str) else data
    return [line + b"\n" for line in data.split(b"\n")]


def shape(found: Iterable[Frame]) -> list[Any]:
    """The values, and an ellipsis for each unreadable stretch."""
    return [json.loads(frame.data) if isinstance(frame, Text) else ... for frame in found]


@given(values=st.lists(st.tuples(json_objects, indents), max_size=5))
@settings(deadline=None)
def test_values_are_found_in_any_layout(values: list[tuple[Any, Any]]) -> None:
    """One after the other, each spread over as many lines as its writer liked."""
    layout = "\n".join(json.dumps(value, indent=indent) for value, indent in values)

    found = frames(*split(layout))

    assert shape(found) == [value for value, _ in values]


@given(value=json_objects, data=st.data())
@settings(deadline=None)
def test_a_value_may_be_broken_at_any_whitespace(value: Any, data: st.DataObject) -> None:
    """Between any two tokens there may be a newline, blanks, or blank lines."""
    words = json.dumps(value, indent=0).split("\n")
    gaps = st.sampled_from(["", " ", "\n", "\r\n", "\n\n", " \t\n "])
    layout = "".join(word + data.draw(gaps) for word in words)

    found = frames(*split(layout))

    assert shape(found) == [value]


@given(values=st.lists(json_objects, max_size=6), gap=st.sampled_from(["", " ", "\t \t"]))
@settings(deadline=None)
def test_several_values_on_one_line_are_all_found(values: list[Any], gap: str) -> None:
    """No separator is required between values."""
    layout = gap.join(map(json.dumps, values))

    found = frames(*split(layout))

    assert shape(found) == values


@given(values=st.lists(json_objects, min_size=1, max_size=6), data=st.data())
@settings(deadline=None)
def test_a_long_line_may_come_in_any_pieces(values: list[Any], data: st.DataObject) -> None:
    """Even if a piece ends in the middle of a string or a number."""
    line = " ".join(json.dumps(value, ensure_ascii=False) for value in values).encode() + b"\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(line) - 1), max_size=12)))
    pieces = [line[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(line)], strict=True)]

    found = frames(*pieces)

    assert shape(found) == values


@given(value=json_objects, indent=indents, data=st.data())
@settings(deadline=None)
def test_what_is_cut_off_is_unreadable_and_the_next_value_is_found(
    value: Any, indent: Any, data: st.DataObject
) -> None:
    """Wherever a message ends too early, the next one, which begins in column one, is found."""
    text = json.dumps({"a": value}, indent=indent).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    good = {"type": "execute", "body": {"steps": ["a", ["b"]]}}

    found = shape(frames(*split(text[:cut]), *split(json.dumps(good, indent=2)), *split(json.dumps(good, indent=2))))

    assert found[0] is ...
    assert found[-2:] == [good, good]


GOOD = b'{"good": [1, {"x": "}"}]}'

ONE_MISTAKE = {
    "a word": b"hello",
    "several words": b"hello, world: how {is it",
    "a word and brackets": b"hello } ] }",
    "a Python dict": b"{'type': 'execute', 'steps': ['a', 'b']}",
    "keys without quotes": b'{type: "execute", steps: [1, 2, {}]}',
    "NaN": b'{"a": {"b": NaN, "c": [1]}, "d": 1}',
    "Infinity": b'{"a": -Infinity}',
    "a leading zero": b'{"a": 01, "b": {}}',
    "a number cut short": b'{"a": [1., 2]}',
    "a comma too many": b'{"a": [1, 2,], "b": 3}',
    "a comma too few": b'{"a": 1 "b": [2]}',
    "a colon too few": b'{"a" 1}',
    "a bracket too few": b'{"a": [1, {"b": 2}}',
    "the wrong bracket": b'{"a": [1, {"b": 2]}, "c": 3}',
    "brackets that are never closed": b'{"a": [1, {"b": oops',
    "a string that is never closed": b'{"a": "b}',
    "a wrong escape": rb'{"a": "\q", "b": "}"}',
    "a control character": b'{"a": "\x01"}',
    "a NUL": b"\0",
    "NULs in a message": b'{"a"\0: 1}',
    "bytes that are no UTF-8": b"\xff\xfe{\x00",
    "only a bracket": b"}",
    "several numbers": b"1 2 3",
    "a log line": b"2024-01-01 12:00:00,123 INFO started [worker-1]",
    "a string": b'"hello" [1, {2}]',
}


@pytest.mark.parametrize("mistake", ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_one_mistake_is_one_frame(mistake: bytes) -> None:
    """Neither is the next line harmed, nor is the mistake reported more than once."""
    before, after = split(GOOD)[0], split(GOOD)[0]

    found = frames(before, mistake + b"\n", after)

    assert len(found) == 3
    assert (found[0], found[2]) == (Text(GOOD), Text(GOOD))


@pytest.mark.parametrize(
    "mistake",
    [
        b"hello",
        b"1 2 3",
        b"]}",
        b"[1, 2]",
        b'"hello"',
        b'{"a": tru}',
        b'{"a": [}',
        b'{"a": ]}',
        b'{"a": {"b": [1, }}',
        b"{]}",
        b'{"a": "\x01"}',
        b'{"a" 1}',
        b"{'a': 1}",
        b'{"a": NaN, "b": {"c": [1]}}',
    ],
)
def test_a_good_value_behind_a_mistake_on_the_same_line_is_found(mistake: bytes) -> None:
    """The mistake ends where its brackets close, or where an object begins."""
    found = frames(GOOD + mistake + b" " + GOOD + GOOD + b"\n")

    assert len(found) == 4
    assert [frame for frame in found if frame == Text(GOOD)] == [Text(GOOD)] * 3


def test_a_part_of_something_unreadable_is_never_taken_for_a_message() -> None:
    """The body of a broken envelope is not carried out as if it were a bare body."""
    body = b'{"type": "execute", "saga_id": "s", "steps": []}'
    on_one_line = b'{"src": nobody, "body": ' + body + b"}\n"
    with_a_stray_bracket = b'{"src": nobody], "body": ' + body + b"}\n"
    on_three_lines = [b'{"src": nobody, "body":\n', b"  " + body + b"\n", b"}\n"]

    found = frames(on_one_line, with_a_stray_bracket, *on_three_lines)

    assert shape(found) == [..., ..., ...]


PRETTY = json.dumps(
    {"a": 1, "steps": ["x", ["y", "z"], {"k": None}], "b": {"c": {"d": 2}}, "e": [1, 2, True]}, indent=2
)


@pytest.mark.parametrize("indent", [1, 2, 4, "\t"])
@pytest.mark.parametrize("number", range(1, 20))
def test_a_mistake_in_a_pretty_printed_message_is_one_frame(indent: int | str, number: int) -> None:
    """Whichever of its lines has the mistake, the others are not looked at one by one."""
    lines = split(json.dumps(json.loads(PRETTY), indent=indent))
    lines[number] = lines[number].rstrip(b"\n") + b" oops\n"

    found = frames(*lines, *split(PRETTY))

    assert shape(found) == [..., json.loads(PRETTY)]


@pytest.mark.parametrize("number", range(1, 19))
def test_a_line_missing_from_a_pretty_printed_message_is_not_reported_line_by_line(number: int) -> None:
    """Also where it had a bracket: the lines that are left over then are taken together."""
    lines = split(PRETTY)
    del lines[number]

    found = shape(frames(*lines, *split(PRETTY)))

    assert found[-1] == json.loads(PRETTY)
    assert len(found) <= 4


def test_a_mistake_without_indentation_is_one_frame() -> None:
    """Numbers, brackets and words of JSON on lines of their own belong to the unreadable message before them."""
    lines = split(json.dumps({"bad": [0, -1.5e3, True, False, None, "s", ["t", ["u"]], []], "z": 1}, indent=0))
    lines.insert(1, b"oops\n")

    found = frames(*lines, *split(GOOD))

    assert shape(found) == [..., json.loads(GOOD)]


def test_two_mistakes_on_two_lines_are_two_frames() -> None:
    """A line that does not look like a continuation of the message before is a separate mistake."""
    found = frames(b'{"a": oops\n', b"hello\n", b'{"b": oops\n', b"<xml/>\n", GOOD + b"\n")

    assert shape(found) == [..., ..., ..., ..., json.loads(GOOD)]


@pytest.mark.parametrize("mistake", [b"hello", b"7", b"null", b'"text"', b"[]", b"[1, 2]", b"}", b"]", b","])
def test_the_same_mistake_on_three_lines_is_three_frames(mistake: bytes) -> None:
    """A line without indentation is not taken for the rest of one that had all its brackets closed."""
    found = frames(b"hello\n", *[mistake + b"\n"] * 3)

    assert len(found) == 4


def test_a_message_swallowed_by_an_unfinished_one_is_found() -> None:
    """`"body":` at the end of a cut-off message may be followed by the next message: that becomes clear later."""
    lines = split('{"src": "a",\n"body":')
    good = split('{"x": {\n"y": [\n{\n}\n]\n}\n}')

    at_the_next_message = frames(*lines, *good, *good)
    at_the_end = frames(*lines, *good)
    twice_cut_off = frames(*lines, *lines, *good, *good)

    value = json.loads(b"".join(good))
    assert [frame.is_inner for frame in at_the_end if isinstance(frame, Text)] == [True]
    assert shape(at_the_next_message) == [..., value, value]
    assert shape(at_the_end) == [..., value]
    assert shape(twice_cut_off) == [..., value, value]


def test_what_goes_on_after_an_object_in_column_one_is_one_value() -> None:
    """The object was a part of it, and is none on its own when the rest is broken; nor is one over the limit."""
    broken_later = frames(b'{"x": [\n', b'{"a": 1}\n', b", 2, oops\n")
    too_large = frames(b'{"x": [\n', b'{"a": 1234567890}\n', GOOD + b"\n", limit=len(GOOD))
    too_large_itself = frames(b"[\n", b'{"a": "' + b"x" * 50 + b'"}\n', GOOD + b"\n", limit=len(GOOD))

    assert shape(broken_later) == [...]
    assert shape(too_large) == [..., {"a": 1234567890}, json.loads(GOOD)]
    assert shape(too_large_itself) == [..., json.loads(GOOD)]


def test_two_messages_on_the_line_behind_an_unfinished_one_are_found() -> None:
    """The first could have been a part of it; the second could not."""
    found = frames(b'{"body":\n', GOOD + b" " + GOOD + b" oops\n", GOOD + b"\n")

    assert shape(found) == [..., json.loads(GOOD), json.loads(GOOD), ..., json.loads(GOOD)]


def test_the_frames_say_what_was_expected_and_what_came() -> None:
    """The sender can find the mistake from the frame."""
    cases = {
        b"hello\n": "expected a JSON value, got 'hello'",
        b"}\n": "expected a JSON value, got '}'",
        b'{"a" "b"}\n': "expected ':', got '\"b\"'",
        b"{7: 1}\n": "expected a string as key or '}', got '7'",
        b'{"a": 1,}\n': "expected a string as key, got '}'",
        b'{"a": 1 2}\n': "expected ',' or '}', got '2'",
        b"[1 tru]\n": "expected ',' or ']', got 'tru'",
        b"[,]\n": "expected a JSON value or ']', got ','",
        b'{"a": "b\n': "expected a JSON value, got a broken string",
        b'{"a": ' + b"x" * 100 + b"\n": "expected a JSON value, got '" + "x" * 40 + "…'",
        b'{"a": 1,\n': "the message is not complete: it begins with '{\"a\": 1,'",
    }

    said = {data: [frame.why for frame in frames(data) if isinstance(frame, Unreadable)] for data in cases}

    assert said == {data: [why] for data, why in cases.items()}


def test_deep_nesting_is_one_frame() -> None:
    """100,000 levels, on one line or on as many, closed or not."""
    depth = 100_000
    on_one_line = b'{"a":' * depth + b"1" + b"}" * depth + b"\n"
    never_closed = b'{"a":[' * depth + b"\n"
    on_many_lines = [b" [\n"] * depth + [b" ]\n"] * depth

    for lines in ([on_one_line], [never_closed], on_many_lines):
        found = frames(*lines, GOOD + b"\n")

        assert shape(found) == [..., json.loads(GOOD)]


def test_a_value_up_to_the_limit_is_found_and_a_larger_one_is_refused() -> None:
    """The size counts from the first byte to the last, with any blanks around."""
    value = b'{"a":\n"' + b"x" * 100 + b'"\n}'

    just_fits = frames(b"\n" * 200, *split(b" " * 200 + value + b" " * 200), limit=len(value))
    too_large = frames(*split(value), GOOD + b"\n", limit=len(value) - 1)

    assert just_fits == [Text(value)]
    assert too_large == [
        Unreadable(f"expected a message of at most {len(value) - 1} bytes, got a larger one"),
        Text(GOOD),
    ]


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize(
    "large",
    [
        b'{"a": "' + b"x}]{[" * 200 + b'"}',
        b'{"a": "' + rb"\"\\{" * 200 + b'", "b": {}}',
        b'{"a": [' + b"[1, {}]," * 200 + b"2]}",
        b'{"a": ' + b"1" * 1000 + b"}",
        b'["' + b'{\\"type\\": 1}' * 100 + b'"]',
        b'{"a": [' + b"{}, " * 200 + b"oops, [{}, " + b"}" * 5,
    ],
)
def test_a_value_over_the_limit_is_one_frame_and_hides_nothing_behind_it(large: bytes, piece_bytes: int) -> None:
    """Also where it comes in pieces, and a good value follows on the same line."""
    line = GOOD + large + b" " + GOOD + b"\n"

    found = frames(*(line[at : at + piece_bytes] for at in range(0, len(line), piece_bytes)), limit=100)

    assert shape(found) in (
        [json.loads(GOOD), ..., json.loads(GOOD)],
        [json.loads(GOOD), ..., ..., json.loads(GOOD)],  # also broken, further on
    )


def test_many_small_values_on_one_line_are_no_large_one() -> None:
    """The limit is one of messages, not of lines."""
    found = frames(GOOD * 1000 + b"\n", limit=len(GOOD))

    assert found == [Text(GOOD)] * 1000


def test_a_cut_off_message_does_not_make_the_next_too_large() -> None:
    """Together they are over the limit, and the second alone is not."""
    good = {"x": ["y" * 80], "z": [{}]}
    lines = split(json.dumps(good, indent=0))

    found = frames(b'{"src": "somebody",\n', b'"body":\n', *lines, *lines, limit=sum(map(len, lines)))

    assert shape(found) == [..., good, good]


def test_what_is_pending_is_told() -> None:
    """A session asks, since it bypasses the framer while the buffer is empty."""
    framer = Framer(LIMIT)
    seen = []

    for line in (b"\n", b'{"a":\n', b"1}\n", b'{"a": [oops\n', b"  1\n", b"]}\n", b"{}\n", b"1"):
        list(framer.feed(line))
        seen.append(framer.is_idle)
    list(framer.give_up())
    seen.append(framer.is_idle)

    assert seen == [True, False, True, False, False, False, True, False, True]


@given(
    pieces=st.lists(st.binary(max_size=30) | st.sampled_from([b"{", b'"', b"}", b"[", b"]", b"\n", b"\\", b",", b":"]))
)
@settings(deadline=None, max_examples=400)
def test_any_bytes_are_framed_and_the_next_line_is_not_harmed(pieces: list[bytes]) -> None:
    """No input raises, and no part of it is buffered forever."""
    framer = Framer(LIMIT)

    for line in split(b"".join(pieces)):
        list(framer.feed(line))
    list(framer.give_up())
    found = list(framer.feed(GOOD + b"\n"))

    assert found == [Text(GOOD)]
    assert framer.is_idle


HOSTILE = [
    b'{"a":[\n',
    b"[\n{},\n",
    b'{"a":\n',
    b'{"a":1,\n',
    b'{"a":{"b":\n',
    b'{"body":\n{}\n',
    b'{"body":\n{}\n,',
    b'{"a":[}\n',
    b'{"a":\n[}\n',
    b'{"a":[}\n ]\n',
    b"[{\n",
    b" {\n",
    b"[1,\n",
    b"1,\n",
    b"{]\n",
    b"]\n",
    b"a\n",
    b"\n",
    b"{",
    b"[",
    b"{}",
    b"[}",
    b'"',
    b'"\\',
    b'{"a":"',
    b'{"a":1',
    b"1e",
    b"tru",
    b"-",
    b"\\",
    b" ",
    b"\xff",
    b"\0",
]


def work(pattern: bytes, count: int, limit: int) -> int:
    """Return the number of calls that framing the repeated pattern takes."""
    lines = split(pattern * count)
    calls = 0

    def count_call(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    framer = Framer(limit)
    profile = sys.getprofile()
    sys.setprofile(count_call)
    try:
        for line in lines:
            for _ in framer.feed(line):
                pass
    finally:
        sys.setprofile(profile)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("limit", [500, LIMIT])
@pytest.mark.parametrize("pattern", HOSTILE)
def test_twice_the_input_is_twice_the_work(pattern: bytes, limit: int) -> None:
    """There is no input over which the framer bends again and again."""
    count = 1500

    once, twice = work(pattern, count, limit), work(pattern, 2 * count, limit)

    assert twice <= 2.2 * once + 100


@pytest.mark.slow
@pytest.mark.parametrize("pattern", HOSTILE)
def test_two_megabytes_of_anything_are_framed(pattern: bytes) -> None:
    """And a good value behind them is found: with a framer that is not linear this test would not end."""
    data = pattern * (2_000_000 // (len(pattern) * (10 if b"\n" in pattern else 1)))
    framer = Framer(LIMIT)

    for line in split(data):
        for _ in framer.feed(line):
            pass
    for _ in framer.give_up():
        pass

    assert list(framer.feed(GOOD + b"\n")) == [Text(GOOD)]

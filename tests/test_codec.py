"""The codec: lossless for every kind of value that it keeps, and an error by name for all else."""

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.saga.codec import Encoder, Undecodable, as_text, decode, encode
from choreo.saga.codec.encoding import DEPTH_MAX
from choreo.saga.service import NotSnapshotable
from tests import codec_values
from tests.codec_values import VALUES, Bank, Color, Fixed, Ledger, Level, Money, Point, Right, Ticket
from tests.stories import ROOT


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type, all the way down; a NaN equals a NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float | Decimal | datetime | time):
        return repr(one) == repr(other)
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, msgspec.Struct):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    if isinstance(one, set | frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return bool(one == other)


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_of_every_kind_comes_back(value: Any) -> None:
    """Alone, in a container, and twice in a row with sharing; the text is ASCII and JSON for any reader."""
    for each in (value, [value], {"a": (value, 1)}):
        text = encode(each, "it")

        assert text.isascii()
        assert json.loads(text, parse_constant=pytest.fail) is not ...
        assert same(decode(text), each), text
        assert encode(decode(text), "it") == text
        assert same(decode(Encoder(is_sharing=True).text(each, "it")), each)


ZONES = st.none() | st.builds(
    timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.sampled_from(["here", "there"])
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs"]), max_size=4),
    st.binary(max_size=8),
    st.datetimes(timezones=ZONES),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.decimals(),
    st.uuids(allow_nil=True),
    st.sampled_from([*Color, *Level, *Right, Right(3)]),
)
KEYS = st.one_of(st.integers(), st.text(max_size=3), st.dates(), st.sampled_from(list(Color)), st.tuples(st.text()))
TAGGED = st.sampled_from(["$tuple", "$object", "$", "$dict", "$id", "$ref"]) | st.text(max_size=3)


def containers(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(each, max_size=4),
        st.dictionaries(TAGGED, each, max_size=4),
        st.dictionaries(KEYS, each, max_size=4),
        st.lists(each, max_size=4).map(tuple),
        st.frozensets(KEYS, max_size=4),
        st.sets(KEYS, max_size=4),
        st.builds(Ledger, st.text(max_size=2), st.lists(each, max_size=3)),
        st.builds(Money, st.decimals(), st.text(max_size=2)),
        st.builds(Ticket, st.text(max_size=2), st.lists(each, max_size=3)),
        st.builds(Point, st.integers(), each),
        st.builds(lambda a: Fixed(a=a), st.integers()),
    )


@given(st.recursive(SCALARS, containers, max_leaves=12))
def test_any_value_of_these_kinds_comes_back(value: Any) -> None:
    """However they are nested, with and without sharing."""
    assert same(decode(encode(value, "it")), value)
    assert same(decode(Encoder(is_sharing=True).text(value, "it")), value)


def test_a_dataclass_is_built_without_its_init() -> None:
    """Fields come back as they were, and nothing else happens."""
    ledger = Ledger("me", [1])
    ledger.size = 7
    assert ledger.total == 1  # cached in the instance, and no field
    before = Ledger.made

    again = decode(encode(ledger, "it"))

    assert (again.size, again.entries, Ledger.made) == (7, [1], before)
    assert "total" not in vars(again)


def test_the_text_depends_on_the_value_only() -> None:
    """Two processes with two hash seeds write the same bytes, sets and all."""
    code = (
        "from choreo.saga.codec import Encoder, encode; from tests.codec_values import VALUES; "
        "words = {f'word {n}' for n in range(99)}; "
        "values = [VALUES, words, {(w, 1) for w in words}, {frozenset({w, 'x'}): w for w in sorted(words)}]; "
        "print(encode(values, 'it'), Encoder(is_sharing=True).text(values, 'it'))"
    )

    def text(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, check=True, capture_output=True
        ).stdout

    assert text("1") == text("2") != b""


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_what_is_shared_stays_shared() -> None:
    """A list, a dict, a set, a dataclass and a Struct that are reached twice are one object again."""
    for shared in ([1], {"a": 1}, {1}, bytearray(b"a"), Ledger("me"), Ticket("1A"), defaultdict(list)):
        value = {"one": shared, "two": [(shared,), {5: shared}], "own": type(shared)}
        value.pop("own")

        again = decode(Encoder(is_sharing=True).text(value, "it"))

        assert again["one"] is again["two"][0][0] is again["two"][1][5]
        assert same(again["one"], shared)


def test_what_stands_within_what_is_shared_stays_shared_too() -> None:
    """Whatever the order in which the two are reached."""
    inner: list[int] = [1]
    outer = [inner, inner]
    for value in ([inner, outer, outer], [outer, inner, outer], [outer, outer, inner]):
        again = decode(Encoder(is_sharing=True).text(value, "it"))

        lists = {id(each) for each in again} | {id(each) for each in again[0] if isinstance(each, list)}
        assert same(again, value)
        assert len(lists) == 2


def test_equal_objects_that_are_two_stay_two() -> None:
    """Sharing is about identity."""
    one, other = decode(Encoder(is_sharing=True).text([[1], [1]], "it"))

    assert one == other
    assert one is not other


def test_one_encoder_shares_between_several_values() -> None:
    """The records of several services stand in one row; a service is written as its name."""
    service, shared = Bank(), [1]
    encoder = Encoder(lambda value: "bank" if value is service else None, is_sharing=True)
    nodes: list[Any] = [None, None]
    for index, value in enumerate([{"a": shared, "b": service}, {"a": shared}]):
        encoder.put(nodes, index, value, "it")

    one, two = decode(as_text(nodes), {"bank": service}.__getitem__)

    assert one["a"] is two["a"]
    assert one["b"] is service


# --- what is refused --------------------------------------------------------------------------------------------------


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append((value,))
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def unset() -> Ledger:
    ledger = Ledger("me")
    del ledger.size
    return ledger


def extended() -> Ledger:
    ledger = Ledger("me")
    ledger.more = 1  # type: ignore[attr-defined]  # it is planted
    return ledger


@dataclass
class Failing(dict):  # type: ignore[type-arg]  # a dict all the same
    x: int = 0


class Words(str):
    __slots__ = ()


class Raising(tzinfo):
    pass


@dataclass
class Hidden:
    x: int


Unfound = Hidden
del Hidden


def doubled() -> Any:
    """A tuple of 2 to the power of 60 others, of which 60 are different."""
    value: Any = ()
    for _ in range(60):
        value = (value, value)
    return value


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a plain class": (
        lambda: {"a": [1, Bank()]},
        r"it: \['a'\]\[1\]: expected a value that JSON can keep, got .*type Bank \(tests.codec_values.Bank\); "
        "make Bank a dataclass of a module, or hand back a text or a number that identifies it",
    ),
    "in a dataclass": (lambda: [Ledger("me", [Ticket("1A", [Bank()])])], r"it: \[0\].entries\[0\].notes\[0\]: expec"),
    "a lock": (threading.Lock, r"it: expected .*type lock \(_thread.lock\); hand back a text"),
    "an open file": (lambda: sys.__stdin__, "type TextIOWrapper"),
    "a function": (lambda: [deep], r"it: \[0\]: expected .*type function;"),
    "a lambda": (lambda: lambda: None, "type function;"),
    "a generator": (lambda: (each for each in ()), "type generator;"),
    "a module": (lambda: json, "type module;"),
    "a class": (lambda: Bank, "type type;"),
    "a range": (lambda: range(3), "type range;"),
    "a complex number": (lambda: 1j, "type complex;"),
    "an exception": (lambda: ValueError("a"), "type ValueError;"),
    "an object": (object, "type object;"),
    "a subclass of str": (lambda: Words("a"), r"type Words \(tests.test_codec.Words\)"),
    "a dataclass that is a dict": (Failing, r"type Failing"),
    "a zone of one's own": (lambda: datetime(2026, 1, 1, tzinfo=Raising()), "type Raising"),
    "a factory": (lambda: defaultdict(lambda: 0), "a defaultdict with the factory <function"),
    "a key": (lambda: {Bank: 1}, r"it: \(key <class .*Bank.*>\): expected .*type type"),
    "in a set": (lambda: {Bank}, r"it: \{<class .*Bank.*\}: expected .*type type"),
    "a cycle": (cyclic, r"it: \[0\]\[0\]: expected .*, got a list that contains itself;"),
    "too deep": (lambda: deep(DEPTH_MAX + 1), f"got more than {DEPTH_MAX} containers within each other"),
    "a very deep one": (lambda: deep(100_000), f"got more than {DEPTH_MAX} containers within each other"),
    "too many": (doubled, "got more than 1,000 containers"),
    "a field without a value": (unset, "got a Ledger whose field 'size' has no value"),
    "an attribute that is no field": (extended, "got a Ledger with the attribute 'more', which is no field of it"),
    "a class that is not found": (lambda: Unfound(1), "Hidden, which is not found under that name; define it in a mo"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("is_sharing", [False, True])
def test_what_json_cannot_keep_is_refused_by_name(what: str, is_sharing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the path to it, its type, and a remedy."""
    monkeypatch.setattr("choreo.saga.codec.encoding.CONTAINERS_MAX", 1000)
    make, told = REFUSED[what]

    with pytest.raises(NotSnapshotable, match=told):
        Encoder(is_sharing=True).text(make(), "it") if is_sharing else encode(make(), "it")


def test_the_deepest_value_comes_back() -> None:
    """The bound is the same both ways."""
    value = deep(DEPTH_MAX)

    assert decode(encode(value, "it")) == value
    assert decode(encode({"$": value[0]}, "it")) == {"$": value[0]}


def test_sets_within_sets_take_no_longer_than_lists() -> None:
    """Each element is written once for the order, however deep it lies."""
    value = frozenset({1})
    for _ in range(DEPTH_MAX - 1):
        value = frozenset({value, 0})  # type: ignore[arg-type]  # of sets and numbers

    assert decode(encode(value, "it")) == value
    assert decode(Encoder(is_sharing=True).text(value, "it")) == value


def test_the_state_of_a_service_names_the_field() -> None:
    """And the remedy that a service has: to leave it out."""
    told = r"it: field 'bank'\.entries\[0\]: expected .*; make Bank a dataclass of a module, leave the field out"

    for state in ({"bank": Ledger("me", [Bank()])}, (None, {"bank": Ledger("me", [Bank()])})):
        with pytest.raises(NotSnapshotable, match=told):
            Encoder().put([None], 0, state, "it", is_state=True)


# --- hostile texts ----------------------------------------------------------------------------------------------------

LEDGER = '"tests.codec_values:Ledger"'
HOSTILE = {
    "": "expected JSON",
    "garbage": "expected JSON",
    "NaN": "expected JSON, got NaN",
    "[-Infinity]": "expected JSON, got -Infinity",
    "9" * 6000: "expected JSON",
    "[" * 100_000: "RecursionError",
    '{"$set":' * 200 + "[]" + "}" * 200: "form of .set",
    '{"$tuple":[' * 200 + "]}" * 200: "at most 100 containers",
    '{"$never":1}': "expected a tag that choreo writes",
    '{"$tuple":[],"$set":[]}': "an object with one tag, got the keys",
    '{"a":1,"$tuple":[]}': "an object with one tag, got the keys",
    '{"$tuple":{}}': "another form of .tuple",
    '{"$set":[[]]}': "TypeError",
    '{"$map":[1]}': "pairs of a key and a value",
    '{"$map":[[[],1]]}': "TypeError",
    '{"$bytes":"%"}': "got Error",
    '{"$bytes":5}': "another form of .bytes",
    '{"$datetime":"yesterday"}': "ValueError",
    '{"$datetime":["2026-01-01T00:00:00",0,"Nowhere/At_all"]}': "ZoneInfoNotFoundError",
    '{"$datetime":["2026-01-01T00:00:00"]}': "ValueError",
    '{"$timedelta":["a"]}': "TypeError",
    '{"$timedelta":[1e400]}': "OverflowError",
    '{"$decimal":"x"}': "InvalidOperation",
    '{"$uuid":"x"}': "ValueError",
    '{"$text":"//8="}': "UnicodeDecodeError",
    '{"$float":"0.5"}': "expected nan, inf or -inf",
    '{"$int":"x"}': "ValueError",
    '{"$path":"\\u0000"}': None,
    '{"$ref":1}': "a reference to an object before it",
    '{"$ref":[]}': "another form of .ref",
    '{"$id":1}': "an object with one tag",
    '{"$id":1,"$value":{"$ref":1}}': "a reference to an object before it",
    '{"$service":"a"}': "a value, got a reference to a service",
    '{"$pickle":"AAAA"}': "a pickle that an older choreo has kept",
    '{"$deque":[],"maxlen":"a"}': "TypeError",
    '{"$defaultdict":[],"factory":"eval"}': "the factory of a defaultdict",
    '{"$defaultdict":[],"factory":[]}': "the factory of a defaultdict",
    '{"$object":"os:system","fields":{"command":"false"}}': "expected the class 'os:system', got a value of type",
    '{"$object":"builtins:eval","fields":{}}': "expected the class 'builtins:eval'",
    '{"$object":"builtins:dict","fields":{}}': "a dataclass, a Struct, a NamedTuple or an enum, got 'builtins:dict'",
    '{"$object":"subprocess:Popen","fields":{"args":"false"}}': "got 'subprocess:Popen', which is none",
    '{"$object":"tests.codec_values:Bank","fields":{"owner":1}}': "got 'tests.codec_values:Bank', which is none",
    '{"$object":"tests.codec_values:Color","fields":{}}': "a dataclass, a Struct or a NamedTuple and its fields",
    '{"$object":"tests.codec_values:Gone","fields":{}}': "got nothing; was it moved or renamed",
    '{"$object":"tests.nowhere:Gone","fields":{}}': "ModuleNotFoundError.*is its module still there",
    '{"$object":"tests.codec_values:Ledger.__init__","fields":{}}': "got a value of type function",
    '{"$object":"tests codec:Ledger","fields":{}}': "expected module:class",
    '{"$object":"../tests:Ledger","fields":{}}': "expected module:class",
    '{"$object":"Ledger","fields":{}}': "expected module:class",
    '{"$object":5,"fields":{}}': "another form of .object",
    f'{{"$object":{LEDGER},"fields":[]}}': "a dataclass, a Struct or a NamedTuple and its fields",
    f'{{"$object":{LEDGER}}}': "an object with one tag",
    f'{{"$object":{LEDGER},"fields":{{"entries":[],"size":1}}}}': "Ledger as it was kept, got a .* new field 'owner'",
    f'{{"$object":{LEDGER},"fields":{{"owner":"","entries":[],"size":1,"gone":1}}}}': "with the field 'gone', as",
    '{"$object":"tests.codec_values:Ticket","fields":{}}': "codec_values:Ticket as it was kept, got a .* field 'seat'",
    '{"$object":"tests.codec_values:Fixed","fields":{"b":1}}': "new field 'a'",
    '{"$object":"tests.codec_values:Point","fields":{"y":1}}': "new field 'x'",
    '{"$enum":"tests.codec_values:Color","name":"GREEN"}': "Color with 'GREEN', as it was kept, got an enum without it",
    '{"$enum":"tests.codec_values:Color","value":"red"}': "a number of flags and their enum",
    '{"$enum":"tests.codec_values:Right","value":64}': "ValueError",
    '{"$enum":"tests.codec_values:Right","value":"1"}': "a number of flags and their enum",
    '{"$enum":"tests.codec_values:Ledger","name":"x"}': "expected an enum, got 'tests.codec_values:Ledger'",
    '{"$enum":"tests.codec_values:Color","name":[]}': "TypeError",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:60])
def test_a_hostile_text_is_an_error_and_never_a_call(text: str) -> None:
    """Of one kind, whatever stands in it."""
    told = HOSTILE[text]
    if told is None:
        decode(text)
        return

    with pytest.raises(Undecodable, match=told):
        decode(text)


@pytest.mark.parametrize("value", [None, 5, b"null", ["null"]])
def test_what_is_no_text_is_an_error(value: Any) -> None:
    """A cell may hold any value of SQLite's."""
    with pytest.raises(Undecodable, match=f"expected JSON, got a value of type {type(value).__name__}"):
        decode(value)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    sorted(
                        [
                            *"ab",
                            "$object",
                            "$tuple",
                            "$map",
                            "$set",
                            "$id",
                            "$value",
                            "$ref",
                            "fields",
                            "$enum",
                            "name",
                            "$datetime",
                            "$timedelta",
                            "$dict",
                            "$counter",
                            "$deque",
                            "maxlen",
                        ]
                    )
                ),
                each,
                max_size=3,
            )
        ),
    )
)
def test_any_json_is_a_value_or_an_error(node: Any) -> None:
    """Tags in any place, with any content: no other exception."""
    with suppress(Undecodable):
        decode(json.dumps(node))


def test_a_class_that_gained_a_field_with_a_default_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept before the field was there is read; a factory makes a new object for each."""
    text = '{"$object":"tests.codec_values:Ledger","fields":{"owner":"me","size":0}}'

    one, other = decode(text), decode(text)

    assert one.entries == []
    assert one.entries is not other.entries
    assert decode('{"$object":"tests.codec_values:Money","fields":{"amount":1}}').currency == "EUR"
    assert decode('{"$object":"tests.codec_values:Point","fields":{"x":1}}') == Point(1)
    assert decode('{"$object":"tests.codec_values:Ticket","fields":{"seat":"1A"}}') == Ticket("1A")


def test_every_kind_of_the_tables_is_tried_here() -> None:
    """A tag that is added to the codec is to be added to the values."""
    from choreo.saga.codec.decoding import SPECIAL
    from choreo.saga.codec.scalars import READERS

    written = encode(codec_values.VALUES, "it")

    unwritten = {tag for tag in [*READERS, *SPECIAL] if f'"{tag}"' not in written}
    assert unwritten == {"$id", "$ref", "$service", "$pickle", "$purepath"}

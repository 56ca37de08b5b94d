"""Schema errors: the first deviation of a table from the schema of a definition, in one sentence.

Laws: the schema is that of the Structs in `saga/definition.py`, which msgspec enforces. This module reads the same
types, and is called only after msgspec has refused a table. The walk is as deep as the schema, for any table.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from msgspec import inspect

from choreo.saga.file.errors import key_in, one_of, suggestion, told

ITEMS_MAX = 1_000_000
Node = tuple[str, object, inspect.Type]
"""The path of a value, the value, and its expected type."""

WORDS: Mapping[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.StrType: "a string",
    inspect.BoolType: "true or false",
    inspect.StructType: "a table",
    inspect.DictType: "a table",
    inspect.VarTupleType: "an array",
    inspect.NoneType: "nothing",
}
PLURALS = {"a whole number": "whole numbers", "a string": "strings"}


def departure(table: object, kind: type) -> str | None:
    """Return the first deviation of the table from the schema, or None."""
    nodes: deque[Node] = deque([("", table, inspect.type_info(kind))])
    for _ in range(ITEMS_MAX):
        if not nodes:
            return None
        where, value, expected = nodes.popleft()
        member = _member(expected, value)
        if member is None:
            return f"{where or 'definition'}: expected {_words(expected)}, got {told(value)}{_near(expected, value)}"
        if isinstance(value, Mapping):
            why = _wrong_key(where, value, member)
            if why is not None:
                return why
        nodes.extend(_children(where, value, member))
    return None


def _near(expected: inspect.Type, value: object) -> str:
    """Return the spelling suggestion for a word that is not one of the allowed ones."""
    members = expected.types if isinstance(expected, inspect.UnionType) else (expected,)
    closed = (each for each in members if isinstance(each, inspect.LiteralType | inspect.EnumType))
    return suggestion(value, chain.from_iterable(map(_choices, closed))) if isinstance(value, str) else ""


def _member(expected: inspect.Type, value: object) -> inspect.Type | None:
    """Return the member of the expected type whose form the value has, or None."""
    members = expected.types if isinstance(expected, inspect.UnionType) else (expected,)
    return next((member for member in members if _has_form(member, value)), None)


def _has_form(expected: inspect.Type, value: object) -> bool:
    match expected:
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.NoneType():
            return value is None
        case inspect.LiteralType() | inspect.EnumType():
            return isinstance(value, str) and value in _choices(expected)
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, Mapping)
        case inspect.TupleType(item_types=items):
            return isinstance(value, list | tuple) and len(value) == len(items)
        case inspect.VarTupleType():
            return isinstance(value, list | tuple)
    return True


def _choices(expected: inspect.LiteralType | inspect.EnumType) -> list[str]:
    values = expected.values if isinstance(expected, inspect.LiteralType) else expected.cls
    return [str(getattr(value, "value", value)) for value in values]


def _words(expected: inspect.Type) -> str:
    if isinstance(expected, inspect.UnionType):
        return one_of([word for member in _in_order(expected) for word in _words_of(member)])
    return one_of(_words_of(expected))


def _in_order(union: inspect.UnionType) -> list[inspect.Type]:
    """Return the members of a union, literals first, without None, which TOML cannot express."""
    members = [member for member in union.types if not isinstance(member, inspect.NoneType)]
    return sorted(members, key=lambda member: not isinstance(member, inspect.LiteralType))


def _words_of(expected: inspect.Type) -> list[str]:
    match expected:
        case inspect.LiteralType() | inspect.EnumType():
            return [f'"{choice}"' for choice in _choices(expected)]
        case inspect.TupleType(item_types=items):
            return [f"an array of {len(items)} {PLURALS[WORDS[type(items[0])]]}"]
    return [WORDS.get(type(expected), "something else")]


def _wrong_key(where: str, table: Mapping[Any, object], expected: inspect.Type) -> str | None:
    """Return the error of a key that is not a string, is unknown, or is missing; None if there is none."""
    for key in table:
        if not isinstance(key, str):
            return f"{where or 'definition'}: expected keys that are strings, got {told(key)}"
    if not isinstance(expected, inspect.StructType):
        return None
    known = [each.encode_name for each in expected.fields]
    for key in table:
        if key not in known:
            return f"{key_in(where, key)}: unknown key{suggestion(key, known) or f'; expected {one_of(known, 20)}'}"
    for each in expected.fields:
        if each.required and each.encode_name not in table:
            missing = key_in(where, each.encode_name)
            return f"{missing}: expected {_words(each.type)}, got nothing: it is required"
    return None


def _children(where: str, value: Any, expected: inspect.Type) -> Iterator[Node]:
    match expected:
        case inspect.StructType(fields=fields):
            types = {each.encode_name: each.type for each in fields}
            yield from ((key_in(where, key), below, types[key]) for key, below in value.items())
        case inspect.DictType(value_type=below):
            yield from ((key_in(where, key), each, below) for key, each in value.items())
        case inspect.TupleType(item_types=items):
            yield from ((f"{where}[{i}]", each, item) for i, (each, item) in enumerate(zip(value, items, strict=True)))
        case inspect.VarTupleType(item_type=item):
            yield from ((f"{where}[{i}]", each, item) for i, each in enumerate(islice(value, ITEMS_MAX)))


def in_words(message: str) -> str:
    """Return msgspec's message in the form of the other errors, for a deviation that the types do not explain."""
    what, _, where = message.rpartition(" - at `$")
    place = where.removesuffix("`").removeprefix(".") if what else ""
    return f"{place or 'definition'}: {(what or message).replace('`', '')}"

"""A mapping from foreign log lines: the fields of the run, the step and the fact, and the meaning of their words.

Laws: an invalid mapping raises `WrongMapping`, which says in one line what was expected and what came. A field is a
dotted path; a key that contains dots itself is found as well.
"""

from typing import Any

import msgspec
from msgspec import Struct

from choreo.conformance.foreign_words import Meaning
from choreo.saga.file.errors import quoted, suggestion, told
from choreo.saga.file.toml import NotToml, parse_toml

DIGITS_MAX = 12
"""Maximum of digits of an array index; Python itself reads no more than some thousand digits."""


class WrongMapping(ValueError):
    """A mapping that cannot be read, or is invalid."""


class Fields(Struct, frozen=True):
    """The fields of a line, as dotted paths; without `step` the words in `[facts]` must name it."""

    run: str
    fact: str
    saga: str | None = None
    step: str | None = None
    id: str | None = None
    cause: str | None = None
    source: str | None = None
    time: str | None = None
    reason: str | None = None


class Mapping(Struct, frozen=True):
    """The fields, and the meaning of each word of the fact field."""

    fields: Fields
    facts: dict[str, Meaning]


def read_mapping(text: str) -> Mapping:
    """Parse a mapping in TOML. Raises `WrongMapping`."""
    try:
        table = parse_toml(text)
    except NotToml as error:
        raise WrongMapping(str(error)) from None
    _check_keys("", table, ("fields", "facts"), ("fields", "facts"))
    for key in ("fields", "facts"):
        if not isinstance(table[key], dict):
            raise WrongMapping(f"{key}: expected a table, got {told(table[key])}")
    return Mapping(_fields(table["fields"]), _facts(table["facts"]))


def at(value: Any, path: str) -> Any:
    """Return the value at a dotted path, or None. Numbers index arrays, from 0."""
    if isinstance(value, dict) and path in value:
        return value[path]
    rest = path
    while rest:
        key, _, rest = rest.partition(".")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) <= DIGITS_MAX and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _fields(table: dict[str, Any]) -> Fields:
    _check_keys("fields.", table, Fields.__struct_fields__, ("run", "fact"))
    for key, value in table.items():
        if not isinstance(value, str) or not value:
            raise WrongMapping(f"fields.{key}: expected a dotted path such as order.id, got {told(value)}")
    return msgspec.convert(table, Fields)


def _facts(table: dict[str, Any]) -> dict[str, Meaning]:
    if not table:
        raise WrongMapping('facts: expected words and what they mean, such as "PaymentCaptured" = "charge succeeded"')
    meanings = {}
    for word, meaning in table.items():
        if not isinstance(meaning, str):
            raise WrongMapping(f"facts.{quoted(word)}: expected a text such as charge succeeded, got {told(meaning)}")
        try:
            meanings[word] = Meaning(meaning)
        except ValueError as error:
            raise WrongMapping(f"facts.{quoted(word)}: {error}, got {quoted(meaning)}") from None
    return meanings


def _check_keys(where: str, table: dict[str, Any], known: tuple[str, ...], required: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise WrongMapping(f"{where}{key}: expected {', '.join(known)}, got {quoted(key)}{suggestion(key, known)}")
    for key in required:
        if key not in table:
            raise WrongMapping(f"{where}{key}: expected it, got nothing")

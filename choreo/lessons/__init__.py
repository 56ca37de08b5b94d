"""The curriculum: sixteen sagas, all but the first with a bug, its explanation and its fix; one TOML file each.

Laws: a lesson is a definition like any other, plus text. `[mended]` and `[twin]` list the differences: a table is
merged into the table of that name, any other value replaces the old one.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from choreo.saga.definition import Saga
from choreo.saga.file import definition_from

SUFFIX = ".toml"
SAFE, VIOLATED = "safe", "violated"


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """Text of a lesson. `answer` is the number of the correct one of `answers`, from 1.

    `invariants` are those that the bug violates, one of which is named in the curriculum. `seeds`: the simulator finds
    the bug within so many seeds. `other_style`: the verdict in the other style.
    """

    title: str
    style: str
    story: str
    question: str
    answers: tuple[str, ...]
    answer: int
    outcome: str
    mend: str
    other: str
    other_style: str
    seeds: int
    invariants: tuple[str, ...] = ()


class Variant(Struct, frozen=True):
    """A variant of the same bug, with its buggy and its fixed definition."""

    text: str
    invariants: tuple[str, ...]
    broken: Saga
    mended: Saga


class Lesson(Struct, frozen=True):
    """One lesson: its text, the buggy saga, the fixed saga, and an optional variant of the bug."""

    number: int
    words: Words
    broken: Saga
    mended: Saga
    twin: Variant | None = None

    @property
    def other_style(self) -> str:
        return "orchestration" if self.words.style == "choreography" else "choreography"

    @property
    def is_broken(self) -> bool:
        """True if the lesson has a bug; the first one has none."""
        return bool(self.words.invariants)


def lessons() -> tuple[Lesson, ...]:
    """Return all lessons in order."""
    return tuple(map(lesson, _files()))


@cache
def lesson(number: int) -> Lesson:
    """Return the lesson of that number. Raises `LookupError`."""
    if number not in _files():
        raise LookupError(f"expected a lesson from 1 to {len(_files())}, got {number}")
    table = tomllib.loads(files(__name__).joinpath(_files()[number]).read_text(encoding="utf-8"))
    words = msgspec.convert(table.pop("lesson"), Words)
    mended, twin = table.pop("mended", {}), table.pop("twin", None)
    return Lesson(number, words, definition_from(table), definition_from(merged(table, mended)), _twin(table, twin))


def definition_of(number: int, is_mended: bool) -> Saga:
    """Return the saga of a lesson, buggy or fixed. Raises `LookupError`."""
    return lesson(number).mended if is_mended else lesson(number).broken


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table with the changes: nested tables are merged, other values replaced."""
    result = dict(table)
    for name, value in changes.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _twin(table: Mapping[str, Any], twin: dict[str, Any] | None) -> Variant | None:
    if twin is None:
        return None
    text, invariants, mended = twin.pop("text"), tuple(twin.pop("invariants")), twin.pop("mended")
    broken = merged(table, twin)
    return Variant(text, invariants, definition_from(broken), definition_from(merged(broken, mended)))


@cache
def _files() -> dict[int, str]:
    names = sorted(file.name for file in files(__name__).iterdir() if file.name.endswith(SUFFIX))
    return {int(name[:2]): name for name in names}

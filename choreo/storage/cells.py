"""Checks of the journal's cells: the values that each column may hold, and an error sentence for any other value.

Laws: pure. Each reader of a row runs these checks first, so that a damaged cell is reported with its table, row and
column, and never reaches the code behind. docs/reference/journal.md explains every column.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from choreo.saga.keys import checked_origin
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.storage.sagas import saga_of_text

SHOWN_MAX = 60

Check = Callable[[Any], str | None]
"""Check of a value: returns the expectation that it fails, or None if the value is legal."""


def _number(value: Any) -> str | None:
    return None if value.__class__ is int else "a number"


def _count(value: Any) -> str | None:
    return None if value.__class__ is int and value > 0 else "a number above 0"


def _text(value: Any) -> str | None:
    return None if value.__class__ is str else "a text"


def _one_of(*words: str) -> Check:
    return lambda value: None if value.__class__ is str and value in words else " or ".join(words)


def _json_of(kind: Any, expected: str) -> Check:
    def check(value: Any) -> str | None:
        try:
            msgspec.convert(json.loads(value) if value.__class__ is str else value, kind)
        except (ValueError, TypeError, RecursionError):  # a damaged text may raise any of them
            return f"JSON of {expected}"
        return None if value.__class__ is str else f"JSON of {expected}"

    return check


def _origin(value: Any) -> str | None:
    try:
        checked_origin(value)
    except (TypeError, ValueError):
        return "an origin of idempotency keys"
    return None


def _definition(value: Any) -> str | None:
    try:
        saga_of_text(value)
    except (TypeError, ValueError, RecursionError):  # a damaged text may raise any of them
        return "the definition of a saga as JSON"
    return None


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


QUOTED = _json_of(str, "a text")
OUTCOME = _or_null(_json_of(Outcome, "an outcome"))

CELLS: Mapping[str, Mapping[str, Check]] = {
    "runs": {
        "run": _number,
        "saga_id": _json_of(str | int, "a text or a number"),
        "src": _or_null(QUOTED),
        "msg_id": _or_null(_json_of(int, "a number")),
        "reply_as": _or_null(QUOTED),
        "style": _text,
        "steps": _json_of(Itinerary, "step names and groups of them"),
        "fail_step": _or_null(QUOTED),
        "fail_compensation": _or_null(QUOTED),
        "begun_ms": _number,
        "saga": _or_null(_text),
        "input": _or_null(_json_of(Any, "a value")),
        "state": _text,
        "ended_ms": _or_null(_number),
        "outcome": OUTCOME,
        "resolution": OUTCOME,
        "origin": _or_null(_origin),
        "definition": _or_null(_definition),
    },
    "deliveries": {
        "run": _number,
        "number": _number,
        "at_ms": _number,
        "seat": _number,
        "heard": _text,
        "published": _text,
        "detail": _or_null(_text),
        "receipt": _or_null(_text),
    },
    "resumptions": {
        "number": _number,
        "run": _count,
        "asked_ms": _number,
        "done_ms": _or_null(_number),
        "failure": _or_null(_text),
    },
    "sagas": {"digest": _text, "definition": _definition},
    "origins": {"first_run": _count, "origin": _origin},
    "catalogue": {"module": _text},
    "served": {"step": QUOTED, "run": _number, "kind": _or_null(_text)},
    "held": {"run": _count, "at_ms": _number, "step": _or_null(QUOTED), "reason": QUOTED},
    "deadly_calls": {"run": _count, "seat": _number, "call": _one_of("execute", "compensate"), "deaths": _count},
}
"""Checks by table and column. The columns of `runs` are `RUN_COLUMNS`. Only the node can judge rows of `services`."""

BESIDE = ("resumptions", "sagas", "origins", "catalogue", "served", "held", "deadly_calls")
"""The tables that are not part of a run's history; they are checked cell by cell."""


def wrong_cells(table: str, row: Sequence[Any]) -> Iterator[str]:
    """Yield an error sentence for each illegal cell of a row that has all columns of the table in order."""
    for (column, check), value in zip(CELLS[table].items(), row, strict=True):
        expected = check(value)
        if expected is not None:
            yield f"{column}: expected {expected}, got {shown(value)}"


def shown(value: object) -> str:
    """Format a value for a sentence, in ASCII; long values are cut."""
    text = ascii(value[: SHOWN_MAX + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."

"""Encoding of values in the journal: legible if that is lossless.

Laws: text is JSON in ASCII, so any string that JSON can express is restored exactly. Receipts are written by the codec
(`choreo/saga/codec`), and only who drives runs decodes them: commands that only read a journal never do.
"""

import json
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec
from msgspec.structs import asdict

from choreo.protocol.event import InDoubt
from choreo.saga.codec import decode, encode
from choreo.saga.data import Encoded
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary
from choreo.saga.raised import Defect

Kept = str | None
"""An encoded value: JSON, or NULL for None."""

SCALARS = (bool, int, float, str)
INTEGER_BITS = 4096
COMPLETED = State.COMPLETED

quote = encode_basestring_ascii


def quote_or_none(text: str | None) -> str | None:
    return None if text is None else quote(text)


def read(text: str) -> Any:
    return json.loads(text)


def read_or_none(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def is_scalar(value: Any) -> bool:
    """Return whether a value is a number or a text that JSON can express; Python refuses to parse very long numbers."""
    if value.__class__ is int:
        return value.bit_length() < INTEGER_BITS
    return value.__class__ in SCALARS


def keep(result: Any, what: str) -> Kept:
    """Encode a kept result. Raises `NotSnapshotable`, which names it as `what`, if JSON cannot keep it."""
    if result is None:
        return None
    return result.text if result.__class__ is Encoded else encode(result, what)


def unkeep(kept: Kept) -> Any:
    """Return a result as it is kept. Raises `Undecodable`."""
    if kept is None:
        return None
    value = decode(kept)
    return Encoded(kept) if kept.startswith(("{", "[")) else value


def steps_text(steps: Itinerary) -> str:
    return json.dumps(steps)


def read_steps(text: str) -> Itinerary:
    return tuple(tuple(group) if isinstance(group, list) else group for group in json.loads(text))


def outcome_text(outcome: Outcome) -> str:
    """Encode an outcome without its empty fields."""
    if outcome.state is COMPLETED and outcome.result is None:
        return f'{{"state": "completed", "completed_steps": {outcome.completed_steps}}}'
    return json.dumps({name: value for name, value in asdict(outcome).items() if value not in (None, 0, ())})


def read_outcome(text: str) -> Outcome:
    return msgspec.convert(json.loads(text), Outcome)


def detail_text(detail: object) -> str | None:
    """Encode the reason of a failure: a text, or a defect with its traceback.

    The reason of an outcome is in its run's row.
    """
    if detail is None or detail.__class__ is Outcome:
        return None
    return quote(detail) if isinstance(detail, str) else json.dumps(msgspec.to_builtins(detail))


def read_detail(text: str | None) -> str | Defect | InDoubt | None:
    if text is None:
        return None
    detail = json.loads(text)
    if isinstance(detail, str):
        return detail
    return msgspec.convert(detail, InDoubt) if "undo" in detail else msgspec.convert(detail, Defect)

"""Idempotency keys: each names one action of one step of one run, and is the same for every attempt.

Laws: pure; keys are derived, never random. A runner draws an origin once; the rest of the key follows from the call:

    <origin>.<run>.<position>         the local transaction
    <origin>.<run>.<position>.undo    its compensation

A key has at most `KEY_CHARACTERS_MAX` characters, all of them unreserved in URLs (RFC 3986, section 2.3). Runs that an
older version of choreo has begun keep their old keys, `run-<run>/<position>` for both actions: a call may have been
made under them.
"""

from msgspec import Struct

UNDO = ".undo"
KEY_CHARACTERS_MAX = 64
ORIGIN_CHARACTERS_MAX = 20
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
"""The characters allowed in an origin; the dot separates the parts of a key."""

OLD_PREFIX, OLD_SEPARATOR = "run-", "/"


class Key(Struct, frozen=True):
    """A parsed key. `origin` is None in keys of older versions, which are the same for both actions."""

    origin: str | None
    run: str
    position: int
    is_compensation: bool


def checked_origin(origin: str) -> str:
    """Return the origin. Raises `ValueError` for one that cannot be part of a key."""
    if not 0 < len(origin) <= ORIGIN_CHARACTERS_MAX or not UNRESERVED.issuperset(origin):
        raise ValueError(
            f"origin: expected 1 to {ORIGIN_CHARACTERS_MAX} letters, digits, '-', '_' or '~', got {origin!r}"
        )
    return origin


def key_prefix(origin: str | None, run: int | str) -> str:
    """Return the common prefix of all keys of a run; without an origin, the prefix of older versions."""
    return f"{OLD_PREFIX}{run}{OLD_SEPARATOR}" if origin is None else f"{origin}.{run}."


def compensation_key(execution_key: str) -> str:
    """Return the key of the compensation of the local transaction with this key."""
    return execution_key if OLD_SEPARATOR in execution_key else execution_key + UNDO


def execution_key(key: str) -> str:
    """Return the key of the local transaction, given that key or the key of its compensation."""
    return key.removesuffix(UNDO)


def read_key(key: str) -> Key:
    """Parse a key. Raises `ValueError` for a text that is not a key."""
    origin, _, rest = key.removesuffix(UNDO).partition(".")
    run, _, position = rest.partition(".")
    if OLD_SEPARATOR in key:
        origin, (run, _, position) = "", key.removeprefix(OLD_PREFIX).partition(OLD_SEPARATOR)
    if not run or not position.isdecimal():
        raise ValueError(f"key: expected <origin>.<run>.<position>, and {UNDO} behind it or not, got {key!r}")
    return Key(origin or None, run, int(position), key.endswith(UNDO))

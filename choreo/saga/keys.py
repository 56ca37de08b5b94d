"""Idempotency keys: the name of one action of one step of one run, the same for every attempt.

Laws: pure; derived, never drawn. A runner draws an origin once; everything else follows from it:

    <origin>.<run>.<position>         the local transaction
    <origin>.<run>.<position>.undo    its compensation

A key has at most `KEY_CHARACTERS_MAX` characters, all of them unreserved in URLs (RFC 3986, section 2.3). Runs that an
older choreo has begun keep the keys that it gave them, `run-<run>/<position>` for both actions: a call may have been
made under them.
"""

from msgspec import Struct

UNDO = ".undo"
KEY_CHARACTERS_MAX = 64
ORIGIN_CHARACTERS_MAX = 20
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
"""What an origin may consist of; the dot separates the parts of a key."""

OLD_PREFIX, OLD_SEPARATOR = "run-", "/"


class Key(Struct, frozen=True):
    """A key, taken apart. `origin` is None in keys of an older choreo, which do not tell the two actions apart."""

    origin: str | None
    run: str
    position: int
    is_compensation: bool


def checked_origin(origin: str) -> str:
    """Return the origin. Raises `ValueError` for one that makes no keys."""
    if not 0 < len(origin) <= ORIGIN_CHARACTERS_MAX or not UNRESERVED.issuperset(origin):
        raise ValueError(
            f"origin: expected 1 to {ORIGIN_CHARACTERS_MAX} letters, digits, '-', '_' or '~', got {origin!r}"
        )
    return origin


def key_prefix(origin: str | None, run: int | str) -> str:
    """Return the common beginning of all keys of a run; without an origin, of a run that an older choreo has begun."""
    return f"{OLD_PREFIX}{run}{OLD_SEPARATOR}" if origin is None else f"{origin}.{run}."


def compensation_key(execution_key: str) -> str:
    """Return the key of the compensation of what was executed under `execution_key`."""
    return execution_key if OLD_SEPARATOR in execution_key else execution_key + UNDO


def execution_key(key: str) -> str:
    """Return the key of the local transaction that a key, its own or that of its compensation, is about."""
    return key.removesuffix(UNDO)


def read_key(key: str) -> Key:
    """Take a key apart. Raises `ValueError` for a text that is none."""
    origin, _, rest = key.removesuffix(UNDO).partition(".")
    run, _, position = rest.partition(".")
    if OLD_SEPARATOR in key:
        origin, (run, _, position) = "", key.removeprefix(OLD_PREFIX).partition(OLD_SEPARATOR)
    if not run or not position.isdecimal():
        raise ValueError(f"key: expected <origin>.<run>.<position>, and {UNDO} behind it or not, got {key!r}")
    return Key(origin or None, run, int(position), key.endswith(UNDO))

"""Scalars that JSON has no form for: the tag of each class, the text that it is written as, and the way back.

Laws: pure; only exact classes have a form, so that no method of an author's subclass is ever called.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isfinite
from pathlib import PosixPath, PurePosixPath
from typing import Any
from uuid import UUID

from choreo.saga.codec.errors import Undecodable, Unsupported

INTEGER_BITS = 4096
"""Longer numbers are written in hexadecimal: Python refuses to parse very long decimal ones."""

SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

MICROSECOND = timedelta(microseconds=1)

Zone = str | list[Any] | None


def number(value: int) -> Any:
    return value if value.bit_length() < INTEGER_BITS else {"$int": hex(value)}


def is_json_text(value: str) -> bool:
    """Return whether JSON gives a text back as it is; two surrogates side by side would become one letter."""
    return value.isascii() or SURROGATE_PAIR.search(value) is None


def text(value: str) -> Any:
    return value if is_json_text(value) else {"$text": _base64(value.encode("utf-8", "surrogatepass"))}


def fraction(value: float) -> Any:
    return value if isfinite(value) else {"$float": repr(value)}


def _moment(value: Any) -> Any:
    """Write a datetime or a time: ISO 8601, or a list of that, its fold and its zone where the text lacks them."""
    zone = value.tzinfo
    if not value.fold and (zone is None or (zone.__class__ is timezone and _is_unnamed(zone))):
        return value.isoformat()
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(zone)]


def _is_unnamed(zone: timezone) -> bool:
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)


def _zone(zone: Any) -> Zone:
    if zone is None:
        return None
    if zone.__class__ is timezone:
        return [zone.utcoffset(None) // MICROSECOND, zone.tzname(None)]
    kind = type(zone)
    if (kind.__module__, kind.__qualname__) == ("zoneinfo", "ZoneInfo") and zone.key is not None:
        return str(zone.key)
    raise Unsupported(zone)


def _read_moment(kind: Any) -> Callable[[Any], Any]:
    def read(body: Any) -> Any:
        if isinstance(body, str):
            return kind.fromisoformat(body)
        iso, fold, zone = body
        return kind.fromisoformat(iso).replace(tzinfo=_read_zone(zone), fold=fold)

    return read


def _read_zone(zone: Zone) -> Any:
    if zone is None:
        return None
    if isinstance(zone, str):
        from zoneinfo import ZoneInfo  # slow to import, and seldom needed

        return ZoneInfo(zone)
    offset, name = zone
    unnamed = timezone(timedelta(microseconds=offset))
    return unnamed if unnamed.tzname(None) == name else timezone(timedelta(microseconds=offset), name)


def _base64(value: bytes | bytearray) -> str:
    return b2a_base64(value, newline=False).decode()


def _read_base64(body: str) -> bytes:
    return a2b_base64(body, strict_mode=True)


def _read_float(body: str) -> float:
    if body not in ("nan", "inf", "-inf"):
        raise Undecodable(f"expected nan, inf or -inf in $float, got {body!r}")
    return float(body)


WRITERS: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("$bytes", _base64),
    datetime: ("$datetime", _moment),
    date: ("$date", date.isoformat),
    time: ("$time", _moment),
    timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    timezone: ("$timezone", _zone),
    Decimal: ("$decimal", str),
    UUID: ("$uuid", str),
    PosixPath: ("$path", str),
    PurePosixPath: ("$purepath", str),
}
"""By class: the tag, and the function that writes the body."""

READERS: Mapping[str, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
    "$int": (str, lambda body: int(body, 16)),
    "$float": (str, _read_float),
    "$text": (str, lambda body: _read_base64(body).decode("utf-8", "surrogatepass")),
    "$bytes": (str, _read_base64),
    "$bytearray": (str, lambda body: bytearray(_read_base64(body))),
    "$datetime": ((str, list), _read_moment(datetime)),
    "$date": (str, date.fromisoformat),
    "$time": ((str, list), _read_moment(time)),
    "$timedelta": (list, lambda body: timedelta(*body)),
    "$timezone": (list, _read_zone),
    "$decimal": (str, Decimal),
    "$uuid": (str, UUID),
    "$path": (str, PosixPath),
    "$purepath": (str, PurePosixPath),
}
"""By tag: the type that the body must have, and the function that reads it."""

write_bytearray = _base64

"""Times as text: ages, durations and dates; and parsing of ages as people write them.

Laws: never negative, even when a clock went backward. A printed age can be typed as an argument.
"""

import re
import time

from choreo.trace.record import time_text

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
COARSER_FROM = {"d": 2, "h": 2, "m": 2, "s": 0}
"""Smallest number of each unit for which that unit is used instead of a finer one."""

AGE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def age_text(milliseconds: int) -> str:
    """Format an age: `45s`, `12m`, `3h`, `41d`; whole units, rounded down."""
    unit = next(unit for unit, least in COARSER_FROM.items() if milliseconds >= least * UNITS[unit] or unit == "s")
    return f"{max(milliseconds, 0) // UNITS[unit]}{unit}"


def duration_text(milliseconds: int) -> str:
    """Format a duration: `7 ms`, `2.5 s`, and from two minutes on as an age."""
    milliseconds = max(milliseconds, 0)
    if milliseconds < SECOND:
        return f"{milliseconds} ms"
    return f"{milliseconds / SECOND:.1f} s" if milliseconds < 2 * MINUTE else age_text(milliseconds)


def when_text(at_ms: int) -> str:
    """Format a date: `2026-11-24 12:31:10 UTC`."""
    text = time_text(at_ms)
    return f"{text[:10]} {text[11:19]} UTC" if text.endswith("Z") else f"{text} ms"


def read_age(text: str) -> int:
    """Parse `30d`, `12h`, `90m` or `45s` to milliseconds. Raises `ValueError`."""
    found = AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected an age such as 30d, 12h, 90m or 45s, got {text!r}")
    return int(found[1]) * UNITS[found[2]]

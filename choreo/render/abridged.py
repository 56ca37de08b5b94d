"""Abridgement of a long sequence: repetitions, and the middle of very many messages, are left out and counted."""

from collections.abc import Iterator

from msgspec.structs import replace
from rich.text import Text

from choreo.analysis.sequence import Message
from choreo.render.screen import FAINT, Screen

REPEATS_MIN, REPEATS_SHOWN, PERIOD_MAX = 4, 2, 6
"""Smallest number of repetitions that is abridged, repetitions shown then, and longest period searched for."""

MESSAGES_MAX, MESSAGES_FIRST, MESSAGES_LAST = 150, 60, 40
"""Longest sequence drawn in full, and the number of first and last messages drawn of a longer one."""


def abridged(messages: tuple[Message, ...], screen: Screen) -> Iterator[Message | Text]:
    """Yield the messages, with a note in place of omitted ones: repetitions, and the middle of a long sequence."""
    lines = list(_without_repetitions(messages, screen))
    left_out = len(lines) - MESSAGES_FIRST - MESSAGES_LAST
    if len(lines) <= MESSAGES_MAX:
        yield from lines
        return
    yield from lines[:MESSAGES_FIRST]
    yield _note(f"{left_out} more", screen)
    yield from lines[-MESSAGES_LAST:]


def _without_repetitions(messages: tuple[Message, ...], screen: Screen) -> Iterator[Message | Text]:
    looks = [replace(each, number=0) for each in messages]
    index = 0
    while index < len(messages):
        period, times = _repetition(looks, index)
        if times < REPEATS_MIN:
            yield messages[index]
            index += 1
            continue
        yield from messages[index : index + REPEATS_SHOWN * period]
        yield _note(f"the same, {times - REPEATS_SHOWN} times more", screen)
        index += times * period


def _repetition(looks: list[Message], first: int) -> tuple[int, int]:
    """Return the period and the count of the repetition that begins at `first`; (1, 1) where there is none."""
    for period in range(1, PERIOD_MAX + 1):
        times = 1
        while looks[first : first + period] == looks[first + times * period : first + (times + 1) * period]:
            times += 1
        if times >= REPEATS_MIN:
            return period, times
    return 1, 1


def _note(text: str, screen: Screen) -> Text:
    return Text(f"   {screen.glyphs.ellipsis} {text} {screen.glyphs.ellipsis}", FAINT)

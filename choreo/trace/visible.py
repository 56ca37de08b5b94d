"""Text from outside, made fit for a terminal.

Laws: pure. Whatever a text is made of, it moves no cursor, changes no colour or direction, and ends no line.
"""

import unicodedata
from collections.abc import Iterator

MARKS_MAX = 2
"""So many combining marks may stand on one character; a tower of them would reach into the lines above."""

CHARACTERS_MAX = 400
"""More of a text than this is never shown, unless said otherwise."""

UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
MARKS = frozenset({"Mn", "Me", "Mc"})
UNSURE = frozenset((*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)))
"""Variation selectors and skin tones: how wide they make a character is every terminal's own decision."""

NO_WIDTH = frozenset((*range(0x1160, 0x1200), 0x3164, *range(0xD7B0, 0xD7FC), 0xFFA0))
"""Parts of Korean syllables and fillers, which take no column and are no marks."""


def visible(text: str, ascii_only: bool = False, characters_max: int = CHARACTERS_MAX) -> str:
    """The text with everything escaped that is no plain character: control characters, direction overrides, …"""
    shown = "".join(_visible(text[:characters_max], ascii_only))
    return shown if len(text) <= characters_max else f"{shown}{'...' if ascii_only else '…'}"


def visible_lines(text: str) -> str:
    """The same for a text of several lines, such as a traceback: its own line ends stay."""
    return "\n".join(visible(line, characters_max=len(line)) for line in text.split("\n"))


def _visible(text: str, ascii_only: bool) -> Iterator[str]:
    marks = MARKS_MAX  # there is nothing yet for a mark to stand on
    for character in text:
        if character.isascii() and character.isprintable():
            marks = 0
            yield character
            continue
        category = unicodedata.category(character)
        marks = marks + 1 if category in MARKS or ord(character) in NO_WIDTH or ord(character) in UNSURE else 0
        if ascii_only or category in UNFIT or marks > MARKS_MAX or ord(character) in UNSURE:
            yield _escaped(character)
        else:
            yield character


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

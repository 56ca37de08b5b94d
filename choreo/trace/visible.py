"""Sanitizer of outside text for a terminal.

Laws: pure. The result moves no cursor, changes no colour or text direction, and ends no line, for any input.
"""

import unicodedata
from collections.abc import Iterator

MARKS_MAX = 2
"""Maximum of combining marks on one character; more of them would reach into the lines above."""

CHARACTERS_MAX = 400
"""Maximum length of the shown text, unless the caller sets another."""

UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
MARKS = frozenset({"Mn", "Me", "Mc"})
UNSURE = frozenset((*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)))
"""Variation selectors and skin tones: terminals differ in the width that they give the character."""

NO_WIDTH = frozenset((*range(0x1160, 0x1200), 0x3164, *range(0xD7B0, 0xD7FC), 0xFFA0))
"""Parts of Korean syllables and fillers, which take no column and are not marks."""


def visible(text: str, ascii_only: bool = False, characters_max: int = CHARACTERS_MAX) -> str:
    """Return the text with every unsafe character escaped, such as control characters and direction overrides."""
    shown = "".join(_visible(text[:characters_max], ascii_only))
    return shown if len(text) <= characters_max else f"{shown}{'...' if ascii_only else '…'}"


def visible_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, escaped line by line; the line ends stay."""
    return "\n".join(visible(line, characters_max=len(line)) for line in text.split("\n"))


def _visible(text: str, ascii_only: bool) -> Iterator[str]:
    marks = MARKS_MAX  # there is no character yet for a mark to stand on
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

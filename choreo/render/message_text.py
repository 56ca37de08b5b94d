"""Texts of a message in a diagram or list: its label, its event, and its notes, in their styles."""

from collections.abc import Iterable

from rich.text import Text

from choreo.analysis.sequence import Message, Note, Tone
from choreo.render.names import cut
from choreo.render.screen import BAD, STYLES, Screen

FACT_MAX = 24
SEPARATOR = ", "


def label_of(message: Message, ellipsis: str) -> str:
    return cut(message.fact, FACT_MAX, ellipsis)


def notes_of(message: Message, screen: Screen, has_lifelines: bool = True) -> list[Text]:
    """Return the notes of a message; without lifelines, include those that the lifelines would show."""
    publishes = screen.glyphs.source if has_lifelines else "publishes"
    return [_text_of(note, publishes) for note in message.notes if note.tone is not Tone.SEEN or not has_lifelines]


def _text_of(note: Note, publishes: str) -> Text:
    if note.tone is Tone.PUBLISHED:
        return Text(f"{publishes} {note.text}", STYLES.get(note.text, ""))
    return Text(note.text, BAD if note.tone is Tone.BAD else "")


def event_of(message: Message) -> Text:
    """Return the event with its publisher, in the style of the message."""
    return Text(message.text, style_of(message))


def style_of(message: Message) -> str:
    """Return the style of a message: by its event, or red where the delivery failed."""
    return BAD if message.is_bad else STYLES.get(message.fact, "")


def packed(parts: Iterable[Text], separator: str, screen: Screen, width: int) -> list[Text]:
    """Pack as many parts into a line as fit; break a part only where it is longer than a line."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(separator) + part.cell_len <= width:
            lines[-1] = Text(separator).join([lines[-1], part])
        else:
            lines += filter(None, screen.wrapped(part, 0, width))
    return lines

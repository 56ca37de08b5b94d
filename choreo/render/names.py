"""Names from outside, made safe for a terminal.

Laws: a name moves no cursor and changes no colour, whatever characters it has. It takes exactly the columns counted
here.
"""

from collections.abc import Sequence

from rich.cells import cell_len

from choreo.trace.visible import visible as visible


def shown(name: str, ascii_only: bool = False) -> str:
    """Return a name for display; in quotes where it is empty or begins or ends with a space."""
    text = visible(name, ascii_only)
    return text if text and text == text.strip(" ") else f"'{text}'"


def cut(text: str, width: int, ellipsis: str) -> str:
    """Return the longest prefix that fits into `width` columns, with an ellipsis where the text was longer."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    return _head(text, room) + ellipsis if room >= 0 else ellipsis[: max(width, 0)]


def cut_apart(names: Sequence[str], width: int, ellipsis: str) -> list[str]:
    """Shorten each visible name in its middle; number the names that would become equal."""
    seen: dict[str, int] = {}
    labels = []
    for name in names:
        label = _cut_in_the_middle(name, width, ellipsis)
        seen[label] = count = seen.get(label, 0) + 1
        if count > 1 and label != name:
            label = _cut_in_the_middle(name, width - len(str(count)), ellipsis) + str(count)
        labels.append(label)
    return labels


def _cut_in_the_middle(text: str, width: int, ellipsis: str) -> str:
    if cell_len(text) <= width:
        return text
    room = max(width - cell_len(ellipsis), 0)
    tail = _head(text[::-1], room // 3)[::-1]
    while tail and cell_len(tail[0]) == 0:  # a combining mark without its base character
        tail = tail[1:]
    return _head(text, room - cell_len(tail)) + ellipsis + tail


def _head(text: str, room: int) -> str:
    end = 0
    for character in text:
        room -= cell_len(character)
        if room < 0:
            break
        end += 1
    return text[:end]


def padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))

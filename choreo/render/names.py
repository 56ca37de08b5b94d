"""Names from outside, made fit for a terminal.

Laws: whatever a name is made of, it moves no cursor, changes no colour, and takes as many columns as are counted here.
"""

from collections.abc import Sequence

from rich.cells import cell_len

from choreo.trace.visible import visible as visible


def shown(name: str, ascii_only: bool = False) -> str:
    """A name on its own: in quotes where its ends could not be seen otherwise."""
    text = visible(name, ascii_only)
    return text if text and text == text.strip(" ") else f"'{text}'"


def cut(text: str, width: int, ellipsis: str) -> str:
    """As much of a visible text as fits into `width` columns; the ellipsis tells where there was more."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    return _head(text, room) + ellipsis if room >= 0 else ellipsis[: max(width, 0)]


def cut_apart(names: Sequence[str], width: int, ellipsis: str) -> list[str]:
    """Each visible name cut in its middle; what would look the same once it is cut is numbered."""
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
    while tail and cell_len(tail[0]) == 0:  # a mark without what it stood on
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

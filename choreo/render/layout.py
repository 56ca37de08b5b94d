"""Layout of a sequence diagram: the columns of the lifelines, and the width of the text at their right.

Laws: names do not touch, and every label fits between its lifelines. Of several layouts that fit the width, the one
with the longest names is used.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise, product

from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.sequence import Form, Message, Sequence
from choreo.render.message_text import SEPARATOR, label_of, notes_of
from choreo.render.names import cut, cut_apart
from choreo.render.screen import Screen

NAME_WIDTHS = (28, 20, 16, 12, 10, 8)
"""Widths of the names in the header, in columns; the first one that fits is used."""

NOTES_WIDTHS = (40, 28, 20, 16)
"""Widths, in columns, of the text at the right of the lifelines; the first one that fits is used."""

LABEL_SPACES = (6, 4, 2)
"""Columns of an arrow's shaft beside its label: long, short, none."""

GAP_MIN, NARROW_GAP, NARROW_LABEL = 5, 4, 24
NARROW_LANES_MAX = 20
RUN_MAX = 12
AFTER_LANES = 3
"""Columns between the last lifeline and the text at its right."""


class Scene(Struct, frozen=True):
    """Cast of a sequence: participants from left to right by their keys, their display names, and the runs."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    is_step: tuple[bool, ...]
    tag_of: Mapping[str, str]
    """By run: its label in the diagram; empty for a single run."""
    number_width: int

    @property
    def tag_width(self) -> int:
        return max(map(cell_len, self.tag_of.values()), default=-2) + 2

    @property
    def margin(self) -> int:
        return self.number_width + 3 + self.tag_width

    @property
    def lane_of(self) -> dict[str, int]:
        return {key: route for route, key in enumerate(self.keys)}


class Layout(Struct, frozen=True):
    """Layout of a diagram: columns and labels of the lifelines, width of the text at the right."""

    columns: tuple[int, ...]
    labels: tuple[str, ...]
    notes_width: int
    is_narrow: bool = False
    """Names are stacked like stairs, and the events stand in the text at the right."""

    @property
    def notes_column(self) -> int:
        return self.columns[-1] + AFTER_LANES


def scene_of(sequence: Sequence, screen: Screen) -> Scene:
    """Return the cast of a sequence with at least one message."""
    shown = {message.run for message in sequence.messages}
    names = cut_apart([screen.name(name) for name in sequence.runs.values()], RUN_MAX, screen.glyphs.ellipsis)
    tags = zip(sequence.runs, names, strict=True) if len(shown) > 1 else ()
    return Scene(
        tuple(each.key for each in sequence.participants),
        tuple(screen.name(each.name) for each in sequence.participants),
        tuple(not each.is_role for each in sequence.participants),
        {run: tag for run, tag in tags if run in shown},
        len(str(sequence.messages[-1].number)),
    )


def lay_out(sequence: Sequence, scene: Scene, screen: Screen, width: int) -> Layout | None:
    """Fit the longest names and the widest text into the width; else the narrow layout; else None."""
    if len(scene.keys) > max(NARROW_LANES_MAX, width // GAP_MIN):
        return None
    ellipsis = screen.glyphs.ellipsis
    needed = max(Text(SEPARATOR).join(notes_of(each, screen)).cell_len for each in sequence.messages)
    spans = _spans(sequence.messages, scene, ellipsis)
    rooms = list(product(dict.fromkeys(min(needed, each) for each in NOTES_WIDTHS), LABEL_SPACES))
    rooms.sort(key=lambda room: room[1] == LABEL_SPACES[-1])  # more lines of text beat an invisible shaft
    for name_width, (notes_width, space) in product(NAME_WIDTHS, rooms):
        labels = _labels(scene, name_width, ellipsis)
        columns = columns_of(scene.margin, [cell_len(label) for label in labels], spans, space)
        name_end = columns[-1] + (cell_len(labels[-1]) + 1) // 2
        notes_end = columns[-1] + (AFTER_LANES + notes_width if notes_width else 0)
        if max(name_end, notes_end) <= width:
            return Layout(columns, labels, width - columns[-1] - AFTER_LANES)
    return _lay_out_narrow(scene, width, ellipsis)


def _labels(scene: Scene, width: int, ellipsis: str) -> tuple[str, ...]:
    """Shorten the names of the steps to the width; roles have short, well-known names and stay whole."""
    named = list(zip(scene.names, scene.is_step, strict=True))
    cut_names = iter(cut_apart([name for name, step in named if step], width, ellipsis))
    return tuple(next(cut_names) if step else name for name, step in named)


def _lay_out_narrow(scene: Scene, width: int, ellipsis: str) -> Layout | None:
    count = len(scene.keys)
    gap = min(NARROW_GAP, (width - scene.margin - NARROW_LABEL) // count)
    if gap < NARROW_GAP - 1 or count > NARROW_LANES_MAX:
        return None
    columns = tuple(scene.margin + index * gap for index in range(count))
    labels = tuple(cut(name, width - column, ellipsis) for name, column in zip(scene.names, columns, strict=True))
    return Layout(columns, labels, width - columns[-1] - AFTER_LANES, is_narrow=True)


def _spans(messages: Iterable[Message], scene: Scene, ellipsis: str) -> list[tuple[int, int, int]]:
    """Return the space that each label needs: left lane, right lane, length of the label; narrow spans come first."""
    lane_of, last = scene.lane_of, len(scene.keys) - 1
    longest: dict[tuple[int, int], int] = {}
    for message in messages:
        if message.form is Form.SPOT:
            continue
        route, length = lane_of[message.who], cell_len(label_of(message, ellipsis))
        if message.source is not None:
            route = lane_of[message.source]
            other = label_target(route, [lane_of[target.key] for target in message.targets])
        else:
            other, length = (route + 1 if route < last else route - 1), length + 2
        span = max(min(route, other), 0), max(route, other)
        longest[span] = max(longest.get(span, 0), length)
    return sorted(((a, b, length) for (a, b), length in longest.items() if a < b), key=lambda span: span[1] - span[0])


def label_target(source: int, targets: Iterable[int]) -> int:
    """Return the lane up to which a label may extend: the nearest target to the left, else to the right, else none."""
    left = [target for target in targets if target < source]
    right = [target for target in targets if target > source]
    return max(left) if left else min(right, default=source)


def columns_of(margin: int, names: list[int], spans: list[tuple[int, int, int]], space: int) -> tuple[int, ...]:
    """Return the columns of the lifelines: names do not touch, and each label fits between its lanes."""
    gaps = [max(GAP_MIN, (a + 1) // 2 + b // 2 + 2) for a, b in pairwise(names)]
    for left, right, length in spans:
        missing = length + space - sum(gaps[left:right])
        for index in range(max(missing, 0)):
            gaps[left + index % (right - left)] += 1
    return tuple(accumulate(gaps, initial=margin + names[0] // 2))

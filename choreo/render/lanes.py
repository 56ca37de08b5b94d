"""Sequence diagram with one lifeline for each participant, side by side.

Laws: a message is one line, with a dot at its publisher and an arrowhead at each subscriber. The lifeline of a step is
heavy while its local transaction is in force, and a row of question marks from the moment it is in doubt.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise, product

from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.recording import Message, Recording
from choreo.protocol.event import Event, Fact, InDoubt
from choreo.render.canvas import Line
from choreo.render.names import cut, cut_apart
from choreo.render.screen import FAINT, ROLE, TITLE, Glyphs, Screen, style_of
from choreo.render.words import who_and_what

NAME_WIDTHS = (28, 20, 16, 12, 10, 8)
"""Widths of the names in the header, in columns; the first one that fits is used."""

LABEL_SPACES = (6, 4, 2)
"""Columns of an arrow's shaft beside its label: long, short, none."""

GAP_MIN, NARROW_GAP, NARROW_LABEL = 5, 4, 24
NARROW_LANES_MAX = 20


class Lanes(Struct, frozen=True):
    """Columns of the participants: `seats` from left to right, with the columns of their lifelines and their names."""

    seats: tuple[int, ...]
    columns: tuple[int, ...]
    names: tuple[str, ...]
    is_narrow: bool = False
    """Names are stacked like stairs, and the events stand in the text at the right."""

    @property
    def column_of(self) -> dict[int, int]:
        return dict(zip(self.seats, self.columns, strict=True))

    @property
    def roles(self) -> tuple[int, ...]:
        """Return the seats of the roles, which are no steps."""
        return tuple(seat for seat in self.seats if seat >= len(self.seats) - 2)


def seats_in_order(recording: Recording) -> tuple[int, ...]:
    """Return the client, the steps and the coordinator, in this order; the orchestrator stands between client and
    steps.
    """
    table, steps = recording.table, tuple(range(len(recording.plan.steps)))
    if recording.style == "orchestration":
        return (table.client, recording.reporter, *steps)
    return (table.client, *steps, recording.reporter)


def lay_out(
    seats: Sequence[int], names: Sequence[str], messages: Sequence[Message], width: int, ellipsis: str
) -> Lanes | None:
    """Fit the lifelines and labelled arrows into the width; else the narrow layout; else None."""
    margin = len(str(len(messages))) + 3
    spans = _label_spans(seats, messages)
    for name_width, space in product(NAME_WIDTHS, LABEL_SPACES):  # a short arrow beats a short name
        labels = _labels(seats, names, name_width, ellipsis)
        columns = columns_of(margin, [cell_len(label) for label in labels], spans, space)
        if columns[-1] + (cell_len(labels[-1]) + 1) // 2 < width:
            return Lanes(tuple(seats), columns, labels)
    return _lay_out_narrow(seats, names, margin, width, ellipsis)


def _labels(seats: Sequence[int], names: Sequence[str], width: int, ellipsis: str) -> tuple[str, ...]:
    """Shorten the names of the steps to the width; roles have short, well-known names and stay whole."""
    is_step = [seat < len(seats) - 2 for seat in seats]
    cut_names = iter(cut_apart([name for name, step in zip(names, is_step, strict=True) if step], width, ellipsis))
    return tuple(next(cut_names) if step else name for name, step in zip(names, is_step, strict=True))


def _lay_out_narrow(seats: Sequence[int], names: Sequence[str], margin: int, width: int, ellipsis: str) -> Lanes | None:
    room = width - margin - NARROW_LABEL
    gap = min(NARROW_GAP, room // len(seats))
    if gap < NARROW_GAP - 1 or len(seats) > NARROW_LANES_MAX:
        return None
    columns = tuple(margin + index * gap for index in range(len(seats)))
    labels = tuple(cut(name, width - column, ellipsis) for name, column in zip(names, columns, strict=True))
    return Lanes(tuple(seats), columns, labels, is_narrow=True)


def _label_spans(seats: Sequence[int], messages: Iterable[Message]) -> list[tuple[int, int, int]]:
    """Return the space that each label needs: left lane, right lane, length of the label; each span once."""
    lane_of = {seat: lane for lane, seat in enumerate(seats)}
    longest: dict[tuple[int, int], int] = {}
    for message in messages:
        source = lane_of[message.publisher]
        target = label_target(source, [lane_of[seat] for seat in message.reacted + message.ignored])
        span = (min(source, target), max(source, target))
        longest[span] = max(longest.get(span, 0), len(label_of(message.event)))
    return spans_of(longest)


def spans_of(longest: Mapping[tuple[int, int], int]) -> list[tuple[int, int, int]]:
    """Convert the longest label between each two lanes to spans. Narrow spans come first: they leave no choice."""
    return sorted(((a, b, length) for (a, b), length in longest.items() if a < b), key=lambda span: span[1] - span[0])


def label_target(source: int, targets: Sequence[int]) -> int:
    """Return the lane up to which a label may extend: the nearest target to the left, else to the right, else none."""
    left = [target for target in targets if target < source]
    right = [target for target in targets if target > source]
    return max(left) if left else min(right, default=source)


def label_of(event: Event) -> str:
    return str(event.topic.fact)


def columns_of(margin: int, names: Sequence[int], spans: Sequence[tuple[int, int, int]], space: int) -> tuple[int, ...]:
    """Return the columns of the lifelines: names do not touch, and each label fits between its lanes."""
    gaps = [max(GAP_MIN, (a + 1) // 2 + b // 2 + 2) for a, b in pairwise(names)]
    for left, right, length in spans:
        missing = length + space - sum(gaps[left:right])
        for index in range(max(missing, 0)):
            gaps[left + index % (right - left)] += 1
    return tuple(accumulate(gaps, initial=margin + names[0] // 2))


Arrow = tuple[int, int]
"""Columns of the lifelines at which an arrow begins and ends."""


def put_shaft(
    line: Line, arrow: Arrow, columns: Iterable[int], signs: Mapping[int, str], glyphs: Glyphs, style: str
) -> None:
    """Draw the shaft of an arrow across the lifelines between its ends. `signs` has the special signs, by column."""
    source, target = arrow
    direction = 1 if target > source else -1
    for column in range(source + direction, target, direction):
        line.put(column, glyphs.dash, style)
    crosses = {glyphs.in_force: glyphs.cross_in_force, glyphs.lifeline: glyphs.cross}
    for column in columns:
        if 0 < (column - source) * direction < (target - source) * direction:
            sign = signs.get(column, glyphs.lifeline)
            line.put(column, crosses.get(sign, sign), style)


def put_label(line: Line, arrow: Arrow, columns: Iterable[int], label: str, style: str) -> None:
    """Put a label on the shaft of an arrow, with blanks around it where they fit."""
    source, length = arrow[0], cell_len(label)
    end = _label_end(arrow, columns, length)
    room = abs(end - source) - 2
    text = f" {label} " if room >= length + 2 else label
    first = source + 1 if end > source else end + 2
    line.put(first + (room - cell_len(text)) // 2, text, style)


def _label_end(arrow: Arrow, columns: Iterable[int], length: int) -> int:
    """Return the lifeline up to which a label is centred: the next one if the label fits, else the arrow's target."""
    source, target = arrow
    between = [column for column in columns if (column - source) * (target - source) > 0]
    beside = min(between, key=lambda column: abs(column - source))
    return beside if abs(beside - source) >= length + LABEL_SPACES[1] else target


def draw(messages: Sequence[Message], lanes: Lanes, screen: Screen, width: int) -> list[Text]:
    """Draw the header, a line for each message, and the ends of the lifelines."""
    pen = _Pen(lanes, screen, len(str(len(messages))), width)
    return [*pen.header(), *map(pen.message, messages), pen.lifelines().text()]


class _Pen:
    """Draws messages line by line; tracks which local transactions are in force or in doubt."""

    def __init__(self, lanes: Lanes, screen: Screen, number_width: int, width: int) -> None:
        self._lanes, self._screen, self._glyphs, self._width = lanes, screen, screen.glyphs, width
        self._column_of = lanes.column_of
        self._number_width = number_width + 1
        self._state: dict[int, str] = {}
        """By seat: the style of its step's state."""
        self._sign_of: dict[int, str] = {}
        """By seat: the sign of its lifeline while its step is in force or in doubt."""

    def header(self) -> list[Text]:
        lanes = self._lanes
        if lanes.is_narrow:
            return [self._stair(index).text() for index in range(len(lanes.seats))]
        names = Line()
        for seat, column, name in zip(lanes.seats, lanes.columns, lanes.names, strict=True):
            names.put(column - cell_len(name) // 2, name, self._name_style(seat))
        return [names.text(), self.lifelines().text()]

    def _stair(self, index: int) -> Line:
        line = Line()
        for column in self._lanes.columns[:index]:
            line.put(column, self._glyphs.lifeline, FAINT)
        line.put(self._lanes.columns[index], self._lanes.names[index], self._name_style(self._lanes.seats[index]))
        return line

    def _name_style(self, seat: int) -> str:
        return ROLE if seat in self._lanes.roles else TITLE

    def lifelines(self) -> Line:
        line = Line()
        for seat, column in self._column_of.items():
            if seat in self._sign_of:
                line.put(column, self._sign_of[seat], self._state.get(seat, ""))
            else:
                line.put(column, self._glyphs.lifeline, FAINT)
        return line

    def message(self, message: Message) -> Text:
        self._learn(message.event, message.publisher)
        line, style = self.lifelines(), style_of(message.event)
        line.put(0, f"{message.number:>{self._number_width}}", FAINT)
        source = self._column_of[message.publisher]
        for direction in (-1, 1):
            self._arrow(line, message, source, direction, style)
        line.put(source, self._glyphs.source, style)
        self._label(line, message, source, style)
        return line.text()

    def _learn(self, event: Event, seat: int) -> None:
        fact = event.topic.fact
        self._state[seat] = style_of(event)
        if fact is Fact.SUCCEEDED:
            self._sign_of[seat] = self._glyphs.in_force
        elif fact is Fact.COMPENSATED:
            self._sign_of.pop(seat, None)
        elif isinstance(event.detail, InDoubt):
            self._sign_of[seat] = self._glyphs.in_doubt

    def _arrow(self, line: Line, message: Message, source: int, direction: int, style: str) -> None:
        """Draw the arrow from the publisher to all subscribers on one side."""
        glyphs, column_of = self._glyphs, self._column_of
        heads = {column_of[seat]: glyphs.ignored for seat in message.ignored}
        heads |= {column_of[seat]: glyphs.heads for seat in message.reacted}
        heads = {column: kind for column, kind in heads.items() if (column - source) * direction > 0}
        if not heads:
            return
        furthest = max(heads, key=lambda column: column * direction)
        signs = {column_of[seat]: sign for seat, sign in self._sign_of.items()}
        put_shaft(line, (source, furthest), column_of.values(), signs, glyphs, style)
        for column, kind in heads.items():
            line.put(column - direction, kind[direction > 0], style)

    def _label(self, line: Line, message: Message, source: int, style: str) -> None:
        if self._lanes.is_narrow:
            place, label = self._lanes.columns[-1] + 3, who_and_what(message.event, self._screen.name)
            line.put(place, cut(label, self._width - place, self._glyphs.ellipsis), style)
            return
        label = label_of(message.event)
        target = label_target(source, [self._column_of[seat] for seat in message.reacted + message.ignored])
        if target == source:
            line.put(min(source + 2, self._width - len(label)), label, style)
        else:
            put_label(line, (source, target), self._lanes.columns, label, style)

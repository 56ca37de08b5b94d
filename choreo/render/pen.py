"""Pen of a sequence diagram: a lifeline for each participant, a line for each message.

Laws: a message is one line, with a dot at its publisher and an arrowhead at each subscriber. A lifeline is heavy while
the local transaction of its step is in force in the run of that line, and a question mark while it is in doubt.
"""

from collections.abc import Iterable, Iterator, Mapping

from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.sequence import Arrival, Form, Message, Standing
from choreo.protocol.event import Fact
from choreo.render.abridged import abridged
from choreo.render.canvas import Line
from choreo.render.layout import LABEL_SPACES, Layout, Scene, label_target
from choreo.render.message_text import SEPARATOR, event_of, label_of, notes_of, packed, style_of
from choreo.render.screen import BAD, FAINT, ROLE, STYLES, TITLE, Glyphs, Screen

Arrow = tuple[int, int]
"""Columns of the lifelines at which an arrow begins and ends."""


class Pen:
    """Draws a sequence line by line."""

    def __init__(self, scene: Scene, layout: Layout, screen: Screen) -> None:
        self._scene, self._layout, self._screen = scene, layout, screen
        self._glyphs = screen.glyphs
        self._column_of = dict(zip(scene.keys, layout.columns, strict=True))
        self._signs = {
            Standing.IN_FORCE: (self._glyphs.in_force, STYLES[Fact.SUCCEEDED]),
            Standing.IN_DOUBT: (self._glyphs.in_doubt, BAD),
            Standing.NOT_IN_FORCE: (self._glyphs.lifeline, FAINT),
        }
        self._standing: dict[str, dict[str, Standing]] = {}
        """By run and participant: the state of the local transaction, up to the message that is drawn."""
        self._has_labels = not layout.is_narrow and len(layout.columns) > 1

    def lines(self, messages: tuple[Message, ...]) -> Iterator[Text]:
        yield from self._header()
        unseen = iter(messages)
        for each in abridged(messages, self._screen):
            if isinstance(each, Text):
                yield each
                continue
            self._learn(unseen, each)
            yield from self._message(each)
        self._learn(unseen)
        for run in dict.fromkeys(message.run for message in messages):
            yield self._margin(self._lifelines(self._standing[run]), None, run).text()

    def _learn(self, unseen: Iterator[Message], last: Message | None = None) -> None:
        """Update the states of the local transactions up to this message, or to the end."""
        for message in unseen:
            self._standing.setdefault(message.run, {}).update(message.changes)
            if message is last:
                return

    def _header(self) -> Iterator[Text]:
        layout = self._layout
        styles = [TITLE if step else ROLE for step in self._scene.is_step]
        if layout.is_narrow:
            for index, style in enumerate(styles):
                stair = Line()
                for column in layout.columns[:index]:
                    stair.put(column, self._glyphs.lifeline, FAINT)
                stair.put(layout.columns[index], layout.labels[index], style)
                yield stair.text()
            return
        names = Line()
        for column, label, style in zip(layout.columns, layout.labels, styles, strict=True):
            names.put(column - cell_len(label) // 2, label, style)
        yield names.text()
        yield self._lifelines({}).text()

    def _lifelines(self, standing: Mapping[str, Standing]) -> Line:
        line = Line()
        for key, column in self._column_of.items():
            line.put(column, *self._signs[standing.get(key, Standing.NOT_IN_FORCE)])
        return line

    def _margin(self, line: Line, number: int | None, run: str) -> Line:
        width = self._scene.number_width + 1
        if number is not None:
            line.put(0, f"{number:>{width}}", FAINT)
        if run in self._scene.tag_of:
            line.put(width + 2, self._scene.tag_of[run])
        return line

    def _message(self, message: Message) -> Iterator[Text]:
        standing = self._standing[message.run]
        line = self._margin(self._lifelines(standing), message.number, message.run)
        draw = self._arrow if message.form is Form.ARROW else self._at_one_lifeline
        draw(line, message)
        notes = self._notes(message)
        yield self._beside(line, notes[0]) if notes else line.text()
        for more in notes[1:]:
            yield self._beside(self._lifelines(standing), more)

    def _notes(self, message: Message) -> list[Text]:
        """Return the lines of text at the right; they include the event where arrows have no labels."""
        texts = notes_of(message, self._screen)
        if message.form is not Form.SPOT and not self._has_labels:
            texts.insert(0, event_of(message))
        return packed(texts, SEPARATOR, self._screen, self._layout.notes_width)

    def _beside(self, line: Line, notes: Text) -> Text:
        text = line.text()
        return Text.assemble(text, " " * (self._layout.notes_column - text.cell_len), notes)

    def _arrow(self, line: Line, message: Message) -> None:
        style, source = style_of(message), self._column_of[message.source or ""]
        for direction in (-1, 1):
            self._arrow_to_one_side(line, message, source, direction)
        line.put(source, self._glyphs.source, style)
        if self._has_labels:
            target = label_target(source, [self._column_of[target.key] for target in message.targets])
            put_label(line, (source, target), self._layout.columns, label_of(message, self._glyphs.ellipsis), style)

    def _arrow_to_one_side(self, line: Line, message: Message, source: int, direction: int) -> None:
        """Draw the arrow from the publisher to all subscribers on one side."""
        glyphs, style = self._glyphs, style_of(message)
        arrivals = {self._column_of[target.key]: target.arrival for target in message.targets}
        arrivals = {column: each for column, each in arrivals.items() if (column - source) * direction > 0}
        if not arrivals:
            return
        furthest = max(arrivals, key=lambda column: column * direction)
        standing = self._standing[message.run]
        signs = {self._column_of[key]: self._signs[each][0] for key, each in standing.items() if key in self._column_of}
        put_shaft(line, (source, furthest), self._layout.columns, signs, glyphs, style)
        for column, arrival in arrivals.items():
            heads = glyphs.ignored if arrival is Arrival.IGNORED else glyphs.heads
            head = glyphs.failed if arrival is Arrival.LOST else heads[direction > 0]
            line.put(column - direction, head, style)
            if arrival is Arrival.STRUCK:
                line.put(column, glyphs.failed, style)

    def _at_one_lifeline(self, line: Line, message: Message) -> None:
        """Draw a sign on a lifeline, or a timer's arrowhead beside it; the label of the last lifeline stands at its
        left.
        """
        style, column = style_of(message), self._column_of[message.who]
        side = -1 if self._has_labels and column == self._layout.columns[-1] else 1
        line.put(column, self._sign(message), style)
        place = column + side
        if message.form is Form.TIMER:
            line.put(place, self._timer_head(message, side), style)
            place += side
        if self._has_labels and message.form is not Form.SPOT:
            label = label_of(message, self._glyphs.ellipsis)
            line.put(place + 1 if side > 0 else place - cell_len(label), label, style)

    def _sign(self, message: Message) -> str:
        glyphs = self._glyphs
        if message.arrival is Arrival.STRUCK:
            return glyphs.failed
        if message.form is Form.TIMER:
            return self._signs[self._standing[message.run].get(message.who, Standing.NOT_IN_FORCE)][0]
        return glyphs.up if message.form is Form.SPOT else glyphs.source

    def _timer_head(self, message: Message, side: int) -> str:
        if message.arrival is Arrival.LOST:
            return self._glyphs.failed
        return (self._glyphs.ignored if message.arrival is Arrival.IGNORED else self._glyphs.heads)[side < 0]


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

"""Diagram of one history of the lab: a lifeline for each participant, a line for each happening.

Laws: drawn from trace records alone; every line fits the width. An event is drawn at its delivery, from its publisher
to its subscriber. A lifeline is heavy while its step's local transaction is in force in the run of that line, and a
question mark while it is in doubt.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.sequence import Arrival, Form, Happening, Tone, Word, happenings, in_order, is_role, runs_of
from choreo.render.canvas import Line
from choreo.render.lanes import (
    LABEL_SPACES,
    NAME_WIDTHS,
    NARROW_GAP,
    NARROW_LABEL,
    NARROW_LANES_MAX,
    columns_of,
    put_label,
    put_shaft,
    spans_of,
)
from choreo.render.names import cut, cut_apart, padded
from choreo.render.screen import FAINT, ROLE, STYLES, TITLE, Screen
from choreo.trace.record import Record

BAD = "bold red"
STYLE_OF_FACT = {str(fact): style for fact, style in STYLES.items()}
FACT_MAX, RUN_MAX, WHO_MAX = 24, 12, 24
WORDS_WIDTHS = (40, 28, 20, 16)
"""Widths, in columns, of the text at the right of the lifelines; the first one that fits is used."""

SEPARATOR = ", "
AFTER_LANES = 3
"""Columns between the last lifeline and the text at its right."""

REPEATS_MIN, REPEATS_SHOWN, PERIOD_MAX = 4, 2, 6
"""Smallest number of repetitions that is abridged, repetitions shown then, and longest period searched for."""

HAPPENINGS_MAX, HAPPENINGS_FIRST, HAPPENINGS_LAST = 150, 60, 40
"""Longest history drawn in full, and the number of first and last happenings drawn of a longer one."""


def history_diagram(records: Sequence[Record], screen: Screen, width: int, show_all: bool = False) -> list[Text]:
    """Draw the history in lines of at most `width` columns. With `show_all`, include deliveries without effect."""
    history = happenings(records, screen.name, show_all)
    if not history:
        return []
    scene = _scene(history, records, screen)
    layout = _lay_out(history, scene, screen, width)
    if layout is None:
        return list(_List(scene, screen, width).lines(history))
    picture = list(_Pen(scene, layout, screen, width).lines(history))
    return [*picture, Text(), *_signs(history, screen, width), *_legend(scene.names, layout.labels, screen, width)]


class Scene(Struct, frozen=True):
    """Cast of a history: participants from left to right, their display names, and the runs."""

    participants: tuple[str, ...]
    names: tuple[str, ...]
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
    def is_step(self) -> list[bool]:
        return [not is_role(participant) for participant in self.participants]


class Layout(Struct, frozen=True):
    """Layout of a diagram: columns and labels of the lifelines, width of the text at the right."""

    columns: tuple[int, ...]
    labels: tuple[str, ...]
    words_width: int
    is_narrow: bool = False
    """Names are stacked like stairs, and the events stand in the text at the right."""

    @property
    def words_column(self) -> int:
        return self.columns[-1] + AFTER_LANES


def _scene(history: Sequence[Happening], records: Sequence[Record], screen: Screen) -> Scene:
    participants = in_order((each for happening in history for each in happening.participants), records)
    runs = runs_of(records)
    shown = {run for run in runs if any(each.run == run for each in history)}
    names = cut_apart([screen.name(name) for name in runs.values()], RUN_MAX, screen.glyphs.ellipsis)
    tag_of = dict(zip(runs, names, strict=True)) if len(shown) > 1 else {}
    return Scene(
        tuple(participants),
        tuple(map(screen.name, participants)),
        {run: tag for run, tag in tag_of.items() if run in shown},
        len(str(history[-1].number)),
    )


# Layout


def _lay_out(history: Sequence[Happening], scene: Scene, screen: Screen, width: int) -> Layout | None:
    """Fit the longest names and the widest text into the width; else the narrow layout; else None."""
    ellipsis = screen.glyphs.ellipsis
    needed = max(Text(SEPARATOR).join(_sayings(each, screen)).cell_len for each in history)
    spans = _spans(history, scene, ellipsis)
    widths = dict.fromkeys(min(needed, each) for each in WORDS_WIDTHS)
    rooms = list(product(widths, LABEL_SPACES))
    rooms.sort(key=lambda room: room[1] == LABEL_SPACES[-1])  # more lines of text beat an invisible shaft
    for name_width, (words_width, space) in product(NAME_WIDTHS, rooms):
        labels = _labels(scene, name_width, ellipsis)
        columns = columns_of(scene.margin, [cell_len(label) for label in labels], spans, space)
        name_end = columns[-1] + (cell_len(labels[-1]) + 1) // 2
        words_end = columns[-1] + AFTER_LANES + words_width
        if max(name_end, words_end) <= width:
            return Layout(columns, labels, width - columns[-1] - AFTER_LANES)
    return _lay_out_narrow(scene, width, ellipsis)


def _labels(scene: Scene, width: int, ellipsis: str) -> tuple[str, ...]:
    """Shorten the names of the steps to the width; roles have short, well-known names and stay whole."""
    named = list(zip(scene.names, scene.is_step, strict=True))
    cut_names = iter(cut_apart([name for name, step in named if step], width, ellipsis))
    return tuple(next(cut_names) if step else name for name, step in named)


def _lay_out_narrow(scene: Scene, width: int, ellipsis: str) -> Layout | None:
    count = len(scene.participants)
    gap = min(NARROW_GAP, (width - scene.margin - NARROW_LABEL) // count)
    if gap < NARROW_GAP - 1 or count > NARROW_LANES_MAX:
        return None
    columns = tuple(scene.margin + index * gap for index in range(count))
    labels = tuple(cut(name, width - column, ellipsis) for name, column in zip(scene.names, columns, strict=True))
    return Layout(columns, labels, width - columns[-1] - AFTER_LANES, is_narrow=True)


def _spans(history: Sequence[Happening], scene: Scene, ellipsis: str) -> list[tuple[int, int, int]]:
    """Return the space that each label needs: left lane, right lane, length of the label."""
    lane_of = {participant: lane for lane, participant in enumerate(scene.participants)}
    last = len(lane_of) - 1
    longest: dict[tuple[int, int], int] = {}
    for each in history:
        if each.form is Form.SPOT:
            continue
        lane, length = lane_of[each.who], cell_len(_fact(each, ellipsis))
        if each.source is not None:
            other = lane_of[each.source]
        else:
            other, length = (lane + 1 if lane < last else lane - 1), length + 2
        span = (max(min(lane, other), 0), max(lane, other))
        longest[span] = max(longest.get(span, 0), length)
    return spans_of(longest)


def _fact(happening: Happening, ellipsis: str) -> str:
    return cut(happening.fact, FACT_MAX, ellipsis)


def _sayings(happening: Happening, screen: Screen, has_lifelines: bool = True) -> list[Text]:
    """Return the texts of a happening; without lifelines, include those that the lifelines would show."""
    publishes = screen.glyphs.source if has_lifelines else "publishes"
    return [_saying(word, publishes) for word in happening.words if word.tone is not Tone.SEEN or not has_lifelines]


def _saying(word: Word, publishes: str) -> Text:
    if word.tone is Tone.PUBLISHED:
        return Text(f"{publishes} {word.text}", STYLE_OF_FACT.get(word.text, ""))
    return Text(word.text, BAD if word.tone is Tone.BAD else "")


def _packed(parts: Iterable[Text], separator: str, screen: Screen, width: int) -> list[Text]:
    """Pack as many parts into a line as fit; break a part only where it is longer than a line."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(separator) + part.cell_len <= width:
            lines[-1] = Text(separator).join([lines[-1], part])
        else:
            lines += filter(None, screen.wrapped(part, 0, width))
    return lines


def _heard(happening: Happening) -> Text:
    return Text(happening.told, _style(happening))


def _style(happening: Happening) -> str:
    """Return the style of an arrow: by its event, or red where the delivery failed."""
    return BAD if happening.is_bad else STYLE_OF_FACT.get(happening.fact, "")


# Drawing


class _Pen:
    """Draws a history line by line."""

    def __init__(self, scene: Scene, layout: Layout, screen: Screen, width: int) -> None:
        self._scene, self._layout, self._screen, self._width = scene, layout, screen, width
        self._glyphs = screen.glyphs
        self._column_of = dict(zip(scene.participants, layout.columns, strict=True))
        self._has_labels = not layout.is_narrow and len(layout.columns) > 1

    def lines(self, history: Sequence[Happening]) -> Iterator[Text]:
        yield from self._header()
        for each in _shortened(history, self._screen):
            yield from [each] if isinstance(each, Text) else self._happening(each)
        for run, last in {each.run: each for each in history}.items():
            yield self._margin(self._lifelines(self._signs(last)), None, run).text()

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

    def _signs(self, happening: Happening) -> dict[str, str]:
        """Return the signs of the lifelines whose steps are in force or in doubt."""
        in_force = dict.fromkeys(happening.in_force, self._glyphs.in_force)
        return in_force | dict.fromkeys(happening.in_doubt, self._glyphs.in_doubt)

    def _lifelines(self, signs: Mapping[str, str]) -> Line:
        line = Line()
        for participant, column in self._column_of.items():
            sign = signs.get(participant)
            line.put(column, sign or self._glyphs.lifeline, FAINT if sign is None else "")
        return line

    def _margin(self, line: Line, number: int | None, run: str) -> Line:
        width = self._scene.number_width + 1
        if number is not None:
            line.put(0, f"{number:>{width}}", FAINT)
        if run in self._scene.tag_of:
            line.put(width + 2, self._scene.tag_of[run])
        return line

    def _happening(self, happening: Happening) -> Iterator[Text]:
        lifelines = self._signs(happening)
        line = self._margin(self._lifelines(lifelines), happening.number, happening.run)
        draw = self._arrow if happening.form is Form.ARROW else self._at_one_lifeline
        draw(line, happening)
        words = self._words(happening)
        yield self._beside(line, words[0]) if words else line.text()
        for more in words[1:]:
            yield self._beside(self._lifelines(lifelines), more)

    def _words(self, happening: Happening) -> list[Text]:
        """Return the lines of text at the right; they include the event where arrows have no labels."""
        sayings = _sayings(happening, self._screen)
        if happening.form is not Form.SPOT and not self._has_labels:
            sayings.insert(0, _heard(happening))
        return _packed(sayings, SEPARATOR, self._screen, self._layout.words_width)

    def _beside(self, line: Line, words: Text) -> Text:
        text = line.text()
        return Text.assemble(text, " " * (self._layout.words_column - text.cell_len), words)

    def _arrow(self, line: Line, happening: Happening) -> None:
        glyphs, style = self._glyphs, _style(happening)
        source, target = self._column_of[happening.source or ""], self._column_of[happening.who]
        direction = 1 if target > source else -1
        signs = self._signs(happening)
        signs_at = {column: signs[who] for who, column in self._column_of.items() if who in signs}
        put_shaft(line, (source, target), self._layout.columns, signs_at, glyphs, style)
        if happening.arrival is Arrival.LOST:
            line.put(target - direction, glyphs.failed, style)
        else:
            heads = glyphs.ignored if happening.arrival is Arrival.IGNORED else glyphs.heads
            line.put(target - direction, heads[direction > 0], style)
        if happening.arrival is Arrival.STRUCK:
            line.put(target, glyphs.failed, style)
        line.put(source, glyphs.source, style)
        if self._has_labels:
            put_label(line, (source, target), self._layout.columns, _fact(happening, glyphs.ellipsis), style)

    def _at_one_lifeline(self, line: Line, happening: Happening) -> None:
        """Draw a sign on a lifeline, or a timer's arrowhead beside it; the label of the last lifeline stands at its
        left.
        """
        style, column = _style(happening), self._column_of[happening.who]
        side = -1 if self._has_labels and column == self._layout.columns[-1] else 1
        line.put(column, self._sign(happening), style)
        place = column + side
        if happening.form is Form.TIMER:
            line.put(place, self._timer_head(happening, side), style)
            place += side
        if self._has_labels and happening.form is not Form.SPOT:
            label = _fact(happening, self._glyphs.ellipsis)
            line.put(place + 1 if side > 0 else place - cell_len(label), label, style)

    def _sign(self, happening: Happening) -> str:
        glyphs = self._glyphs
        if happening.arrival is Arrival.STRUCK:
            return glyphs.failed
        if happening.form is Form.TIMER:
            return self._signs(happening).get(happening.who, glyphs.lifeline)
        return glyphs.up if happening.form is Form.SPOT else glyphs.source

    def _timer_head(self, happening: Happening, side: int) -> str:
        if happening.arrival is Arrival.LOST:
            return self._glyphs.failed
        return (self._glyphs.ignored if happening.arrival is Arrival.IGNORED else self._glyphs.heads)[side < 0]


# Layout without lifelines


class _List:
    """A line for each happening: its number, participant, text, and the event that caused it."""

    def __init__(self, scene: Scene, screen: Screen, width: int) -> None:
        self._scene, self._screen, self._width = scene, screen, width
        self._who = min(max(map(cell_len, scene.names)), WHO_MAX, width // 4)
        labels = cut_apart(scene.names, self._who, screen.glyphs.ellipsis)
        self._label_of = dict(zip(scene.participants, labels, strict=True))

    def lines(self, history: Sequence[Happening]) -> Iterator[Text]:
        for happening in _shortened(history, self._screen):
            if isinstance(happening, Text):
                yield happening
                continue
            first = Text(f" {happening.number:>{self._scene.number_width}}  ", FAINT)
            if self._scene.tag_of:
                first.append(padded(self._scene.tag_of.get(happening.run, ""), self._scene.tag_width))
            first.append(f"{padded(self._label_of[happening.who], self._who)}  ")
            what = self._what(happening, self._width - first.cell_len)
            yield Text.assemble(first, what[0])
            for more in what[1:]:
                yield Text.assemble(" " * first.cell_len, more)

    def _what(self, happening: Happening, width: int) -> list[Text]:
        sayings, heard = _sayings(happening, self._screen, has_lifelines=False), _heard(happening)
        if happening.form is Form.DOT:
            sayings.insert(0, heard)
        elif not sayings:
            sayings.append(Text("nothing comes of it" if happening.arrival is Arrival.IGNORED else "heard"))
        lines = _packed(sayings, SEPARATOR, self._screen, width)
        if happening.form in (Form.DOT, Form.SPOT):
            return lines
        cause = Text.assemble((f"{self._screen.glyphs.because} ", FAINT), heard)
        return [*lines[:-1], *_packed([lines[-1], cause], " ", self._screen, width)]


def _shortened(history: Sequence[Happening], screen: Screen) -> Iterator[Happening | Text]:
    """Yield the happenings, with a note in place of omitted ones: repetitions, and the middle of a long history."""
    shortened = list(_without_repetitions(history, screen))
    left_out = len(shortened) - HAPPENINGS_FIRST - HAPPENINGS_LAST
    if len(shortened) <= HAPPENINGS_MAX:
        yield from shortened
        return
    yield from shortened[:HAPPENINGS_FIRST]
    yield _note(f"{left_out} more", screen)
    yield from shortened[-HAPPENINGS_LAST:]


def _without_repetitions(history: Sequence[Happening], screen: Screen) -> Iterator[Happening | Text]:
    looks = [replace(each, number=0) for each in history]
    index = 0
    while index < len(history):
        period, times = _repetition(looks, index)
        if times < REPEATS_MIN:
            yield history[index]
            index += 1
            continue
        yield from history[index : index + REPEATS_SHOWN * period]
        yield _note(f"the same, {times - REPEATS_SHOWN} times more", screen)
        index += times * period


def _repetition(looks: Sequence[Happening], first: int) -> tuple[int, int]:
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


# Legend


def _signs(history: Sequence[Happening], screen: Screen, width: int) -> list[Text]:
    """Explain the signs that the diagram uses."""
    glyphs = screen.glyphs
    arrivals = {each.arrival for each in history}
    signs = [f"{glyphs.source} published", f"{glyphs.heads[1]} heard"]
    if Arrival.IGNORED in arrivals:
        signs.append(f"{glyphs.ignored[1]} nothing came of it")
    if any(each.in_force for each in history):
        signs.append(f"{glyphs.in_force} in force")
    if any(each.in_doubt for each in history):
        signs.append(f"{glyphs.in_doubt} in doubt")
    return [Text(f"  {line.plain}", FAINT) for line in _packed(map(Text, signs), "   ", screen, width - 2)]


def _legend(names: Sequence[str], labels: Sequence[str], screen: Screen, width: int) -> list[Text]:
    """List the full names of abbreviated labels."""
    lines = []
    for name, label in zip(names, labels, strict=True):
        if name != label:
            lines += screen.wrapped(Text.assemble("  ", (label, TITLE), (f" = {name}", FAINT)), 4, width)
    return lines

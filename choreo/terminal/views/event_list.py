"""Live list of a run's events: number, participant, event, cause.

Laws: one event is one line, and a reason one more below it; every line fits the width.
"""

from rich.cells import cell_len
from rich.text import Text

from choreo.protocol.event import Event
from choreo.protocol.orchestrator import Orchestrator
from choreo.render.names import cut, cut_apart, padded
from choreo.render.screen import FAINT, Screen, style_of
from choreo.render.words import what, who_and_what

WHO_MAX = 24
WHAT_MIN = 19
CAUSE_MIN = 14
"""Minimum columns for the text of a cause; with fewer, only its number is shown."""


class EventList:
    """Prints a line for each event of a saga with these steps in this style."""

    def __init__(self, screen: Screen, steps: tuple[str, ...], style: str) -> None:
        self._screen = screen
        self._events: dict[str, tuple[int, Event]] = {}
        self._number_width = max(3, len(str(4 * len(steps))))
        names = [*dict.fromkeys((*steps, Orchestrator.NAME))]
        texts = [screen.name(name) for name in names]
        self._who = min(max(map(cell_len, texts)), WHO_MAX, screen.width // 4)
        self._labels = dict(zip(names, cut_apart(texts, self._who, screen.glyphs.ellipsis), strict=True))
        commands = len("compensate ") + self._who if style == "orchestration" else 0
        self._what = min(max(WHAT_MIN, commands), screen.width * 2 // 5)

    def show(self, number: int, event: Event) -> None:
        self._screen.lines([self._line(number, event), *self._reason(event)])
        self._events[event.id] = number, event

    def _label(self, name: str) -> str:
        return self._labels.get(name, name)

    def _line(self, number: int, event: Event) -> Text:
        number_text = f"{number:>{self._number_width}}  "
        who = f"{padded(self._label(event.topic.source), self._who)}  "
        did = padded(cut(what(event, self._label), self._what, self._screen.glyphs.ellipsis), self._what)
        line = Text.assemble((number_text, FAINT), who, (did, style_of(event)))
        line.append(self._cause(event, self._screen.width - line.cell_len - 2), FAINT)
        line.rstrip()
        return line

    def _cause(self, event: Event, room: int) -> str:
        number, cause = self._events.get(event.causation_id or "", (0, None))
        if cause is None:
            return ""
        text = f"{self._screen.glyphs.because} {number}"
        if room >= CAUSE_MIN:
            text = cut(f"{text} {who_and_what(cause, self._label)}", room, self._screen.glyphs.ellipsis)
        return f"  {text}" if cell_len(text) <= room else ""

    def _reason(self, event: Event) -> list[Text]:
        if event.reason is None or event.topic.step is None:
            return []  # the outcome gets a sentence of its own
        indent = " " * (self._number_width + 4 + self._who)
        reason = cut(self._screen.prose(event.reason), self._screen.width - len(indent), self._screen.glyphs.ellipsis)
        return [Text.assemble(indent, (reason, "red"))]

"""The events of a run as they happen: number, who, what, because of what.

Laws: one event is one line, and a reason one more below it; every line fits the width.
"""

from rich.cells import cell_len
from rich.text import Text

from choreo.domain.event import Event
from choreo.domain.orchestrator import Orchestrator
from choreo.terminal.names import cut, padded
from choreo.terminal.screen import FAINT, Screen, style_of
from choreo.terminal.words import what, who_and_what

WHO_MAX = 24
WHAT_MIN = 16
CAUSE_MIN = 14
"""With fewer columns than this only the number of the cause is told."""


class EventList:
    """Prints a line for each event that it is told of, of a saga with these steps in the style of that name."""

    def __init__(self, screen: Screen, steps: tuple[str, ...], style: str) -> None:
        self._screen = screen
        self._numbers: dict[str, int] = {}
        self._events: dict[str, Event] = {}
        self._number_width = max(3, len(str(4 * len(steps))))
        longest = max(cell_len(screen.name(name)) for name in (*steps, Orchestrator.NAME))
        self._who = min(longest, WHO_MAX, screen.width // 4)
        commands = len("compensate ") + self._who if style == "orchestration" else 0
        self._what = min(max(WHAT_MIN, commands), screen.width // 3)

    def tell(self, number: int, event: Event) -> None:
        self._screen.lines([self._line(number, event), *self._reason(event)])
        self._numbers[event.id], self._events[event.id] = number, event

    def _line(self, number: int, event: Event) -> Text:
        ellipsis, show = self._screen.glyphs.ellipsis, self._screen.name
        who = padded(cut(show(event.topic.source), self._who, ellipsis), self._who)
        did = padded(cut(what(event, show), self._what, ellipsis), self._what)
        head = f"{number:>{self._number_width}}  {who}  "
        line = Text.assemble(
            (head[: self._number_width + 2], FAINT), head[self._number_width + 2 :], (did, style_of(event))
        )
        line.append(self._cause(event, self._screen.width - cell_len(head + did) - 2), FAINT)
        line.rstrip()
        return line

    def _cause(self, event: Event, room: int) -> str:
        number = self._numbers.get(event.causation_id or "")
        if number is None:
            return ""
        because = f"{self._screen.glyphs.because} {number}"
        if room < len(because):
            return ""
        cause = who_and_what(self._events[event.causation_id or ""], self._screen.name)
        if room >= CAUSE_MIN:
            because = cut(f"{because} {cause}", room, self._screen.glyphs.ellipsis)
        return f"  {because}"

    def _reason(self, event: Event) -> list[Text]:
        if event.reason is None or event.topic.step is None:
            return []  # how the saga ended is told in a sentence of its own
        indent = " " * (self._number_width + 4 + self._who)
        room = self._screen.width - len(indent)
        return [
            Text.assemble(indent, (cut(self._screen.prose(event.reason), room, self._screen.glyphs.ellipsis), "red"))
        ]

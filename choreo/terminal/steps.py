"""The compact picture of a run, for more steps than a width has room for: below each other, read down and up again.

Laws: one line a step, whatever happened to it; forward down the left column, backward up the right one.
"""

from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from choreo.domain.event import Command, Event, Fact
from choreo.domain.plan import Plan
from choreo.terminal.canvas import Line
from choreo.terminal.names import cut, numbered
from choreo.terminal.recording import Recording, publisher
from choreo.terminal.screen import FAINT, ROLE, TITLE, Glyphs, Screen, style_of

FORWARD = (Command.EXECUTE, Fact.STARTED, Fact.SUCCEEDED, Fact.FAILED)
NAME_COLUMN, NAME_MIN, SPACE = 5, 8, 2
NOT_BEGUN = "not begun"

Piece = tuple[str, str]
"""A text with its style."""


def draw_steps(recording: Recording, screen: Screen, width: int) -> list[Text]:
    """A line for the client, for each step and for the coordinator (or orchestrator)."""
    glyphs, count = screen.glyphs, len(recording.plan.steps)
    names = [screen.name(name) for name in numbered(recording.table.hearers)]
    forward, backward = _columns(recording, glyphs)
    forward_width, backward_width = (max(map(_width, column)) for column in (forward, backward))
    room = width - NAME_COLUMN - forward_width - backward_width - 2 * SPACE
    name_width = min(max(room, NAME_MIN), max(map(cell_len, names)))
    places = NAME_COLUMN, NAME_COLUMN + name_width + SPACE, NAME_COLUMN + name_width + forward_width + 2 * SPACE
    brackets = [*_brackets(recording.plan, glyphs), " ", " "]
    in_force = dict.fromkeys(recording.in_force())
    lines = [_heading(places)]
    for seat in (recording.table.client, *range(count), recording.reporter):
        line = Line()
        if seat in in_force:
            line.put(1, glyphs.in_force, "green" if recording.outcome and not recording.is_finding else "red")
        line.put(3, brackets[seat], FAINT)
        line.put(places[0], cut(names[seat], name_width, glyphs.ellipsis), TITLE if seat < count else ROLE)
        for place, pieces in ((places[1], forward[seat]), (places[2], backward[seat])):
            for text, style in pieces:
                line.put(place, text, style)
                place += len(text)
        lines.append(line.text())
    for line_text in lines:
        line_text.truncate(width)
    return lines


def _heading(places: tuple[int, int, int]) -> Text:
    line = Line()
    for place, title in zip(places[1:], ("forward, down", "backward, up"), strict=True):
        line.put(place, title, FAINT)
    return line.text()


def _columns(recording: Recording, glyphs: Glyphs) -> tuple[list[list[Piece]], list[list[Piece]]]:
    """What is said of each seat, on the way forward and on the way backward."""
    forward: list[list[Piece]] = [[] for _ in recording.table.cells]
    backward: list[list[Piece]] = [[] for _ in recording.table.cells]
    digits = len(str(len(recording.events)))
    for number, event in enumerate(recording.events, start=1):
        seat = publisher(recording.table, event.topic) if event.topic.step is None else event.topic.position
        column = forward if event.topic.fact in FORWARD else backward
        space = " " if column[seat] else ""
        text = f"{space}{number:>{digits}} {event.topic.fact}"
        column[seat].append((f"{text}{_mark(event, glyphs)}", style_of(event)))
    for position in range(len(recording.plan.steps)):
        if not forward[position] and not backward[position]:
            forward[position].append((" " * (digits + 1) + NOT_BEGUN, FAINT))
    return forward, backward


def _mark(event: Event, glyphs: Glyphs) -> str:
    """Which way it goes on from here."""
    marks = {
        Fact.SUCCEEDED: glyphs.down,
        Fact.FAILED: glyphs.failed,
        Fact.COMPENSATED: glyphs.up if event.topic.step is not None else "",
        Fact.COMPENSATION_FAILED: glyphs.failed,
    }
    mark = marks.get(event.topic.fact, "") if isinstance(event.topic.fact, Fact) else ""
    return f" {mark}" if mark else ""


def _width(pieces: list[Piece]) -> int:
    return sum(len(text) for text, _ in pieces)


def _brackets(plan: Plan, glyphs: Glyphs) -> list[str]:
    """What holds the members of a group together."""
    first, middle, last = glyphs.group
    brackets: list[str] = []
    for _, group in groupby(zip(plan.predecessors, plan.successors, strict=True)):
        size = len(list(group))
        brackets += [" "] if size == 1 else [first, *[middle] * (size - 2), last]
    return brackets

"""Compact diagram of a run with more steps than fit side by side: one step below the other.

Laws: one line a step, whatever happened to it. Forward execution is read down the left column, backward recovery up the
right one.
"""

from collections.abc import Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.recording import Recording, publisher
from choreo.protocol.event import Command, Event, Fact
from choreo.render.canvas import Line
from choreo.render.names import cut_apart
from choreo.render.screen import FAINT, ROLE, TITLE, Glyphs, Screen, style_of
from choreo.saga.plan import Plan

FORWARD = (Command.EXECUTE, Fact.STARTED, Fact.SUCCEEDED, Fact.FAILED)
NAME_COLUMN, NAME_MIN, SPACE = 5, 8, 2
NOT_BEGUN = "not begun"

Piece = tuple[str, str]
"""Text with its style."""


def draw_steps(recording: Recording, names: Sequence[str], screen: Screen, width: int) -> tuple[list[Text], list[str]]:
    """Draw a line for the client, each step, and the coordinator or orchestrator; return the lines and the labels in
    them.

    `names` has the name of each seat, safe for the screen.
    """
    count, glyphs = len(recording.plan.steps), screen.glyphs
    columns = _columns(recording, glyphs)
    widths = [max(map(_width, column)) for column in columns]
    room = max(width - NAME_COLUMN - sum(widths) - 2 * SPACE, NAME_MIN)
    labels = cut_apart(names, room, glyphs.ellipsis)
    first = NAME_COLUMN + max(map(cell_len, labels)) + SPACE
    places = (first, first + widths[0] + SPACE)
    brackets = [*_brackets(recording.plan, glyphs), " ", " "]
    marks = dict.fromkeys(recording.in_force(), glyphs.in_force)
    marks |= dict.fromkeys(recording.in_doubt(), glyphs.in_doubt)
    style = "red" if recording.is_finding else "green"
    lines = [_heading(places)]
    for seat in (recording.table.client, *range(count), recording.reporter):
        line = Line()
        line.put(1, marks.get(seat, " "), style)
        line.put(3, brackets[seat], FAINT)
        line.put(NAME_COLUMN, labels[seat], TITLE if seat < count else ROLE)
        for place, column in zip(places, columns, strict=True):
            _put(line, place, column[seat])
        lines.append(line.text())
    for text in lines:
        text.truncate(width)
        text.rstrip()
    return lines, labels


def _put(line: Line, place: int, pieces: list[Piece]) -> None:
    for text, style in pieces:
        line.put(place, text, style)
        place += len(text)


def _heading(places: tuple[int, int]) -> Text:
    line = Line()
    for place, title in zip(places, ("forward, down", "backward, up"), strict=True):
        line.put(place, title, FAINT)
    return line.text()


def _columns(recording: Recording, glyphs: Glyphs) -> tuple[list[list[Piece]], list[list[Piece]]]:
    """Return the entries of each seat: those of forward execution, and those of backward recovery."""
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
    """Return the mark for the direction in which the run continues after the event."""
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
    """Return the brackets that join the members of a parallel group."""
    first, middle, last = glyphs.group
    brackets: list[str] = []
    for _, group in groupby(zip(plan.predecessors, plan.successors, strict=True)):
        size = len(list(group))
        brackets += [" "] if size == 1 else [first, *[middle] * (size - 2), last]
    return brackets

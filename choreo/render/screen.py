"""Output to stdout: coloured on a terminal, plain text in a pipe.

Laws: output is never read as markup. Without colour there are no escape sequences. An encoding without box characters
gets ASCII drawings.
"""

import json
import os
from typing import Any, NoReturn

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from choreo.protocol.event import Command, Event, Fact
from choreo.render.names import shown, visible
from choreo.runtime.process import output

WIDTH_MIN, WIDTH_DEFAULT, WIDTH_MAX = 40, 80, 400
READER_GONE = 141
"""Exit status when the reader of the pipe is gone, as a shell reports SIGPIPE."""


class Glyphs(Struct, frozen=True):
    """Characters of a drawing, each one column wide; `ellipsis` may be wider."""

    lifeline: str
    in_force: str
    in_doubt: str
    dash: str
    cross: str
    cross_in_force: str
    source: str
    heads: tuple[str, str]
    """Arrowheads to the left and to the right."""
    ignored: tuple[str, str]
    """Arrowheads of a delivery that the subscriber ignored."""
    up: str
    down: str
    failed: str
    because: str
    group: tuple[str, str, str]
    ellipsis: str
    dot: str


BOXES = Glyphs("│", "┃", "?", "─", "┼", "╂", "●", ("◄", "►"), ("◁", "▷"), "▲", "▼", "✗", "←", ("┌", "│", "└"), "…", "·")
ASCII = Glyphs(
    "|", "#", "?", "-", "+", "#", "o", ("<", ">"), ("(", ")"), "^", "v", "x", "<-", ("/", "|", "\\"), "...", "-"
)

STYLES: dict[str, str] = {
    Fact.STARTED: "cyan",
    Fact.SUCCEEDED: "green",
    Fact.COMPLETED: "bold green",
    Fact.FAILED: "bold red",
    Fact.CANCELLED: "yellow",
    Fact.COMPENSATED: "yellow",
    Fact.COMPENSATION_FAILED: "bold red",
    Fact.STUCK: "bold red",
    Command.EXECUTE: "blue",
    Command.COMPENSATE: "magenta",
}
"""By fact or command."""

ROLE, FAINT, TITLE, BAD = "italic", "dim", "bold", "bold red"


def style_of(event: Event) -> str:
    """Return the style of an event, by its fact or command."""
    return STYLES.get(event.topic.fact, FAINT)


class Screen(Console):
    """stdout with its width, colours and characters."""

    def __init__(self) -> None:
        file = output()
        reconfigure = getattr(file, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
        super().__init__(
            file=file,
            width=_width(),
            height=25,
            color_system=None if os.environ.get("NO_COLOR") else "auto",
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        self.glyphs = ASCII if self.options.ascii_only else BOXES

    def one_line(self, *parts: "str | tuple[str, str]") -> None:
        """Print a line of text and of (text, style) as it is: neither wrapped nor cut."""
        self.lines([Text.assemble(*parts)])

    def lines(self, lines: list[Text]) -> None:
        """Print many lines at once, as they are."""
        if lines:
            self.print(Text("\n").join(lines), soft_wrap=True)

    def sentence(self, *parts: "str | tuple[str, str]", indent: int = 0) -> None:
        """Print prose, wrapped at the width."""
        self.lines(self.wrapped(Text.assemble(*parts), indent))

    def table(self, table: Table) -> None:
        """Print a table without blank lines or padding around it."""
        lines = []
        for segments in self.render_lines(table, pad=False):
            line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
            line.rstrip()
            if line:
                lines.append(line)
        self.lines(lines)

    def wrapped(self, text: Text, indent: int = 0, width: int | None = None) -> list[Text]:
        """Wrap a text; indent all lines but the first."""
        lines = list(text.wrap(self, (width or self.width) - indent))
        for line in lines:
            line.rstrip()
        return [lines[0], *(Text(" " * indent) + line for line in lines[1:])]

    def json(self, value: Any) -> None:
        """Print one JSON object on one line, in ASCII."""
        self.out(json.dumps(value), highlight=False)

    def plain(self, text: str) -> None:
        """Print machine-readable text as it is."""
        self.out(text, highlight=False)

    def name(self, name: str) -> str:
        """Make a name from outside safe for this screen."""
        return shown(name, self.options.ascii_only)

    def prose(self, text: str) -> str:
        """Make a text from outside safe for this screen."""
        return visible(text, self.options.ascii_only)

    def on_broken_pipe(self) -> NoReturn:
        """Exit quietly: the reader of stdout is gone."""
        self.quiet = True
        fall_silent()
        raise SystemExit(READER_GONE)


def fall_silent() -> None:
    """Redirect stdout to the null device, so that the buffered rest is not written to a closed pipe at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), output().fileno())


def _width() -> int:
    """Return the width of the terminal; COLUMNS, if set, takes precedence."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and columns.isascii():
        width = int(columns[:6])
    else:
        try:
            width = os.get_terminal_size(output().fileno()).columns
        except (OSError, ValueError, AttributeError):
            width = 0
    return min(max(width or WIDTH_DEFAULT, WIDTH_MIN), WIDTH_MAX)

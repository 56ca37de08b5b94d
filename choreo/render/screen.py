"""Where everything is printed: a terminal in colour, or a pipe in plain text.

Laws: nothing printed is read as markup. Without colour there is not one escape sequence. An encoding without box
characters gets a drawing without them.
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
"""The exit status when nobody reads any more: what a shell reports for SIGPIPE."""


class Glyphs(Struct, frozen=True):
    """The characters that a drawing is made of, each one column wide; `ellipsis` may be wider."""

    lifeline: str
    in_force: str
    in_doubt: str
    dash: str
    cross: str
    cross_in_force: str
    source: str
    heads: tuple[str, str]
    """Of an arrow to the left, and to the right."""
    ignored: tuple[str, str]
    """The same, where the hearer did nothing."""
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

STYLES = {
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
ROLE, FAINT, TITLE = "italic", "dim", "bold"


def style_of(event: Event) -> str:
    """What it looks like, by what happened."""
    return STYLES[event.topic.fact]


class Screen(Console):
    """stdout: its width, its colours, its characters."""

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
        """A line of text and of (text, style), as it is: neither wrapped nor cut."""
        self.lines([Text.assemble(*parts)])

    def lines(self, lines: list[Text]) -> None:
        """Many lines at once, as they are."""
        if lines:
            self.print(Text("\n").join(lines), soft_wrap=True)

    def sentence(self, *parts: "str | tuple[str, str]", indent: int = 0) -> None:
        """Prose, wrapped at the width."""
        self.lines(self.wrapped(Text.assemble(*parts), indent))

    def table(self, table: Table) -> None:
        """A table, without blanks around it."""
        lines = []
        for segments in self.render_lines(table, pad=False):
            line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
            line.rstrip()
            if line:
                lines.append(line)
        self.lines(lines)

    def wrapped(self, text: Text, indent: int = 0, width: int | None = None) -> list[Text]:
        """The lines of a text; all but the first are indented."""
        lines = list(text.wrap(self, (width or self.width) - indent))
        for line in lines:
            line.rstrip()
        return [lines[0], *(Text(" " * indent) + line for line in lines[1:])]

    def json(self, value: Any) -> None:
        """One JSON object on one line, in ASCII."""
        self.out(json.dumps(value), highlight=False)

    def plain(self, text: str) -> None:
        """A text for programs, as it is."""
        self.out(text, highlight=False)

    def name(self, name: str) -> str:
        """A name from outside, fit for this screen."""
        return shown(name, self.options.ascii_only)

    def prose(self, text: str) -> str:
        """A text from outside, fit for this screen."""
        return visible(text, self.options.ascii_only)

    def on_broken_pipe(self) -> NoReturn:
        """Whoever read has gone: nothing is left to say."""
        self.quiet = True
        fall_silent()
        raise SystemExit(READER_GONE)


def fall_silent() -> None:
    """Nothing can be written to stdout any more; what is still in its buffer must not be tried at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), output().fileno())


def _width() -> int:
    """Of the terminal, if stdout is one; COLUMNS goes first, as everywhere."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and columns.isascii():
        width = int(columns[:6])
    else:
        try:
            width = os.get_terminal_size(output().fileno()).columns
        except (OSError, ValueError, AttributeError):
            width = 0
    return min(max(width or WIDTH_DEFAULT, WIDTH_MIN), WIDTH_MAX)

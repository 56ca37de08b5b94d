"""Command line of the node.

Laws: light. A node without options needs the defaults only; the option parser is imported on demand.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from choreo.node.session import MESSAGE_BYTES_MAX
from choreo.saga.calls.modules import SERVICES
from choreo.saga.spelling import suggestion

if TYPE_CHECKING:
    from argparse import ArgumentParser

TO_STDERR = "-"


class Options:
    """Values of the options; the defaults are given here."""

    trace: str | None = None
    trace_format = "json"
    trace_level = "info"
    trace_data = False
    envelope = False
    max_message_bytes = MESSAGE_BYTES_MAX
    services: str | None = None
    saga: list[str]
    journal: str | None = None
    wait = False

    def __init__(self) -> None:
        self.saga = []


def parse(arguments: list[str]) -> Options:
    """Return the options of a command line. Wrong use exits with status 2."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments, namespace=Options())
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion(unknown[0], option_names(parser))}")
    if options.trace_data and options.trace is None:
        parser.error("--trace-data: expected --trace with it, got none")
    if options.wait and options.journal is None:
        parser.error("--wait: expected --journal FILE with it, got none")
    return options


def option_names(parser: "ArgumentParser | None" = None) -> list[str]:
    """Return the names of all options, as they are typed."""
    return re.findall(r"--[a-z-]+", (parser or _parser()).format_usage())


def _parser() -> "ArgumentParser":
    from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter

    from choreo.trace.visible import visible

    class Parser(ArgumentParser):
        """A parser whose errors move no cursor, whatever was typed."""

        def error(self, message: str) -> NoReturn:
            super().error(visible(message))

    parser = Parser(
        argument_default=SUPPRESS,
        prog="choreo node",
        description="Execute sagas: read JSON messages from stdin, write one JSON line for each reply to stdout.",
        epilog="""examples:
  echo '{"type": "execute", "saga_id": "trip-1", "steps": ["book_flight", "book_hotel"]}' | choreo node --trace
  choreo node --journal sagas.db < sagas.jsonl

exit status: 0 at the end of input or after SIGINT or SIGTERM; 1 if stdin, stdout or the journal fails,
or if no reader has taken the replies for five seconds after a signal; 130 if it was interrupted before
the first message; 2 for wrong use, before it reads a message""",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trace",
        nargs="?",
        const=TO_STDERR,
        metavar="FILE",
        help="write the event trace to FILE; without FILE to stderr",
    )
    parser.add_argument(
        "--trace-format",
        type=_choice("json", "console"),
        metavar="{json,console}",
        help="JSON lines (default), or lines for people",
    )
    parser.add_argument(
        "--trace-level",
        type=_choice("info", "debug"),
        metavar="{info,debug}",
        help="info: published events and replies (default); debug: deliveries and calls of services as well",
    )
    parser.add_argument(
        "--trace-data",
        action="store_true",
        help="show the input of sagas and the results of steps in the trace; by default neither is shown",
    )
    parser.add_argument("--envelope", action="store_true", help="wrap replies as {src, dest, body}, as Maelstrom does")
    parser.add_argument(
        "--max-message-bytes",
        type=_positive,
        metavar="N",
        help=f"refuse a message larger than this (default: {MESSAGE_BYTES_MAX})",
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="keep every saga in FILE; after a crash the next node with FILE resumes them",
    )
    parser.add_argument(
        "--wait", action="store_true", help="if another node owns the journal, wait until it has ended, and take over"
    )
    parser.add_argument(
        "--services", metavar="MODULE", help=f"a module with catalogue() (default: that of the journal, or {SERVICES})"
    )
    parser.add_argument(
        "--saga",
        action="extend",
        nargs=1,
        metavar="SAGA",
        help="a saga that requests may name: a TOML file, or module:attribute; may be given several times",
    )
    return parser


def _choice(*words: str) -> Callable[[str], str]:
    """Return the converter of an option that takes one of these words."""
    from argparse import ArgumentTypeError

    def convert(word: str) -> str:
        if word in words:
            return word
        raise ArgumentTypeError(f"expected {' or '.join(map(repr, words))}, got {word!r}{suggestion(word, words)}")

    return convert


def _positive(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"expected a number of bytes above 0, got {text!r}")
    return int(text)

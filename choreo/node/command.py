"""`choreo node`: the stdin node as a program.

Laws: light. What a plain node does not need (the option parser, structlog, typer, rich) is imported when it is needed.
"""

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from choreo.composition import SERVICES, NoServices, compose, open_services
from choreo.node.session import MESSAGE_BYTES_MAX, Session
from choreo.node.streams import serve

if TYPE_CHECKING:
    from argparse import Namespace

    from choreo.trace.writer import Tracer

STDIN, STDOUT, STDERR = 0, 1, 2
WRONG_USE = 2
TO_STDERR = "-"


def main(arguments: list[str]) -> int:
    """Run the node with the options of the command line; the exit status. Wrong use exits with 2."""
    options = _parse(arguments) if arguments else None
    try:
        service_of = open_services(options.services if options else SERVICES)
        tracer = _open_tracer(options) if options and options.trace else None
    except (NoServices, OSError) as error:
        log(f"choreo node: {error}")
        return WRONG_USE
    session = Session(
        compose(service_of, tracer, debug=bool(options and options.trace_level == "debug")),
        log,
        envelope=bool(options and options.envelope),
        message_bytes_max=options.max_message_bytes if options else MESSAGE_BYTES_MAX,
        replied=tracer and tracer.replied,
    )
    gc.freeze()  # what is there now stays: no collection needs to look at it again
    if tracer is None:
        serve(session, STDIN, STDOUT)
    else:
        serve(Traced(session, tracer), STDIN, STDOUT, line_by_line=options.trace == TO_STDERR)
    return 0


def log(text: str) -> None:
    """A line for people on stderr, if there still is one."""
    with suppress(OSError, ValueError):
        os.write(STDERR, f"{text}\n".encode("utf-8", "backslashreplace"))


class Traced:
    """A session whose trace is written before its replies, so that whoever reads a reply can read its trace."""

    def __init__(self, session: Session, tracer: "Tracer") -> None:
        self._session = session
        self._sink = tracer.sink

    def feed(self, data: bytes) -> bytes:
        replies = self._session.feed(data)
        self._sink.flush()
        return replies

    def end(self) -> bytes:
        replies = self._session.end()
        self._sink.flush()
        return replies


def _open_tracer(options: "Namespace") -> "Tracer":
    """Raises `OSError` where the trace cannot be written."""
    from choreo.trace.sink import Sink
    from choreo.trace.writer import Format, Tracer

    if options.trace == TO_STDERR:
        descriptor, colors = STDERR, os.isatty(STDERR) and "NO_COLOR" not in os.environ
    else:
        descriptor, colors = os.open(options.trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), False

    def failed(error: OSError) -> None:
        log(f"choreo node: the trace ends here, it cannot be written any more: {error}")

    return Tracer(Sink(descriptor, failed), Format(options.trace_format), colors)


def _parse(arguments: list[str]) -> "Namespace":
    from argparse import ArgumentParser, RawDescriptionHelpFormatter

    parser = ArgumentParser(
        prog="choreo node",
        description="Execute sagas: JSON messages on stdin, one JSON line for each reply on stdout.",
        epilog="""example:
  echo '{"type": "execute", "msg_id": 1, "saga_id": "trip-1", "steps": ["book_flight", "book_hotel"]}' | choreo node --trace

exit status: 0 at the end of input or after SIGINT or SIGTERM; 2 for wrong use, before anything is read""",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trace", nargs="?", const=TO_STDERR, metavar="FILE", help="write the event trace to FILE; without FILE to stderr"
    )
    parser.add_argument(
        "--trace-format", choices=["json", "console"], default="json", help="JSON lines (default), or lines for people"
    )
    parser.add_argument(
        "--trace-level",
        choices=["info", "debug"],
        default="info",
        help="info: what is published and replied (default); debug: deliveries and calls of services as well",
    )
    parser.add_argument("--envelope", action="store_true", help="wrap replies as {src, dest, body}, as Maelstrom does")
    parser.add_argument(
        "--max-message-bytes",
        type=_positive,
        default=MESSAGE_BYTES_MAX,
        metavar="N",
        help="refuse a message larger than this (default: %(default)s)",
    )
    parser.add_argument(
        "--services", default=SERVICES, metavar="MODULE", help="a module with catalogue() (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"expected a number of bytes above 0, got {text!r}")
    return int(text)

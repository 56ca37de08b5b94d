"""`choreo node`: the stdin node as a program.

Laws: light. What a plain node does not need (the option parser, structlog, typer, rich) is imported when it is needed.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from choreo.composition import SERVICES, NoServices, compose, open_services
from choreo.domain.service import ServiceOf
from choreo.node.session import MESSAGE_BYTES_MAX, Session
from choreo.node.streams import serve
from choreo.runners.runner import Runner

if TYPE_CHECKING:
    from choreo.trace.writer import Tracer

STDIN, STDOUT, STDERR = 0, 1, 2
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
TO_STDERR = "-"
ATTEND_S = 0.2
"""So often a node with a journal looks whether an operator has asked for something."""


class Options:
    """The command line; these are the defaults."""

    trace: str | None = None
    trace_format = "json"
    trace_level = "info"
    envelope = False
    max_message_bytes = MESSAGE_BYTES_MAX
    services = SERVICES
    journal: str | None = None
    wait = False


def main(arguments: list[str]) -> int:
    """Run the node with the options of the command line; the exit status. Wrong use exits with 2."""
    _occupy_standard_streams()
    options = _parse(arguments) if arguments else Options()
    try:
        service_of = open_services(options.services)
        tracer = None if options.trace is None else _open_tracer(options.trace, options.trace_format)
    except NoServices as error:
        log(f"choreo node: {error}")
        return WRONG_USE
    except OSError as error:
        log(f"choreo node: --trace: expected a file that can be written, got {options.trace!r} ({error.strerror})")
        return WRONG_USE
    if options.journal is not None:
        return _serve_durably(options, service_of, tracer)
    return _serve(options, compose(service_of, tracer, _is_debug(options)), tracer)


def _serve_durably(options: Options, service_of: ServiceOf, tracer: "Tracer | None") -> int:
    """The same node with a journal, which it holds until it ends."""
    from choreo.composition import compose_durable
    from choreo.journal.errors import JournalError
    from choreo.journal.journal import Journal
    from choreo.journal.opening import Lock

    path = options.journal or ""
    try:
        lock = Lock(path, options.wait)
        journal = Journal.open(path)
        runner = compose_durable(service_of, journal, tracer, _is_debug(options))
    except JournalError as error:
        log(f"choreo node: --journal: {error}")
        return WRONG_USE
    except KeyboardInterrupt:  # while it waited for its turn
        return INTERRUPTED
    try:
        return _serve(options, runner, tracer, ATTEND_S)
    except JournalError as error:
        log(f"choreo node: the journal fails, and what it has not got was not promised: {error}")
        return FAILED
    finally:
        journal.close()
        lock.release()


def _is_debug(options: Options) -> bool:
    return options.trace_level == "debug"


def _serve(options: Options, runner: Runner, tracer: "Tracer | None", attend_s: float | None = None) -> int:
    session = Session(
        runner,
        log,
        envelope=options.envelope,
        message_bytes_max=options.max_message_bytes,
        replied=None if tracer is None else tracer.replied,
    )
    gc.freeze()  # what is there now stays: no collection needs to look at it again
    conversation = session if tracer is None else Traced(session, tracer)
    try:
        serve(conversation, STDIN, STDOUT, options.trace == TO_STDERR, attend_s)
    except OSError as error:
        log(f"choreo node: stdin or stdout failed: {error.strerror}")
        return FAILED
    return 0


def log(text: str) -> None:
    """A line for people on stderr, if there still is one."""
    with suppress(OSError, ValueError):
        os.write(STDERR, f"{text}\n".encode("utf-8", "backslashreplace"))


def _occupy_standard_streams() -> None:
    """A stream that was closed before the start leads nowhere, rather than to whatever file is opened next."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Traced:
    """A session whose trace is written before its replies, so that whoever reads a reply can read its trace."""

    def __init__(self, session: Session, tracer: "Tracer") -> None:
        self._session = session
        self._sink = tracer.sink

    def resume(self) -> Iterator[bytes]:
        for replies in self._session.resume():
            self._sink.flush()
            yield replies

    def attend(self) -> None:
        self._session.attend()
        self._sink.flush()

    def feed(self, data: bytes) -> bytes:
        replies = self._session.feed(data)
        self._sink.flush()
        return replies

    def end(self) -> bytes:
        replies = self._session.end()
        self._sink.flush()
        return replies


def _open_tracer(trace: str, form: str) -> "Tracer":
    """Raises `OSError` where the trace cannot be written."""
    from choreo.trace.sink import Sink
    from choreo.trace.writer import Format, Tracer

    if trace == TO_STDERR:
        descriptor, colors = STDERR, os.isatty(STDERR) and "NO_COLOR" not in os.environ
    else:
        descriptor, colors = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), False

    def failed(error: OSError) -> None:
        log(f"choreo node: the trace ends here, it cannot be written any more: {error}")

    return Tracer(Sink(descriptor, failed), Format(form), colors)


def _parse(arguments: list[str]) -> Options:
    from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter

    parser = ArgumentParser(
        argument_default=SUPPRESS,
        prog="choreo node",
        description="Execute sagas: JSON messages on stdin, one JSON line for each reply on stdout.",
        epilog="""example:
  echo '{"type": "execute", "msg_id": 1, "saga_id": "trip-1", "steps": ["book_flight", "book_hotel"]}' | choreo node
  --trace

exit status: 0 at the end of input or after SIGINT or SIGTERM; 1 if stdin or stdout fails;
2 for wrong use, before anything is read""",
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
    parser.add_argument("--trace-format", choices=["json", "console"], help="JSON lines (default), or lines for people")
    parser.add_argument(
        "--trace-level",
        choices=["info", "debug"],
        help="info: what is published and replied (default); debug: deliveries and calls of services as well",
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
        help="keep every saga in FILE: after a crash the next node with it goes on from there",
    )
    parser.add_argument(
        "--wait", action="store_true", help="if another node has the journal, wait until it is gone, and take over"
    )
    parser.add_argument("--services", metavar="MODULE", help=f"a module with catalogue() (default: {SERVICES})")
    options = parser.parse_args(arguments, namespace=Options())
    if options.wait and options.journal is None:
        parser.error("--wait: expected --journal FILE with it, got none")
    return options


def _positive(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"expected a number of bytes above 0, got {text!r}")
    return int(text)

"""`choreo node`: the stdin node as a program.

Laws: light. Modules that a plain node does not need (the option parser, structlog, typer, rich) are imported on demand.
"""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from choreo.api import NoServices, compose, open_services
from choreo.node.options import TO_STDERR, Options, parse
from choreo.node.session import Session
from choreo.node.streams import Conversation, RepliesNotRead, serve
from choreo.runtime.process import (
    DESCRIPTORS,
    DESCRIPTORS_OF_JOURNAL,
    STDERR,
    ctrl_c_told_apart,
    missing_descriptors,
    occupy_standard_streams,
    reserve_stdin,
    reserve_stdout,
)
from choreo.runtime.runner import Runner
from choreo.saga.calls.modules import SERVICES
from choreo.saga.raised import Interrupted

if TYPE_CHECKING:
    from choreo.runtime.durable.runner import DurableRunner
    from choreo.runtime.in_memory import InProcessRunner
    from choreo.storage.sqlite.lock import Lock
    from choreo.trace.writer import Tracer

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
ATTEND_S = 0.2
"""Interval at which a node with a journal polls for requests of operators."""


def main(arguments: list[str]) -> int:
    """Run the node with the options of the command line; return the exit status. Wrong use exits with 2."""
    occupy_standard_streams()
    options = parse(arguments) if arguments else Options()
    missing = missing_descriptors(DESCRIPTORS if options.journal is None else DESCRIPTORS_OF_JOURNAL)
    if missing is not None:
        log(f"choreo node: {missing}")
        return WRONG_USE
    try:
        with ctrl_c_told_apart():
            return _run(options, (reserve_stdin(), reserve_stdout()))
    except Interrupted:  # before the node began to read, or after it ended
        return INTERRUPTED


class UnfitSaga(Exception):
    """Raised for a saga that cannot be read, one that the runner cannot obey, and two sagas of one name."""


Ends = tuple[int, int]
"""Descriptors: messages are read from the first, replies written to the second."""


def _run(options: Options, ends: Ends) -> int:
    try:
        if options.journal is not None:
            return _serve_durably(options, ends)
        service_of = open_services(SERVICES if options.services is None else options.services)
        tracer = _open_tracer(options)
    except (NoServices, NoTrace) as error:
        log(f"choreo node: {error}")
        return WRONG_USE
    runner = compose(service_of, tracer, _is_debug(options))
    try:
        sagas = _add_sagas(options, runner)
    except UnfitSaga as error:
        log(f"choreo node: --saga: {error}")
        return WRONG_USE
    return _serve(options, ends, _session(options, runner, tracer, sagas), tracer)


def _serve_durably(options: Options, ends: Ends) -> int:
    """Run the node with a journal, whose lock it holds until it ends."""
    from choreo.api import compose_durable
    from choreo.storage.errors import JournalError, LeftAsItLies
    from choreo.storage.sqlite.journal import Journal
    from choreo.storage.sqlite.lock import expect_no_other_file

    path = options.journal or ""
    try:
        expect_no_other_file(path)
        lock = _locked(path, options.wait)
        if options.trace is not None and os.path.realpath(options.trace).startswith(os.path.realpath(path)):
            raise NoTrace(
                f"--trace: expected another file than the journal and what lies beside it, got {options.trace!r}"
            )
        journal = Journal.open(path)
        lock.watch_log()
        tracer = _open_tracer(options)
        runner = compose_durable(options.services, journal, tracer, _is_debug(options), _notice)
    except JournalError as error:
        log(f"choreo node: --journal: {error}")
        return WRONG_USE
    try:
        sagas = _add_sagas(options, runner)
        return _serve(options, ends, _session(options, runner, tracer, sagas, runner), tracer, lock)
    except UnfitSaga as error:
        log(f"choreo node: --saga: {error}")
        return WRONG_USE
    except LeftAsItLies as error:
        log(f"choreo node: the journal fails, and nothing more is written to it: {error}")
        os._exit(FAILED)
    except JournalError as error:
        log(f"choreo node: the journal fails, and what it has not got was not promised: {error}")
        return FAILED
    finally:
        journal.close()
        lock.release()


def _locked(path: str, wait: bool) -> "Lock":
    """Acquire the journal's lock. With `wait`, wait for it and log both the wait and the acquisition."""
    from choreo.storage.errors import JournalInUse
    from choreo.storage.sqlite.lock import Lock

    try:
        return Lock(path)
    except JournalInUse as error:
        if not wait:
            raise
        log(f"choreo node: --wait: {error}")
    lock = Lock(path, wait=True)
    log("choreo node: --wait: it is free, and this node has it now")
    return lock


def _is_debug(options: Options) -> bool:
    return options.trace_level == "debug"


def _add_sagas(options: Options, runner: "InProcessRunner | DurableRunner") -> tuple[str, ...]:
    """Give the runner the sagas of the options; return their names. Raises `UnfitSaga`."""
    if not options.saga:
        return ()
    from choreo.saga.file import read_definition

    try:
        return tuple(runner.add(read_definition(source)) for source in options.saga)
    except ValueError as error:
        raise UnfitSaga(str(error)) from None


def _session(
    options: Options,
    runner: Runner,
    tracer: "Tracer | None",
    sagas: Sequence[str],
    durable: "DurableRunner | None" = None,
) -> Session:
    return Session(
        runner,
        log,
        envelope=options.envelope,
        message_bytes_max=options.max_message_bytes,
        replied=None if tracer is None else tracer.replied,
        durable=durable,
        sagas=sagas,
    )


def _serve(options: Options, ends: Ends, session: Session, tracer: "Tracer | None", lock: "Lock | None" = None) -> int:
    gc.freeze()  # objects that exist now stay: exclude them from every later collection
    conversation: Conversation = session if tracer is None else Traced(session, tracer)
    if lock is not None:
        conversation = Guarded(conversation, lock)
    try:
        serve(conversation, *ends, options.trace == TO_STDERR, None if lock is None else ATTEND_S)
    except RepliesNotRead as error:
        kept = "" if lock is None else "; they are in the journal, and are given again to whoever asks again"
        log(f"choreo node: {error}{kept}")
        return FAILED
    except OSError as error:
        log(f"choreo node: stdin or stdout failed: {error.strerror}")
        return FAILED
    return 0


def log(text: str) -> None:
    """Write a line for people to stderr; ignored where stderr is closed."""
    from choreo.trace.visible import visible_lines

    text = visible_lines(text)
    with suppress(OSError, ValueError):
        os.write(STDERR, f"{text}\n".encode("utf-8", "backslashreplace"))


def _notice(text: str) -> None:
    log(f"choreo node: {text}")


class Traced:
    """Session that writes its trace before its replies: when a client reads a reply, its trace is already readable."""

    def __init__(self, session: Session, tracer: "Tracer") -> None:
        self._session = session
        self._sink = tracer.sink

    def recover(self) -> Iterator[bytes]:
        for replies in self._session.recover():
            self._sink.flush()
            yield replies

    def poll_operator(self) -> None:
        self._session.poll_operator()
        self._sink.flush()

    def feed(self, data: bytes) -> bytes:
        replies = self._session.feed(data)
        self._sink.flush()
        return replies

    def end(self) -> bytes:
        replies = self._session.end()
        self._sink.flush()
        return replies


class Guarded:
    """Conversation that ends when the journal file was replaced or removed; no reply is sent from then on."""

    def __init__(self, conversation: Conversation, lock: "Lock") -> None:
        self._conversation = conversation
        self._lock = lock
        self._has_just_looked = False
        lock.expect_held()

    def recover(self) -> Iterator[bytes]:
        for replies in self._conversation.recover():
            self._lock.expect_held()
            yield replies

    def poll_operator(self) -> None:
        if not self._has_just_looked:
            self._lock.expect_held()
        self._has_just_looked = False
        self._conversation.poll_operator()

    def feed(self, data: bytes) -> bytes:
        self._lock.expect_uncut()
        replies = self._conversation.feed(data)
        self._lock.expect_held()
        self._has_just_looked = True
        return replies

    def end(self) -> bytes:
        self._lock.expect_uncut()
        replies = self._conversation.end()
        self._lock.expect_held()
        return replies


class NoTrace(Exception):
    """Raised where the trace cannot be written to the requested file."""


def _open_tracer(options: Options) -> "Tracer | None":
    """Open the tracer that the options request; None without one. Raises `NoTrace`."""
    if options.trace is None:
        return None
    try:
        return _tracer(options.trace, options.trace_format, options.trace_data)
    except OSError as error:
        raise NoTrace(
            f"--trace: expected a file that can be written, got {options.trace!r} ({error.strerror})"
        ) from None


def _tracer(trace: str, form: str, shows_data: bool) -> "Tracer":
    from choreo.trace.sink import Sink
    from choreo.trace.writer import Format, Tracer

    if trace == TO_STDERR:
        descriptor, colors = STDERR, os.isatty(STDERR) and "NO_COLOR" not in os.environ
    else:
        descriptor, colors = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), False

    def failed(error: OSError) -> None:
        log(f"choreo node: the trace ends here, it cannot be written any more: {error}")

    return Tracer(Sink(descriptor, failed), Format(form), colors, shows_data)

"""Process set-up of a face: stdin and stdout are reserved for choreo, and Ctrl-C is told apart from other interrupts.

Laws: output of services, and of processes that they start, never reaches stdout. It goes to stderr, until the very end
of the process. A forked child of a service never continues the parent's work. If stdout is not the process's own (a
test has replaced it), it is restored.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn, TextIO

from choreo.saga.raised import CtrlC, Forked, Interrupted

STDIN, STDOUT, STDERR = 0, 1, 2
DESCRIPTORS, DESCRIPTORS_OF_JOURNAL = 7, 15
"""Upper bounds on a node's open files, without those of its services: SQLite has four for a journal alone."""

_output: list[TextIO] = []
"""The stream of `own_output`, while it exists."""


def occupy_standard_streams() -> None:
    """Open the null device for each closed standard stream, so that no later file takes its descriptor."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def reserve_stdin() -> int:
    """Return a private descriptor of stdin, and make descriptor 0 empty.

    Otherwise a process that a service starts would consume messages, as ssh does, and so would a forked child.
    """
    occupy_standard_streams()
    own = os.dup(STDIN)
    _let_go(STDIN, inheritable=True)
    os.register_at_fork(after_in_child=lambda: _let_go(own))
    return own


def reserve_stdout() -> int:
    """Return a private descriptor of stdout, and redirect descriptor 1 and `sys.stdout` to stderr.

    Started processes do not inherit the private descriptor, and a forked child of a service cannot write to it.
    """
    occupy_standard_streams()
    own = os.dup(STDOUT)
    stream: TextIO | None = sys.stdout
    with suppress(OSError, ValueError):  # output so far was meant for stdout
        if isinstance(stream, TextIOWrapper):  # from now on line by line, in the order of the output to stderr
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    os.dup2(STDERR, STDOUT)
    if stream is None:  # the stream was closed from the start
        sys.stdout = open(STDOUT, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  # open until exit
    os.register_at_fork(after_in_child=lambda: _let_go(own))
    leave_when_forked()
    return own


def _let_go(descriptor: int, inheritable: bool = False) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor, inheritable)
    os.close(nowhere)


def leave_when_forked() -> None:
    """From now on, end each forked child of a service with the exception raised in it, as any other process ends."""
    os.register_at_fork(after_in_child=_set_leave)


def _set_leave() -> None:
    Forked.leave = _leave


def _leave(error: BaseException) -> NoReturn:
    """End the process: with the status of `sys.exit`, or with 1 and a traceback for any other exception.

    Closes no file.
    """
    status: object = 1
    try:
        if isinstance(error, SystemExit):
            status = 0 if error.code is None else error.code
        if not isinstance(status, int):
            print(status, file=sys.stderr)
        elif not isinstance(error, SystemExit):
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF if isinstance(status, int) else 1)


@contextmanager
def own_output() -> Iterator[None]:
    """Reserve stdout for the stream that `output` returns; in a process of its own, for good."""
    if _output:
        yield
        return
    if sys.stdout is not sys.__stdout__:
        _output.append(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            _output.pop()
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _output.append(open(reserve_stdout(), "w", encoding=encoding, errors="backslashreplace"))  # noqa: SIM115  # till exit
    yield


def output() -> TextIO:
    """Return the text stream to the real stdout, independent of the services' output."""
    return _output[-1] if _output else sys.stdout


@contextmanager
def ctrl_c_told_apart() -> Iterator[None]:
    """Raise `Interrupted` for a real Ctrl-C; any other `KeyboardInterrupt` comes from a service.

    If other code handles SIGINT, or outside of the main thread, no handler is installed.
    """
    before, raised = signal.getsignal(signal.SIGINT), CtrlC.raises
    try:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
            CtrlC.raises = Interrupted
    except ValueError:  # not the main thread
        before = None
    try:
        yield
    finally:
        CtrlC.raises = raised
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted


def missing_descriptors(count: int) -> str | None:
    """Return why `count` more files cannot be opened, or None if they can."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        why = f"expected to be able to open {count} files, got {len(opened)} ({error.strerror})"
        return f"{why}: raise the limit (ulimit -n)"
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None

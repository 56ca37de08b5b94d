"""What a face does with its process: stdin and stdout are kept for choreo, and Ctrl-C is told apart.

Laws: what services print, and what they start, never reaches stdout. It goes to stderr, up to the very end of the
process. A process that a service forks never goes on with what its parent does. Where stdout is not the process's own
(a test has replaced it), it is given back.
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
"""So many files a node may come to have open, beside what its services open: SQLite has four for a journal alone."""

_output: list[TextIO] = []
"""The stream of `own_output`, while there is one."""


def occupy_standard_streams() -> None:
    """A stream that was closed before the start leads nowhere, rather than to whatever file is opened next."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def reserve_stdin() -> int:
    """Return a private descriptor of stdin, and have nothing to read at descriptor 0.

    What services start would take messages away otherwise, as ssh does; and so would a child that a service forks.
    """
    occupy_standard_streams()
    own = os.dup(STDIN)
    _let_go(STDIN, inheritable=True)
    os.register_at_fork(after_in_child=lambda: _let_go(own))
    return own


def reserve_stdout() -> int:
    """Return a private descriptor of stdout, and lead descriptor 1 and `sys.stdout` to stderr.

    What the process starts does not inherit the private descriptor, and a child that a service forks cannot write to
    it.
    """
    occupy_standard_streams()
    own = os.dup(STDOUT)
    stream: TextIO | None = sys.stdout
    with suppress(OSError, ValueError):  # what was printed so far was meant for stdout
        if isinstance(stream, TextIOWrapper):  # from now on line by line, in the order of what goes to stderr
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    os.dup2(STDERR, STDOUT)
    if stream is None:  # it was closed from the start
        sys.stdout = open(STDOUT, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  # for good
    os.register_at_fork(after_in_child=lambda: _let_go(own))
    leave_when_forked()
    return own


def _let_go(descriptor: int, inheritable: bool = False) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor, inheritable)
    os.close(nowhere)


def leave_when_forked() -> None:
    """From now on a process that a service forks ends with what is raised in it, as any other process does."""
    os.register_at_fork(after_in_child=_set_leave)


def _set_leave() -> None:
    Forked.leave = _leave


def _leave(error: BaseException) -> NoReturn:
    """End the process: `sys.exit` as it says, and 1 with a traceback for any other exception. Closes nothing."""
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
    """Keep stdout for the text that `output` gives; in a process of its own, for good."""
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
    _output.append(open(reserve_stdout(), "w", encoding=encoding, errors="backslashreplace"))  # noqa: SIM115  # for good
    yield


def output() -> TextIO:
    """The text stream that leads to stdout, whatever services print."""
    return _output[-1] if _output else sys.stdout


@contextmanager
def ctrl_c_told_apart() -> Iterator[None]:
    """A real Ctrl-C raises `Interrupted` here; any other `KeyboardInterrupt` is what a service raised.

    Where somebody else handles SIGINT, or outside of the main thread, it stays as it is.
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
    """Why so many files cannot be opened beside those that are open, or None if they can."""
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

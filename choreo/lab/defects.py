"""Defects of the author's services: any exception that is not `Refused`, `SystemExit` included.

Laws: a defect is a violation of its own, D1, whatever the invariants say, unless the definition lets the step raise. A
key that somebody presses (Ctrl-C) is no defect, and stops the lab.
"""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from choreo.domain.definition import Definition
from choreo.domain.service import Refused
from choreo.invariants.checkers import Invariant
from choreo.invariants.history import History
from choreo.invariants.known import Known, KnownRun
from choreo.trace.record import Record

CODE, TITLE = "D1", "a service raised an exception"
TRACEBACK_MAX, SUMMARY_MAX = 8_000, 400
CALLS = ("execute", "compensate")


def no_defect(definition: Definition) -> Invariant:
    """D1: no call of a service raises anything but `Refused`, but for the steps that may."""
    allowed = frozenset(step.name for step in definition.steps if step.may_raise)

    def check(history: History, record: Record, run: KnownRun, known: Known) -> str | None:
        if record.traceback is None or record.step in allowed:
            return None
        return f"{record.action} of {record.step} raised {record.reason}"

    return Invariant(CODE, TITLE, CALLS, check)


def summary_of(error: BaseException) -> str:
    """The exception in a line, whatever it is."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # it has no words
        text = ""
    return f"{name}: {text}"[:SUMMARY_MAX] if text else name


def traceback_of(error: BaseException) -> str:
    """The traceback from the author's own code on; of a very long one the beginning and the end."""
    behind = error.__traceback__
    try:
        inner = None if behind is None else behind.tb_next
        text = "".join(traceback.format_exception(type(error), error, inner))
    except Exception:  # whatever somebody else's exception raises when it is printed
        text = summary_of(error)
    return text if len(text) <= TRACEBACK_MAX else f"{text[: TRACEBACK_MAX // 2]}\n…\n{text[-TRACEBACK_MAX // 2 :]}"


def reason_of(refusal: Refused) -> str:
    """The words of a refusal; its name, where it has none that can be read."""
    try:
        return str(refusal)
    except Exception:  # whatever somebody else's `__str__` raises
        return type(refusal).__name__


# Ctrl-C


class _Pressed:
    """A handler of SIGINT that remembers that somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.is_pressed = False

    def __call__(self, number: int, frame: Any) -> None:
        self.is_pressed = True
        signal.default_int_handler(number, frame)


@contextmanager
def noticing_ctrl_c() -> Iterator[None]:
    """Tell a Ctrl-C from a `KeyboardInterrupt` that a service raises. Elsewhere than in the main thread: nothing."""
    handler = _Pressed()
    try:
        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        before = signal.signal(signal.SIGINT, handler) if is_ours else None
    except ValueError:  # not in the main thread
        is_ours = False
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, before)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody wants the process to stop, rather than a service."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    handler = signal.getsignal(signal.SIGINT)
    return handler.is_pressed if isinstance(handler, _Pressed) else handler is not signal.SIG_IGN

"""Exceptions of a service as values: the text of a refusal, or a defect.

Laws: no exception of a service, `sys.exit` included, ends the process or loses a reply; only a real Ctrl-C is raised
again. Every text is bounded, and says so where it was cut.
"""

from collections.abc import Callable

from msgspec import Struct

REASON_CHARACTERS_MAX = 2_000
SHOWN_CHARACTERS_MAX = 160
TRACEBACK_CHARACTERS_MAX = 20_000


class Defect(Struct, frozen=True, gc=False):
    """An exception other than `Refused`: `summary` in one line, and the `traceback` as text.

    `is_undone`: a local transaction raised it, and was compensated because its effect is unknown.
    """

    summary: str
    traceback: str
    is_undone: bool = False


class Interrupted(KeyboardInterrupt):
    """A real Ctrl-C, which a face distinguishes from a `KeyboardInterrupt` that a service raises."""


class CtrlC:
    """Exception type of a real Ctrl-C in this process; a face that can distinguish it sets `Interrupted`."""

    raises: type[KeyboardInterrupt] = KeyboardInterrupt


class Forked:
    """Exit of a process that a service has forked, called with the exception raised in it; a face sets `leave` there.

    Without it, the child would treat the exception as the service's answer, and continue the work of its parent.
    """

    leave: Callable[[BaseException], object] | None = None


def expect_no_ctrl_c(error: BaseException) -> None:
    """Raise the error again if it is a real Ctrl-C, which is not an answer of a service."""
    if isinstance(error, CtrlC.raises):
        raise error


def reason(error: BaseException) -> str:
    """Return the text of an exception, cut if it is long; its class if it has no readable text."""
    text = _read(error)
    return in_a_line(error) if text is None else cut(text)


def in_a_line(error: BaseException) -> str:
    """Return the class of an exception and the first line of its text, cut if it is long."""
    text = _read(error)
    line = "its text cannot be read" if text is None else text[: REASON_CHARACTERS_MAX + 1].partition("\n")[0]
    return cut(f"{type(error).__name__}: {line}" if line else type(error).__name__)


def defect(error: BaseException) -> Defect:
    """Return an exception as a defect, with its traceback. Raises the error itself if it is a real Ctrl-C."""
    import traceback  # slow to import, and seldom needed

    expect_no_ctrl_c(error)
    if Forked.leave is not None:
        Forked.leave(error)
    try:
        lines, last = traceback.format_exception(error), traceback.format_exception_only(error)[-1]
    except BaseException as unreadable:  # the class comes from outside, and may have changed its own fields
        expect_no_ctrl_c(unreadable)
        lines, last = [], in_a_line(error)
    summary = cut(last.strip())
    return Defect(summary, cut_in_the_middle("".join(lines)) or f"{summary}\n")


def shown(value: object) -> str:
    """Return a value as text for an error message, cut if it is long."""
    try:
        return cut(repr(value), SHOWN_CHARACTERS_MAX)
    except BaseException as error:  # the object comes from outside, and may raise any exception
        expect_no_ctrl_c(error)
        return f"a value of type {type(value).__name__}"


def cut(text: str, most: int = REASON_CHARACTERS_MAX) -> str:
    """Return the text; a long one is cut, with its length added."""
    return text if len(text) <= most else f"{text[:most]}... (cut: it has {len(text):,} characters)"


def cut_in_the_middle(text: str, most: int = TRACEBACK_CHARACTERS_MAX) -> str:
    """Return the text; a long one is cut in the middle, because the ends of a traceback tell the most."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... (cut: it has {len(text):,} characters)\n{text[-half:]}"


def _read(error: BaseException) -> str | None:
    """Return `str(error)` as an exact str; None if it raises."""
    try:
        return str.__str__(str(error))
    except BaseException as unreadable:
        expect_no_ctrl_c(unreadable)
        return None

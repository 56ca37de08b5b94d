"""What a service raised, as a value: the text of a refusal, or a defect.

Laws: nothing that a service raises ends the process or loses a reply, `sys.exit` included; only a real Ctrl-C goes on.
Every text is bounded, and says so where it was cut.
"""

from collections.abc import Callable

from msgspec import Struct

REASON_CHARACTERS_MAX = 2_000
SHOWN_CHARACTERS_MAX = 160
TRACEBACK_CHARACTERS_MAX = 20_000


class Defect(Struct, frozen=True, gc=False):
    """An exception that is not `Refused`: `summary` in one line, and the `traceback` as text.

    `is_undone`: it came from a local transaction, which was undone because nobody knows whether it took effect.
    """

    summary: str
    traceback: str
    is_undone: bool = False


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, where a face has told it apart from a `KeyboardInterrupt` that a service raises by itself."""


class CtrlC:
    """How a real Ctrl-C shows in this process; a face that tells it apart sets `Interrupted`."""

    raises: type[KeyboardInterrupt] = KeyboardInterrupt


class Forked:
    """How a process ends that a service has forked, when something is raised in it; a face sets `leave` there.

    Without, it would take that for an answer of the service, and go on with all that its parent is doing.
    """

    leave: Callable[[BaseException], object] | None = None


def expect_no_ctrl_c(error: BaseException) -> None:
    """Raise the error again if it is a real Ctrl-C, which is no answer of a service."""
    if isinstance(error, CtrlC.raises):
        raise error


def reason(error: BaseException) -> str:
    """The text of an exception, cut where it is long; its class where it has no text that can be read."""
    text = _read(error)
    return in_a_line(error) if text is None else cut(text)


def in_a_line(error: BaseException) -> str:
    """The class of an exception and the first line of its text, cut where it is long."""
    text = _read(error)
    line = "its text cannot be read" if text is None else text[: REASON_CHARACTERS_MAX + 1].partition("\n")[0]
    return cut(f"{type(error).__name__}: {line}" if line else type(error).__name__)


def defect(error: BaseException) -> Defect:
    """An exception that is no refusal, with its traceback. Raises the error itself if it is a real Ctrl-C."""
    import traceback  # slow to import, and seldom needed

    expect_no_ctrl_c(error)
    if Forked.leave is not None:
        Forked.leave(error)
    try:
        lines, last = traceback.format_exception(error), traceback.format_exception_only(error)[-1]
    except BaseException as unreadable:  # somebody else's class may make nonsense of its own fields
        expect_no_ctrl_c(unreadable)
        lines, last = [], in_a_line(error)
    summary = cut(last.strip())
    return Defect(summary, cut_in_the_middle("".join(lines)) or f"{summary}\n")


def shown(value: object) -> str:
    """A value as an error text shows it: cut where it is long."""
    try:
        return cut(repr(value), SHOWN_CHARACTERS_MAX)
    except BaseException as error:  # whatever somebody else's object raises
        expect_no_ctrl_c(error)
        return f"a value of type {type(value).__name__}"


def cut(text: str, most: int = REASON_CHARACTERS_MAX) -> str:
    """The text, or its beginning and how long it was."""
    return text if len(text) <= most else f"{text[:most]}... (cut: it has {len(text):,} characters)"


def cut_in_the_middle(text: str, most: int = TRACEBACK_CHARACTERS_MAX) -> str:
    """The text, or its beginning and its end: those of a traceback tell the most."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... (cut: it has {len(text):,} characters)\n{text[-half:]}"


def _read(error: BaseException) -> str | None:
    """`str(error)`, as an exact str; None where it raises."""
    try:
        return str.__str__(str(error))
    except BaseException as unreadable:
        expect_no_ctrl_c(unreadable)
        return None

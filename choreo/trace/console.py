"""Trace records for people: one aligned line each, coloured by event."""

from typing import Any

from structlog.typing import EventDict

from choreo.protocol.event import Command
from choreo.trace.record import Record
from choreo.trace.visible import visible

RESET, BOLD, DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
GREEN, YELLOW, RED, CYAN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[36m"

COLORS = {
    "started": CYAN,
    "succeeded": GREEN,
    "completed": GREEN,
    "failed": RED,
    "error": RED,
    "cancelled": YELLOW,
    "compensated": YELLOW,
    "compensation_failed": RED,
    "stuck": RED,
}


COMMANDS = tuple(Command)


class Console:
    """A structlog processor: formats a record as a line."""

    def __init__(self, colors: bool) -> None:
        self._colors = colors

    def __call__(self, logger: object, method: str, entry: EventDict) -> Any:
        record: Record = entry["record"]
        color = COLORS.get(_fact(record), "") + (BOLD if record.action == "reply" else "")
        line = (
            f"{record.seq:>4} {self._paint(DIM, str(record.time)[11:19])} {cut(record.saga_id, 11):<11} "
            f"{self._paint(color, f'{_what(record):<26}')} {self._paint(DIM, _cause(record))}"
        )
        if record.reason is not None and record.event.startswith(("step", "error")):
            line += f"  {cut(record.reason, 60)}"
        return line.rstrip().encode("utf-8", "backslashreplace")

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{RESET}" if self._colors and color else text


def _fact(record: Record) -> str:
    return record.event.rpartition(".")[2]


def _what(record: Record) -> str:
    """Return source and event as words."""
    words, source = _words(record.event.partition(".")[0], cut(record.step, 24), _fact(record)), cut(record.source, 24)
    match record.action:
        case "reply":
            return f"reply: {words}"
        case "deliver":
            return f"  {source} hears"
        case "execute" | "compensate":
            return f"  {source}: {_fact(record)}"
        case _:
            return words


def _cause(record: Record) -> str:
    """Return the causing event as words; for a delivery, the event itself."""
    event_id = record.id if record.action == "deliver" else record.causation_id
    if event_id is None:
        return ""
    kind, _, topic = event_id.removeprefix(f"{record.run}/").partition("/")
    step, _, fact = topic.rpartition("/")
    if fact.isdigit():  # the number of a repeated step name
        step, _, fact = step.rpartition("/")
    words = _words(kind, cut(step, 24), fact)
    return f"  {words}" if record.action == "deliver" else f"← {words}"


def _words(kind: str, step: str, fact: str) -> str:
    if kind != "step" or not step:
        return f"{kind} {fact}"
    return f"{fact} {step}" if fact in COMMANDS else f"{step} {fact}"


def cut(value: object, width: int) -> str:
    """Return the value as text that is safe for a terminal, cut to `width` characters. Names come from the input."""
    text = "" if value is None else visible(_text_of(value))
    return text if len(text) <= width else text[: width - 1] + "…"


def _text_of(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # the number has more digits than Python converts to text
        return hex(value) if isinstance(value, int) else "?"

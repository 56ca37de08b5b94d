"""Trace records for people: one aligned line each, coloured by event."""

import json
from typing import Any

from structlog.typing import EventDict

from choreo.trace import vocabulary
from choreo.trace.record import Record
from choreo.trace.visible import visible
from choreo.trace.vocabulary import DELIVER, REPLY, STEP, event_text, fact_of

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


class Console:
    """A structlog processor: formats a record as a line."""

    def __init__(self, colors: bool) -> None:
        self._colors = colors

    def __call__(self, logger: object, method: str, entry: EventDict) -> Any:
        record: Record = entry["record"]
        color = COLORS.get(fact_of(record.event), "") + (BOLD if record.action == REPLY else "")
        line = (
            f"{record.seq:>4} {self._paint(DIM, str(record.time)[11:19])} {cut(record.saga_id, 11):<11} "
            f"{self._paint(color, f'{_what(record):<26}')} {self._paint(DIM, _cause(record))}"
        )
        if record.reason is not None and record.event.startswith(("step", "error")):
            line += f"  {cut(record.reason, 60)}"
        for name, value in (("input", record.input), ("result", record.result)):
            if value is not None:
                line += f"  {name} {cut(json.dumps(value), 60)}"
        return line.rstrip().encode("utf-8", "backslashreplace")

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{RESET}" if self._colors and color else text


def _what(record: Record) -> str:
    """Return source and event as words."""
    fact, source = fact_of(record.event), cut(record.source, 24)
    words = _words(record.event.partition(".")[0], cut(record.step, 24), fact)
    match record.action:
        case vocabulary.REPLY:
            return f"reply: {words}"
        case vocabulary.DELIVER:
            return f"  {source} hears"
        case vocabulary.EXECUTE | vocabulary.COMPENSATE:
            return f"  {source}: {fact}"
        case _:
            return words


def _cause(record: Record) -> str:
    """Return the causing event as words; for a delivery, the event itself."""
    event_id = record.id if record.action == DELIVER else record.causation_id
    if event_id is None:
        return ""
    kind, _, topic = event_id.removeprefix(f"{record.run}/").partition("/")
    step, _, fact = topic.rpartition("/")
    if fact.isdigit():  # the number of a repeated step name
        step, _, fact = step.rpartition("/")
    words = _words(kind, cut(step, 24), fact)
    return f"  {words}" if record.action == DELIVER else f"← {words}"


def _words(kind: str, step: str, fact: str) -> str:
    return event_text(fact, step if kind == STEP and step else None, kind)


def cut(value: object, width: int) -> str:
    """Return the value as text that is safe for a terminal, cut to `width` characters. Names come from the input."""
    text = "" if value is None else visible(_text_of(value))
    return text if len(text) <= width else text[: width - 1] + "…"


def _text_of(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # the number has more digits than Python converts to text
        return hex(value) if isinstance(value, int) else "?"

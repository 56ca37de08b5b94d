"""Trace records for people: one aligned line each, coloured by what happened."""

from typing import Any

from structlog.typing import EventDict

from choreo.trace.record import Record

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
    """A structlog processor: record in, line out."""

    def __init__(self, colors: bool) -> None:
        self._colors = colors

    def __call__(self, logger: object, method: str, entry: EventDict) -> Any:
        record: Record = entry["record"]
        color = COLORS.get(record.event.rpartition(".")[2], "")
        if record.action == "reply":
            color += BOLD
        action = "" if record.action == "publish" else record.action
        line = (
            f"{record.seq:>5}  {self._paint(DIM, str(record.time)[11:23])}  {_cut(record.saga_id, 14):<14} "
            f"{action:<10} {_cut(record.source, 18):<18} {self._paint(color, f'{record.event:<26}')} {_why(record)}"
        )
        return line.rstrip().encode("utf-8", "backslashreplace")

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{RESET}" if self._colors and color else text


def _why(record: Record) -> str:
    cause, reason = record.causation_id, record.reason
    after = "" if cause is None else "← " + _cut(cause.removeprefix(f"{record.run}/"), 48)
    return after if reason is None else f"{after}  {_cut(reason, 60)}".strip()


def _cut(value: object, width: int) -> str:
    text = "" if value is None else str(value).translate(CONTROL)
    return text if len(text) <= width else text[: width - 1] + "…"


CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}
"""Names come from the input: they must not move the cursor of whoever reads the trace."""

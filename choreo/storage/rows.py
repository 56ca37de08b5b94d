"""The rows of the journal, as they are written and as they are read back.

Laws: values; docs/reference/journal.md explains every column. What is written is a plain tuple, because there are many.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from choreo.saga.keys import checked_origin, key_prefix
from choreo.saga.outcome import Outcome
from choreo.saga.request import Request, Sender
from choreo.storage import values
from choreo.storage.values import Kept, quote, quote_or_none

RUNNING, HELD, UNFINISHED = "running", "held", "unfinished"
"""A run that has not ended is unfinished: held, as long as it cannot go on, or else running."""

BegunRow = tuple[int, str, str | None, str | None, str | None, str, str, str | None, str | None, int]
"""A run that begins: `BEGUN_COLUMNS`."""

HandledRow = tuple[int, int, int, int, str, str, str | None, Kept]
"""A delivery that was handled: the fields of `DeliveryRow`."""

EndedRow = tuple[str, int | None, str | None, int]
"""A run that has ended: state, time, outcome, and the number of the run. Without the two: it runs again."""

RecordsRow = tuple[str, str, str | bytes]
"""The records of a service: name, kind, and what it holds."""

BEGUN_COLUMNS = "run, saga_id, src, msg_id, reply_as, style, steps, fail_step, fail_compensation, begun_ms"
ORIGIN = "(SELECT origin FROM origins WHERE first_run <= run ORDER BY first_run DESC LIMIT 1)"
RUN_COLUMNS = f"{BEGUN_COLUMNS}, state, ended_ms, outcome, resolution, {ORIGIN}"


class RunRow(Struct, frozen=True):
    """One run; times in milliseconds since 1970, UTC.

    `outcome` is what its client was told, and is told again; `resolution` is the outcome that it has come to since,
    where it was stuck and an operator had it go on. `origin` is that of its idempotency keys; None for a run that was
    begun by a choreo without origins.
    """

    number: int
    request: Request
    sender: Sender
    begun_ms: int
    state: str
    ended_ms: int | None
    outcome: Outcome | None
    resolution: Outcome | None = None
    origin: str | None = None

    @property
    def key_prefix(self) -> str:
        """The common beginning of the idempotency keys of its calls."""
        return key_prefix(self.origin, self.number)

    @property
    def latest_outcome(self) -> Outcome | None:
        """What it has come to by now."""
        return self.resolution or self.outcome


class DeliveryRow(Struct, frozen=True, gc=False):
    """One delivery that was handled: which hearer (`seat`) heard what, and what it published.

    `heard` and the words of `published` are `fact:position`, or `fact` alone where it is the saga's own. `detail` says
    why something failed, as JSON; `receipt` is what the local transaction handed back, as it is kept.
    """

    run: int
    number: int
    at_ms: int
    seat: int
    heard: str
    published: str
    detail: str | None
    receipt: Kept


def saga_text(saga_id: str | int) -> str:
    """A saga's id in its column: 5 and "5" are two sagas."""
    return quote(saga_id) if isinstance(saga_id, str) else str(saga_id)


def begun_row(number: int, saga_id: str, request: Request, steps: str, sender: Sender, at_ms: int) -> BegunRow:
    """`saga_id` and `steps` are those of the request, as text."""
    return (
        number,
        saga_id,
        quote_or_none(sender.src),
        None if sender.msg_id is None else str(sender.msg_id),
        quote_or_none(sender.reply_as),
        request.style,
        steps,
        quote_or_none(request.fail_step),
        quote_or_none(request.fail_compensation),
        at_ms,
    )


def read_run(row: Sequence[Any]) -> RunRow:
    """A row of `RUN_COLUMNS`, in whose cells stands what may stand there."""
    number, saga_id, src, msg_id, reply_as, style, steps, fail_step, fail_compensation, begun_ms = row[:10]
    state, ended_ms, outcome, resolution, origin = row[10:]
    read = values.read_or_none
    return RunRow(
        number,
        Request(read(saga_id), values.read_steps(steps), read(fail_step), read(fail_compensation), style),
        Sender(read(src), read(msg_id), read(reply_as)),
        begun_ms,
        state,
        ended_ms,
        None if outcome is None else values.read_outcome(outcome),
        None if resolution is None else values.read_outcome(resolution),
        None if origin is None else checked_origin(origin),
    )

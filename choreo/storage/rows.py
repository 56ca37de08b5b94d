"""The rows of the journal, as written and as read back.

Laws: values; docs/reference/journal.md explains every column. Rows to write are plain tuples, because there are many.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from choreo.saga.keys import checked_origin, key_prefix
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.request import Request, Sender
from choreo.storage import values
from choreo.storage.sagas import saga_of_text
from choreo.storage.values import Kept, quote, quote_or_none

RUNNING, HELD, UNFINISHED = "running", "held", "unfinished"
"""States of a run without an outcome: unfinished is either held, as long as it cannot proceed, or running."""

BegunRow = tuple[
    int, str, str | None, str | None, str | None, str, str, str | None, str | None, int, str | None, str | None
]
"""Row of a run that begins: `BEGUN_COLUMNS`."""

HandledRow = tuple[int, int, int, int, str, str, str | None, Kept]
"""Row of a handled delivery: the fields of `DeliveryRow`."""

EndedRow = tuple[str, int | None, str | None, int]
"""Row of a run that has ended: state, time, outcome, and the run's number. Without time and outcome it runs again."""

RecordsRow = tuple[str, str, str]
"""The records of a service: name, kind, and state as JSON."""

BEGUN_COLUMNS = "run, saga_id, src, msg_id, reply_as, style, steps, fail_step, fail_compensation, begun_ms, saga, input"
ORIGIN = "(SELECT origin FROM origins WHERE first_run <= run ORDER BY first_run DESC LIMIT 1)"
DEFINITION = "(SELECT definition FROM sagas WHERE digest = runs.saga)"
RUN_COLUMNS = f"{BEGUN_COLUMNS}, state, ended_ms, outcome, resolution, {ORIGIN}, {DEFINITION}"


class RunRow(Struct, frozen=True):
    """One run; times in milliseconds since 1970, UTC.

    `outcome` was sent to the client, and is sent again for a repeated request. `resolution` is the later outcome of a
    stuck run that an operator resumed. `origin` is that of its idempotency keys; None for a run that was begun by a
    choreo without origins. `definition` is that of its saga, as JSON text; None for a list of step names.
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
    definition: str | None = None

    @property
    def key(self) -> Itinerary | str:
        """Return the key of its compiled saga: the step names, or the definition."""
        return self.request.steps if self.definition is None else self.definition

    @property
    def key_prefix(self) -> str:
        """Return the common prefix of the idempotency keys of its calls."""
        return key_prefix(self.origin, self.number)

    @property
    def latest_outcome(self) -> Outcome | None:
        """Return the latest outcome so far."""
        return self.resolution or self.outcome


class DeliveryRow(Struct, frozen=True, gc=False):
    """One handled delivery: the subscriber (`seat`), the event that it received, and the events that it published.

    `heard` and the words of `published` are `fact:position`, or `fact` alone for a fact of the saga itself. `detail` is
    the reason of a failure, as JSON; `receipt` is the encoded receipt of the local transaction.
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
    """Encode a saga's id for its column: 5 and "5" are two sagas."""
    return quote(saga_id) if isinstance(saga_id, str) else str(saga_id)


def begun_row(
    number: int, saga_id: str, request: Request, steps: str, sender: Sender, at_ms: int, digest: str | None = None
) -> BegunRow:
    """Build the row of a run that begins; `saga_id` and `steps` are those of the request, as text.

    `digest` is that of the saga's definition.
    """
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
        digest,
        request.input,
    )


def read_run(row: Sequence[Any]) -> RunRow:
    """Decode a row of `RUN_COLUMNS` whose cells have passed the checks."""
    number, saga_id, src, msg_id, reply_as, style, steps, fail_step, fail_compensation, begun_ms, _, given = row[:12]
    state, ended_ms, outcome, resolution, origin, definition = row[12:]
    read = values.read_or_none
    saga = None if definition is None else saga_of_text(definition).name
    return RunRow(
        number,
        Request(read(saga_id), values.read_steps(steps), read(fail_step), read(fail_compensation), style, saga, given),
        Sender(read(src), read(msg_id), read(reply_as)),
        begun_ms,
        state,
        ended_ms,
        None if outcome is None else values.read_outcome(outcome),
        None if resolution is None else values.read_outcome(resolution),
        None if origin is None else checked_origin(origin),
        definition,
    )

"""Idempotent receiver: handles client retries, the requests that a client repeats because no reply has come.

Laws: the only place that tells a repeated request from a new one. With `idempotent_request`, no run is started twice.
With `recorded_outcome`, a retry after the end of the run is answered from the record.
"""

from msgspec.structs import replace

from choreo.protocol.event import Event, Events, Fact, Run, Timer, Topic
from choreo.protocol.reaction import NOTHING, SUCCEEDED, WAITING, Cell, Phase, Reaction, moves
from choreo.protocol.report import OutcomeTopics
from choreo.saga.guarantees import Guarantees
from choreo.saga.outcome import State
from choreo.saga.roles import IDEMPOTENT_RECEIVER

NAME = IDEMPOTENT_RECEIVER
REQUESTED = Topic("saga/requested", Fact.REQUESTED, "client")


class IdempotentReceiver:
    """Receiver of one request. `again` is the run that a retry starts when `idempotent_request` is off.

    In its cell, `heard` is 1 once a retry has come, and `receipt` is the outcome once it is known.
    """

    def __init__(self, guarantees: Guarantees, started: Topic, again: Run) -> None:
        self._started = started
        self._again = again
        self.heard_outcome = moves({WAITING: self._record})
        repeated: dict[Phase, Reaction] = {WAITING: self._start_again, SUCCEEDED: self._start_again}
        if guarantees.idempotent_request:
            repeated = {WAITING: self._note, SUCCEEDED: self._answer} if guarantees.recorded_outcome else {}
        self.heard_request = moves(repeated)

    def _note(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Note a retry that comes before the end; it is answered at the end."""
        return replace(cell, heard=1), NOTHING

    def _record(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        recorded = replace(cell, phase=SUCCEEDED, receipt=event.detail)
        return self._answer(recorded, event) if cell.heard else (recorded, NOTHING)

    def _answer(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        outcome, tries = cell.receipt, cell.attempt + 1
        topic = ANSWERS[outcome.state]
        return replace(cell, attempt=tries), (Event(topic, event.run, event.topic, outcome, tries, event.number),)

    def _start_again(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        if cell.attempt:
            return cell, NOTHING  # the lab prepares one more run, not two
        return replace(cell, attempt=1), (Event(self._started, self._again),)


RECORDED = OutcomeTopics(NAME, prefix="recorded")
ANSWERS = {
    State.COMPLETED: RECORDED.completed,
    State.COMPENSATED: RECORDED.compensated,
    State.STUCK: RECORDED.stuck,
}


def asks_again(after_ms: int) -> Topic:
    """Return the topic of the client's retry timer; the delay is in milliseconds."""
    return Topic("client/ask", Timer.ASK, "client", after_ms=(after_ms, after_ms))


def ask(cell: Cell, event: Event) -> tuple[Cell, Events]:
    """Repeat the request if the client has no reply yet."""
    return cell, (Event(REQUESTED, event.run, event.topic),)

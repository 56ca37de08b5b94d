"""The front door: what becomes of a request that a client makes again, because it has heard nothing.

Laws: the one place where a request is told apart from a repeated one. With `idempotent_request` nothing is started
twice; with `recorded_outcome` whoever asks again after the end is answered from the record.
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


class FrontDoor:
    """Guards one request. `again` is the run that a repeated request starts where nobody prevents it.

    Its cell: `heard` is 1 once somebody has asked again, `receipt` is the outcome once it is known.
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
        """Asked before the end: the answer comes with the end."""
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
            return cell, NOTHING  # the lab has one more run prepared, and no third
        return replace(cell, attempt=1), (Event(self._started, self._again),)


RECORDED = OutcomeTopics(NAME, prefix="recorded")
ANSWERS = {
    State.COMPLETED: RECORDED.completed,
    State.COMPENSATED: RECORDED.compensated,
    State.STUCK: RECORDED.stuck,
}


def asks_again(after_ms: int) -> Topic:
    """The timer of a client that loses patience."""
    return Topic("client/ask", Timer.ASK, "client", after_ms=(after_ms, after_ms))


def ask(cell: Cell, event: Event) -> tuple[Cell, Events]:
    """The client asks again, if it has no answer yet."""
    return cell, (Event(REQUESTED, event.run, event.topic),)

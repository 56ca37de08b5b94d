"""Dead letters: a saga with an event that cannot be read is stuck, and its outcome gives the reason.

Laws: honest. The outcome lists the steps that had been compensated by then, and is never `compensated`.
"""

from typing import Any

from msgspec.structs import replace

from choreo.protocol.event import Event, Events, Fact, Topic
from choreo.protocol.reaction import CANCELLED, FAILED, STUCK, WAITING, Moves, moves
from choreo.protocol.report import OutcomeTopics, backward_outcome, ends_of
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Plan
from choreo.saga.roles import DEAD_LETTERS

NAME = DEAD_LETTERS
ATTEMPTS = 3
"""Delivery attempts before an unreadable event becomes a dead letter."""

UNREADABLE = Topic("saga/unreadable", Fact.UNREADABLE, NAME)


def give_up(plan: Plan, topics: OutcomeTopics) -> Moves:
    """Return the reaction of the coordinator, or of the orchestrator, to a dead letter of a run that has not ended."""

    def close(cell: Any, event: Event) -> tuple[Any, Events]:
        undone = backward_outcome(plan, ends_of(cell.log)).compensated_steps
        outcome = Outcome(State.STUCK, 0, undone, None, event.reason)
        return replace(cell, phase=STUCK), (Event(topics.stuck, event.run, event.topic, outcome, 0, event.number),)

    return moves({WAITING: close, FAILED: close, CANCELLED: close})

"""Reactions, and the rows of a style's table.

Laws: a cell is a value. A reaction returns the next cell and the events to publish, and changes no other state. The
reaction in each phase comes from a table.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.event import Event, Events, Topic
from choreo.saga.data import Data, joined

NOTHING: Events = ()


class Phase(IntEnum):
    """State of a participant in one run. An integer, because it indexes the transitions.

    Five phases are for local transactions that take time. RUNNING: the transaction runs. TIMED_OUT: it still runs after
    its time-out. ABORTED: it runs and will be compensated. UNDOING: its compensation is retried. UNDOING_LATE: the
    same, after a late success. IN_DOUBT: the answer is unknown, and the compensation has not worked yet. RESUMED: the
    same, and an operator has asked for one more attempt.
    """

    WAITING = 0
    SUCCEEDED = 1
    FAILED = 2
    CANCELLED = 3
    COMPENSATED = 4
    STUCK = 5
    RUNNING = 6
    TIMED_OUT = 7
    ABORTED = 8
    UNDOING = 9
    UNDOING_LATE = 10
    IN_DOUBT = 11
    RESUMED = 12


# A member lookup on an enum costs as much as a whole reaction in Python 3.11; module-level names cost less.
PHASES = tuple(Phase)
(
    WAITING,
    SUCCEEDED,
    FAILED,
    CANCELLED,
    COMPENSATED,
    STUCK,
    RUNNING,
    TIMED_OUT,
    ABORTED,
    UNDOING,
    UNDOING_LATE,
    IN_DOUBT,
    RESUMED,
) = PHASES


class Cell(Struct, frozen=True, gc=False):
    """State of one participant in one run.

    `heard` has a bit for each neighbour whose event has arrived. `receipt` is the return value of the local
    transaction, or, in doubt, the exception that it raised. `attempt` counts the attempts of a retried call. `data` are
    the results of the steps before, where they must be kept: at a join, and while the local transaction runs.
    """

    phase: Phase = WAITING
    heard: int = 0
    receipt: Any = None
    attempt: int = 0
    data: Data = None


Reaction = Callable[[Any, Event], tuple[Any, Events]]
"""Reaction: (cell, event) to (next cell, published events)."""

Moves = tuple[Reaction | None, ...]
"""The reactions to one kind of event, indexed by phase; None: the event changes no state in that phase."""


def moves(by_phase: Mapping[Phase, Reaction]) -> Moves:
    return tuple(map(by_phase.get, PHASES))


class Subscription(Struct, frozen=True, eq=False, gc=False):
    """One row of a style's table: subscriber, topic and reaction. `seat` is the index of the subscriber's cell."""

    topic: Topic
    seat: int
    subscriber: str
    moves: Moves

    def react(self, cell: Any, event: Event) -> tuple[Any, Events]:
        """Return the subscriber's next cell and the events that it publishes."""
        reaction: Reaction | None = self.moves[cell.phase]
        if reaction is None:
            return cell, NOTHING
        return reaction(cell, event)


class Join:
    """Join of several neighbours: notes each event that arrives, and reacts to the last one.

    `offset` separates the bits of two joins in one cell.
    """

    def __init__(self, positions: Sequence[int], offset: int = 0) -> None:
        self.bits = {position: bit for bit, position in enumerate(positions, start=offset)}
        self.all = (1 << len(positions)) - 1 << offset

    def before(self, reactions: Moves) -> Moves:
        """Return the reactions, delayed until every neighbour's event has arrived."""

        def gather(cell: Any, event: Event) -> tuple[Any, Events]:
            heard = cell.heard | 1 << self.bits[event.topic.position]
            if event.data is None:
                cell = replace(cell, heard=heard)
            else:
                cell = replace(cell, heard=heard, data=joined(cell.data, event.data))
            reaction: Reaction | None = reactions[cell.phase]
            if heard & self.all != self.all or reaction is None:
                return cell, NOTHING
            return reaction(cell, event)

        return Held((gather,) * len(reactions), reactions)


class Held(tuple[Reaction | None, ...]):
    """Reactions behind a join; `reactions` are the originals."""

    reactions: Moves

    def __new__(cls, moves: Moves, reactions: Moves) -> "Held":
        held = super().__new__(cls, moves)
        held.reactions = reactions
        return held

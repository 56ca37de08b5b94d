"""The form of every reaction, and the rows of a style's table.

Laws: a cell is a value; a reaction returns the next cell and the events to publish, and changes nothing else. What a
reaction may do in which state is looked up, not decided.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.event import Event, Events, Topic

NOTHING: Events = ()


class Phase(IntEnum):
    """Where a participant stands in one run. A number, because it indexes the transitions.

    Five are for local transactions that take time: it runs; it runs although its time is up; it runs and is to be
    undone; its compensation is tried again; so is that of what came too late. In doubt: its answer is unknown, and its
    compensation has not worked yet; resumed: the same, and an operator has it tried once more.
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


# Looking a member up on its enum costs as much as a whole reaction in Python 3.11; these names are free.
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
    """The memory of one participant of one run.

    `heard` has a bit for each neighbour that was heard from; `receipt` is what the local transaction handed back, or,
    in doubt, the exception that it raised; `attempt` counts the tries of what is being tried again.
    """

    phase: Phase = WAITING
    heard: int = 0
    receipt: Any = None
    attempt: int = 0


Reaction = Callable[[Any, Event], tuple[Any, Events]]
"""Cell and event in, next cell and published events out."""

Moves = tuple[Reaction | None, ...]
"""The reaction to one kind of event, by the phase of the cell; None: the event changes nothing in that phase."""


def moves(by_phase: Mapping[Phase, Reaction]) -> Moves:
    return tuple(map(by_phase.get, PHASES))


class Subscription(Struct, frozen=True, eq=False, gc=False):
    """One row of a style's table: who hears a topic, and how it reacts. `seat` is the place of the hearer's cell."""

    topic: Topic
    seat: int
    hearer: str
    moves: Moves

    def react(self, cell: Any, event: Event) -> tuple[Any, Events]:
        """What the hearer does: the next cell, and the events that it publishes."""
        reaction: Reaction | None = self.moves[cell.phase]
        if reaction is None:
            return cell, NOTHING
        return reaction(cell, event)


class Gather:
    """Waits for all of several neighbours: counts who was heard from, and reacts when the last one was.

    `offset` keeps the bits of two gatherings in one cell apart.
    """

    def __init__(self, positions: Sequence[int], offset: int = 0) -> None:
        self.bits = {position: bit for bit, position in enumerate(positions, start=offset)}
        self.all = (1 << len(positions)) - 1 << offset

    def before(self, reactions: Moves) -> Moves:
        """The same reactions, held back until every neighbour was heard from."""

        def gather(cell: Any, event: Event) -> tuple[Any, Events]:
            heard = cell.heard | 1 << self.bits[event.topic.position]
            cell = replace(cell, heard=heard)
            reaction: Reaction | None = reactions[cell.phase]
            if heard & self.all != self.all or reaction is None:
                return cell, NOTHING
            return reaction(cell, event)

        return Held((gather,) * len(reactions), reactions)


class Held(tuple[Reaction | None, ...]):
    """Moves that are held back; `reactions` are those behind them."""

    reactions: Moves

    def __new__(cls, moves: Moves, reactions: Moves) -> "Held":
        held = super().__new__(cls, moves)
        held.reactions = reactions
        return held

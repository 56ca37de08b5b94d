"""The coordinator: source and sink of a saga in choreography. It collects, and reports what it observed.

Laws: commands no participant, and reports one outcome a run, for ever. As the source it has ended backward when every first
step has. As the sink it is a join of all last steps: where there are several, it says `saga/cancelled` once one of them
has ended backward, as any join would, so that the others compensate.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.domain.event import Event, Events, Fact, Topic
from choreo.domain.outcome import Outcome, State
from choreo.domain.plan import Plan
from choreo.domain.reaction import (
    CANCELLED,
    COMPENSATED,
    NOTHING,
    STUCK,
    SUCCEEDED,
    WAITING,
    Gather,
    Moves,
    Phase,
    moves,
)
from choreo.domain.report import Log, backward_outcome, events_of, OutcomeTopics


class Collected(Struct, frozen=True, gc=False):
    """The coordinator's cell.

    Its phase is what it knows of the run: waiting, cancelled (the sink will not be reached), or closed: succeeded,
    compensated, stuck. `stuck` tells that a compensation keeps failing, while others may still be under way.
    """

    phase: Phase = WAITING
    heard: int = 0
    first_ended: int = 0
    stuck: bool = False
    log: Log = None


HAS_COMPLETED, HAS_COMPENSATED, IS_STUCK = Collected(SUCCEEDED), Collected(COMPENSATED), Collected(STUCK)


class Coordinator:
    """Collects the ends of the steps of one plan until nothing is left to hear of."""

    NAME = "coordinator"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cancelled = Topic("saga/cancelled", Fact.CANCELLED, self.NAME)
        self.outcomes = OutcomeTopics(self.NAME)
        first = Gather(plan.first)
        self._first_bit, self._first_all = first.bits.get, first.all
        self._last = Gather(plan.last)
        self._completed = Outcome(State.COMPLETED, completed_steps=len(plan.steps))

    @property
    def is_join(self) -> bool:
        """Whether several last steps meet here."""
        return len(self._last.bits) > 1

    def started(self) -> Moves:
        """The reaction to the start of a saga without steps."""
        return moves({WAITING: self._complete})

    def succeeded(self) -> Moves:
        """The reaction to the success of a last step."""
        complete = moves({WAITING: self._complete})
        return self._last.before(complete) if self.is_join else complete

    def ended(self, position: int) -> Moves:
        """The reaction to the end of a step that failed, was cancelled or was compensated."""
        on_waiting = self._cancel if self.is_join and position in self._last.bits else self._collect
        return moves({WAITING: on_waiting, CANCELLED: self._collect})

    def compensation_failed(self) -> Moves:
        """The reaction to a step that could not be compensated."""
        return moves({WAITING: self._note_stuck, CANCELLED: self._note_stuck})

    def _complete(self, cell: Collected, event: Event) -> tuple[Collected, Events]:
        return HAS_COMPLETED, (Event(self.outcomes.completed, event.run, event.topic, self._completed),)

    def _cancel(self, cell: Collected, event: Event) -> tuple[Collected, Events]:
        cell, events = self._collect(replace(cell, phase=CANCELLED), event)
        return cell, (Event(self.cancelled, event.run, event.topic), *events)

    def _collect(self, cell: Collected, event: Event) -> tuple[Collected, Events]:
        first_ended = cell.first_ended | self._first_bit(event.topic.position, 0)
        log = (event, cell.log)
        if first_ended == self._first_all or (cell.stuck and self._is_final(log)):
            return self._close(log, event)
        return Collected(cell.phase, cell.heard, first_ended, cell.stuck, log), NOTHING

    def _note_stuck(self, cell: Collected, event: Event) -> tuple[Collected, Events]:
        log = (event, cell.log)
        if self._is_final(log):
            return self._close(log, event)
        return Collected(cell.phase, cell.heard, cell.first_ended, True, log), NOTHING

    def _close(self, log: Log, event: Event) -> tuple[Collected, Events]:
        outcome = backward_outcome(log)
        if outcome.stuck_step is None:
            return HAS_COMPENSATED, (Event(self.outcomes.compensated, event.run, event.topic, outcome),)
        return IS_STUCK, (Event(self.outcomes.stuck, event.run, event.topic, outcome),)

    def _is_final(self, log: Log) -> bool:
        """Whether every step has ended that the stuck ones do not block, as far as anybody waits for it."""
        facts = {event.topic.position: event.topic.fact for event in events_of(log)}
        blocked = _blocked_by(self.plan, [p for p, fact in facts.items() if fact is Fact.COMPENSATION_FAILED])
        waited_for = [self.plan.first, *_distinct(self.plan.successors[p] for p in blocked)]
        return all(p in facts or p in blocked for group in waited_for for p in group)


def _blocked_by(plan: Plan, stuck: list[int]) -> dict[int, None]:
    """The stuck positions and everything before them: none of that can be compensated."""
    blocked = dict.fromkeys(stuck)
    queue = list(stuck)
    for position in queue:
        before = [p for p in plan.predecessors[position] if p not in blocked]
        blocked.update(dict.fromkeys(before))
        queue.extend(before)
    return blocked


def _distinct(groups: Iterator[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Members of a group share one tuple of neighbours; looking at it once is enough."""
    return list({id(group): group for group in groups}.values())

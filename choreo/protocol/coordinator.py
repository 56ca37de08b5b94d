"""The coordinator: source and sink of a choreographed saga. It collects events and reports the outcome it observed.

Laws: it commands no participant, and reports one outcome per run, never a second one. As the source, it has ended
backward when every first step has. As the sink, it is a join of all last steps: with several last steps, it publishes
`saga/cancelled` once one of them has ended backward, as any join does, so that the others compensate.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.event import GAVE_UP, Event, Events, Fact, Topic
from choreo.protocol.reaction import CANCELLED, COMPENSATED, NOTHING, STUCK, SUCCEEDED, WAITING, Join, Phase, moves
from choreo.protocol.report import Ends, Log, OutcomeTopics, backward_outcome, ends_of
from choreo.saga.data import Data, results_text
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Plan
from choreo.saga.roles import COORDINATOR

FACT_COMPENSATED, FACT_COMPENSATION_FAILED = Fact.COMPENSATED, Fact.COMPENSATION_FAILED


class CoordinatorState(Struct, frozen=True, gc=False):
    """Cell of the coordinator.

    `phase` is waiting, cancelled (the sink will not be reached), or closed: succeeded, compensated, stuck. `heard` has
    a bit for each last step that succeeded, `first_ended` a bit for each first step that ended backward. `is_stuck` is
    set once a compensation has failed for good; other steps may still be running. At least `missing` more events must
    arrive before the outcome can be known.
    """

    phase: Phase = WAITING
    heard: int = 0
    first_ended: int = 0
    is_stuck: bool = False
    missing: int = 0
    log: Log = None
    data: Data = None
    """The results of the last steps that have succeeded."""


CELL_COMPLETED, CELL_COMPENSATED, CELL_STUCK = (
    CoordinatorState(SUCCEEDED),
    CoordinatorState(COMPENSATED),
    CoordinatorState(STUCK),
)


class Coordinator:
    """Collects the ends of the steps of one plan, until no further event is due."""

    NAME = COORDINATOR

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cancelled = Topic("saga/cancelled", Fact.CANCELLED, self.NAME)
        self.outcomes = OutcomeTopics(self.NAME)
        self._completed = Outcome(State.COMPLETED, completed_steps=len(plan.steps))
        first = Join(plan.first)
        self._first_bit, self._first_all = first.bits.get, first.all
        self._has_one_last = len(plan.last) < 2

        complete = moves({WAITING: self._complete})
        self.started = complete
        """The reaction to the start of a saga without steps."""
        self.succeeded = complete if self._has_one_last else Join(plan.last).before(complete)
        """The reaction to the success of a last step."""
        self.ended = moves({WAITING: self._collect, CANCELLED: self._collect})
        """The reaction to the end of a step that failed, was cancelled or was compensated."""
        self.last_ended = self.ended if self._has_one_last else moves({WAITING: self._cancel, CANCELLED: self._collect})
        """The reaction to the end of a last step that failed, was cancelled or was compensated."""
        stuck = self._note_stuck if self._has_one_last else self._cancel_stuck
        self.compensation_failed = moves({WAITING: stuck, CANCELLED: self._note_stuck})
        """The reaction to a step that could not be compensated."""

    @property
    def is_join(self) -> bool:
        """True if the plan has several last steps."""
        return not self._has_one_last

    def _complete(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        outcome = self._completed
        if event.run.has_result:
            outcome = replace(outcome, result=results_text(cell.data or event.data))
        return CELL_COMPLETED, (Event(self.outcomes.completed, event.run, event.topic, outcome),)

    def _cancel(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        cell, events = self._collect(replace(cell, phase=CANCELLED), event)
        return cell, (Event(self.cancelled, event.run, event.topic), *events)

    def _collect(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        first_ended, missing, log = cell.first_ended, cell.missing, (event, cell.log)
        bit = self._first_bit(event.topic.position)
        if bit is not None:
            first_ended |= 1 << bit
        if missing < 2 and (cell.is_stuck or first_ended == self._first_all):
            return self._close(replace(cell, first_ended=first_ended, log=log), event)
        return CoordinatorState(
            cell.phase, cell.heard, first_ended, cell.is_stuck, missing and missing - 1, log, cell.data
        ), NOTHING

    def _note_stuck(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        missing = cell.missing
        cell = replace(cell, is_stuck=True, missing=missing and missing - 1, log=(event, cell.log))
        if missing < 2 or not self.plan.is_levelled:  # in a graph, one stuck step may block several that were due
            return self._close(cell, event)
        return cell, NOTHING

    def _cancel_stuck(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        """Publish `saga/cancelled` for a stuck last step: the other last steps must learn of it."""
        cell, events = self._note_stuck(replace(cell, phase=CANCELLED), event)
        return cell, (Event(self.cancelled, event.run, event.topic), *events)

    def _close(self, cell: CoordinatorState, event: Event) -> tuple[CoordinatorState, Events]:
        """Report the outcome, unless an event that must have come earlier is missing: they may arrive out of order."""
        ends = ends_of(cell.log)
        missing = self._missing_beside_stuck(ends) if cell.is_stuck else self._is_missing_any(ends)
        if missing:
            return replace(cell, missing=int(missing)), NOTHING
        outcome = backward_outcome(self.plan, ends)
        if outcome.stuck_step is None:
            return CELL_COMPENSATED, (Event(self.outcomes.compensated, event.run, event.topic, outcome),)
        return CELL_STUCK, (Event(self.outcomes.stuck, event.run, event.topic, outcome),)

    def _is_missing_any(self, ends: Ends) -> bool:
        """True if the end of a compensated step's successor, which came earlier, has not been received yet."""
        successors = self.plan.successors
        if len(ends) == len(successors):
            return False
        for position, event in ends.items():
            if event.topic.fact is FACT_COMPENSATED and event.detail.__class__ not in GAVE_UP:
                for successor in successors[position]:
                    if successor not in ends:
                        return True
        return False

    def _missing_beside_stuck(self, ends: Ends) -> int:
        """Count the steps of a stuck run whose end is still due.

        Every first step ends. So does every successor of a step that was compensated, that failed to compensate, or
        that waits to compensate. Not due are the steps that stuck steps block, and the successors of a step that
        succeeded too late or is in doubt.
        """
        late = [p for p, event in ends.items() if event.detail.__class__ in GAVE_UP]
        undone = [p for p, event in ends.items() if event.topic.fact is FACT_COMPENSATED]
        blocked = _blocked_by(self.plan, [p for p, e in ends.items() if e.topic.fact is FACT_COMPENSATION_FAILED])
        ending = [self.plan.first, *_distinct(self.plan.successors[p] for p in (*undone, *blocked) if p not in late)]
        return len({p: None for group in ending for p in group if p not in ends and p not in blocked})


def _blocked_by(plan: Plan, stuck: list[int]) -> dict[int, None]:
    """Return the stuck positions and all their ancestors: none of those can be compensated."""
    blocked = dict.fromkeys(stuck)
    queue = list(stuck)
    for position in queue:
        before = [p for p in plan.predecessors[position] if p not in blocked]
        blocked.update(dict.fromkeys(before))
        queue.extend(before)
    return blocked


def _distinct(groups: Iterator[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the distinct tuples of neighbours. The members of a group share one tuple, so it is read once."""
    return list({id(group): group for group in groups}.values())

"""The orchestrator: walks the plan with commands and replies. The only participant that commands others.

Laws: learns of a step by its reply alone. Forward, a step is told to execute once all its predecessors have succeeded.
After a failure it waits for what still runs, then tells a step to compensate once none of its successors stands. When
nothing is awaited and nothing is left to command, the run has its outcome.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from choreo.domain.report import OutcomeTopics, backward_outcome
from choreo.domain.event import Command, Event, Events
from choreo.domain.outcome import Outcome, State
from choreo.domain.participant import step_topic
from choreo.domain.plan import Plan
from choreo.domain.positions import Positions
from choreo.domain.reaction import CANCELLED, COMPENSATED, FAILED, STUCK, SUCCEEDED, WAITING, Moves, Phase, moves


class Directed(Struct, frozen=True, gc=False):
    """The orchestrator's cell.

    Phases: waiting (forward), failed (waits for what still runs), cancelled (backward), then closed. `awaited` counts the
    replies that are due, `standing` holds the steps that are in force, `log` is the linked list `(event, older)` of what
    went wrong or was undone.
    """

    phase: Phase = WAITING
    awaited: int = 0
    standing: Positions = Positions()
    log: Any = None


class Orchestrator:
    """Directs the runs of one plan."""

    NAME = "orchestrator"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcomes = OutcomeTopics(self.NAME)
        self.commands = {
            command: [step_topic(plan, position, command, self.NAME) for position in range(len(plan.steps))]
            for command in Command
        }

    def started(self) -> Moves:
        return moves({WAITING: self._start})

    def succeeded(self) -> Moves:
        return moves({WAITING: self._advance, FAILED: self._note_success})

    def failed(self) -> Moves:
        return moves({WAITING: self._note_end, FAILED: self._note_end})

    def compensated(self) -> Moves:
        return moves({CANCELLED: self._retreat})

    def compensation_failed(self) -> Moves:
        return moves({CANCELLED: self._note_stuck})

    def _start(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        return self._command(cell, event, Command.EXECUTE, self.plan.first)

    def _advance(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        position = event.topic.position
        standing = cell.standing.add(position)
        cell = Directed(WAITING, cell.awaited - 1, standing, cell.log)
        ready = [s for s in self.plan.successors[position] if standing.covers(self.plan.predecessors[s])]
        return self._command(cell, event, Command.EXECUTE, ready)

    def _note_success(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        standing = cell.standing.add(event.topic.position)
        return self._turn(Directed(FAILED, cell.awaited - 1, standing, cell.log), event)

    def _note_end(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        return self._turn(Directed(FAILED, cell.awaited - 1, cell.standing, (event, cell.log)), event)

    def _turn(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        """Go backward, once nothing runs any more."""
        if cell.awaited:
            return cell, ()
        cell = Directed(CANCELLED, 0, cell.standing, cell.log)
        return self._compensate(cell, event, cell.standing.descending())

    def _retreat(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        position = event.topic.position
        cell = Directed(CANCELLED, cell.awaited - 1, cell.standing.remove(position), (event, cell.log))
        return self._compensate(cell, event, self.plan.predecessors[position][::-1])

    def _note_stuck(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        cell = Directed(CANCELLED, cell.awaited - 1, cell.standing, (event, cell.log))
        return self._compensate(cell, event, ())

    def _compensate(self, cell: Directed, event: Event, positions: Iterable[int]) -> tuple[Directed, Events]:
        standing, successors = cell.standing, self.plan.successors
        free = [p for p in positions if p in standing and not any(s in standing for s in successors[p])]
        return self._command(cell, event, Command.COMPENSATE, free)

    def _command(
        self, cell: Directed, event: Event, command: Command, positions: Iterable[int]
    ) -> tuple[Directed, Events]:
        topics = self.commands[command]
        commands = tuple(Event(topics[position], event.run, event.topic) for position in positions)
        awaited = cell.awaited + len(commands)
        if awaited:
            return Directed(cell.phase, awaited, cell.standing, cell.log), commands
        return self._close(cell, event)

    def _close(self, cell: Directed, event: Event) -> tuple[Directed, Events]:
        if cell.phase is WAITING:
            outcome = Outcome(State.COMPLETED, completed_steps=len(self.plan.steps))
            phase, topic = SUCCEEDED, self.outcomes.completed
        else:
            outcome = backward_outcome(cell.log)
            is_stuck = outcome.stuck_step is not None
            phase, topic = (STUCK, self.outcomes.stuck) if is_stuck else (COMPENSATED, self.outcomes.compensated)
        return Directed(phase), (Event(topic, event.run, event.topic, outcome),)

"""The orchestrator: walks the plan with commands and replies. The only participant that commands others.

Laws: it learns about a step only from the step's replies. Forward, it sends execute to a step once all predecessors
have succeeded. After a failure, it waits for the steps that still run, then sends compensate to a step once none of its
successors is in force. The run has its outcome when no reply is awaited and no command is left to send. A duplicate
reply changes no state.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.event import Command, Event, Events
from choreo.protocol.participant import step_topic
from choreo.protocol.positions import Positions
from choreo.protocol.reaction import CANCELLED, COMPENSATED, FAILED, NOTHING, STUCK, SUCCEEDED, WAITING, Phase, moves
from choreo.protocol.report import Log, OutcomeTopics, backward_outcome, ends_of
from choreo.saga.data import Data, joined, results_text
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Plan
from choreo.saga.roles import ORCHESTRATOR

NONE = Positions()
COMPENSATE = Command.COMPENSATE  # a member lookup on an enum is slow in Python 3.11


class OrchestratorState(Struct, frozen=True, gc=False):
    """Cell of the orchestrator.

    Phases: waiting (forward), failed (waits for the steps that still run), cancelled (backward), then closed. `awaited`
    counts the replies that are due. `standing` has the steps that are in force, `failed` those that failed or could not
    be compensated. `log` lists failures and compensations. `data` lists `(position, data, older)` of the successes.
    """

    phase: Phase = WAITING
    awaited: int = 0
    standing: Positions = NONE
    failed: Positions = NONE
    log: Log = None
    data: Any = None


class Orchestrator:
    """Directs the runs of one plan.

    Without `awaits_running`, it turns back while steps still run, and ignores their replies.
    """

    NAME = ORCHESTRATOR

    def __init__(self, plan: Plan, awaits_running: bool = True) -> None:
        self.plan = plan
        self._awaits_running = awaits_running
        self.outcomes = OutcomeTopics(self.NAME)
        self.commands = {
            command: [step_topic(plan, position, command, self.NAME) for position in range(len(plan.steps))]
            for command in Command
        }
        self.started = moves({WAITING: self._start})
        self.succeeded = moves({WAITING: self._advance, FAILED: self._note_success})
        self.failed = moves({WAITING: self._note_failure, FAILED: self._note_failure})
        self.compensated = moves({WAITING: self._note_failure, FAILED: self._note_failure, CANCELLED: self._retreat})
        """The reaction to `compensated`. A late success, already compensated, sends it in reply to execute."""
        late = self._note_late_stuck
        self.compensation_failed = moves({WAITING: late, FAILED: late, CANCELLED: self._note_stuck})

    def _start(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        if cell.awaited:
            return cell, NOTHING
        return self._command(cell, event, Command.EXECUTE, self.plan.first)

    def _advance(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        position = event.topic.position
        if position in cell.standing:
            return cell, NOTHING
        standing = cell.standing.add(position)
        ready = [s for s in self.plan.successors[position] if standing.covers(self.plan.predecessors[s])]
        data = cell.data if event.data is None else (position, event.data, cell.data)
        cell = replace(cell, awaited=cell.awaited - 1, standing=standing, data=data)
        return self._command(cell, event, Command.EXECUTE, ready)

    def _note_success(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        position = event.topic.position
        if position in cell.standing:
            return cell, NOTHING
        cell = replace(cell, awaited=cell.awaited - 1, standing=cell.standing.add(position))
        return self._turn(cell, cell.log[0])  # the failure, not this success, causes the compensations

    def _note_failure(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        if event.topic.position in cell.failed:
            return cell, NOTHING
        cell = replace(self._note(cell, event), phase=FAILED)
        return self._turn(cell if self._awaits_running else replace(cell, awaited=0), event)

    def _turn(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        """Start to compensate, once no step runs any more."""
        if cell.awaited:
            return cell, NOTHING
        return self._compensate(replace(cell, phase=CANCELLED), event, cell.standing.descending())

    def _retreat(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        position = event.topic.position
        if position not in cell.standing:
            return cell, NOTHING
        standing = cell.standing.remove(position)
        cell = replace(cell, awaited=cell.awaited - 1, standing=standing, log=(event, cell.log))
        return self._compensate(cell, event, self.plan.predecessors[position][::-1])

    def _note_late_stuck(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        """Note a step that is too late or in doubt and cannot be undone: it and its predecessors stay in force."""
        return self._note_failure(replace(cell, standing=cell.standing.add(event.topic.position)), event)

    def _note_stuck(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        if event.topic.position in cell.failed:
            return cell, NOTHING
        return self._compensate(self._note(cell, event), event, ())

    def _note(self, cell: OrchestratorState, event: Event) -> OrchestratorState:
        failed = cell.failed.add(event.topic.position)
        return replace(cell, awaited=cell.awaited - 1, failed=failed, log=(event, cell.log))

    def _compensate(
        self, cell: OrchestratorState, event: Event, positions: Iterable[int]
    ) -> tuple[OrchestratorState, Events]:
        """Compensate those positions that are in force and have no successor in force."""
        standing, failed, successors = cell.standing, cell.failed, self.plan.successors
        standing_ones = [p for p in positions if p in standing and p not in failed]
        free = [p for p in standing_ones if not any(s in standing for s in successors[p])]
        return self._command(cell, event, Command.COMPENSATE, free)

    def _command(
        self, cell: OrchestratorState, event: Event, command: Command, positions: Iterable[int]
    ) -> tuple[OrchestratorState, Events]:
        """Send the commands; end the run if there are none and no reply is awaited."""
        topics, run, cause = self.commands[command], event.run, event.topic
        if cell.data is None or command is COMPENSATE:
            commands = tuple([Event(topics[position], run, cause) for position in positions])
        else:
            commands = tuple(
                [Event(topics[p], run, cause, None, 0, 0, self._data_of(cell, self._before(p))) for p in positions]
            )
        awaited = cell.awaited + len(commands)
        return (replace(cell, awaited=awaited), commands) if awaited else self._close(cell, event)

    def _before(self, position: int) -> tuple[int, ...]:
        return self.plan.predecessors[position]

    def _data_of(self, cell: OrchestratorState, positions: tuple[int, ...]) -> Data:
        """Return the results that these steps sent, joined."""
        wanted, data, entry = set(positions), None, cell.data
        while entry is not None and wanted:
            position, sent, entry = entry
            if position in wanted:
                wanted.remove(position)
                data = joined(data, sent)
        return data

    def _close(self, cell: OrchestratorState, event: Event) -> tuple[OrchestratorState, Events]:
        if cell.phase is WAITING:
            result = results_text(self._data_of(cell, self.plan.last)) if event.run.has_result else None
            outcome = Outcome(State.COMPLETED, completed_steps=len(self.plan.steps), result=result)
            phase, topic = SUCCEEDED, self.outcomes.completed
        else:
            outcome = backward_outcome(self.plan, ends_of(cell.log))
            is_stuck = outcome.stuck_step is not None
            phase, topic = (STUCK, self.outcomes.stuck) if is_stuck else (COMPENSATED, self.outcomes.compensated)
        return OrchestratorState(phase), (Event(topic, event.run, event.topic, outcome),)

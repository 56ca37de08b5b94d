"""A participant: a service bound to one step of a saga, reacting to its neighbours.

Laws: it knows no bus, no clock and no style; a style maps topics to signals. It calls the service only in `_execute`
and `_compensate`. `Refused` is a definite no. Any other exception is an unknown answer: the step is compensated,
without a receipt, before it publishes `failed`. The rules are those of the neighbour protocol
(docs/explanation/protocol.md), one row each in `TRANSITIONS`. An event without a row changes no state, which makes the
participant an idempotent receiver.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from msgspec.structs import replace

from choreo.protocol.event import Command, Event, Events, Fact, InDoubt, Run, Timer, Topic
from choreo.protocol.reaction import (
    CANCELLED,
    COMPENSATED,
    FAILED,
    IN_DOUBT,
    NOTHING,
    RESUMED,
    STUCK,
    SUCCEEDED,
    WAITING,
    Cell,
    Moves,
    Phase,
    moves,
)
from choreo.saga.calls.call import Call
from choreo.saga.calls.calling import ran, takes_call
from choreo.saga.data import AS_IT_IS, TEXT_MAX, WRAPPED, Data, extended, kept, restored
from choreo.saga.keys import compensation_key
from choreo.saga.plan import Plan
from choreo.saga.raised import Defect, defect, reason
from choreo.saga.service import ControlFlow, NotSnapshotable, Refused, Service, told_to_refuse

COMPENSATION_ATTEMPTS = 3

CELL_FAILED, CELL_CANCELLED, CELL_COMPENSATED = Cell(FAILED), Cell(CANCELLED), Cell(COMPENSATED)


class Signal(Enum):
    """Signals: the meaning of an event for the participant that receives it."""

    GO = "every predecessor has succeeded, or the orchestrator says execute"
    STOP = "the saga goes backward, and this step has not begun"
    BACK = "every successor has ended backward, or the orchestrator says compensate"


def step_topic(plan: Plan, position: int, fact: Fact | Command | Timer, source: str | None = None) -> Topic:
    """Return the topic `step/<name>/<fact>`; the second step of a name has `/2` at the end, so topics are unique."""
    step, occurrence = plan.steps[position], plan.occurrences[position]
    name = f"step/{step}/{fact}/{occurrence + 1}" if occurrence else f"step/{step}/{fact}"
    return Topic(name, fact, step if source is None else source, step, position)


class Participant:
    """Service bound to the step at `position`. With `is_quiet`, no participant needs to learn that it was cancelled."""

    def __init__(self, plan: Plan, position: int, service: Service, is_quiet: bool = False) -> None:
        self.position = position
        self.step = plan.steps[position]
        self.succeeded = step_topic(plan, position, Fact.SUCCEEDED)
        self.failed = step_topic(plan, position, Fact.FAILED)
        self.cancelled = None if is_quiet else step_topic(plan, position, Fact.CANCELLED)
        self.compensated = step_topic(plan, position, Fact.COMPENSATED)
        self.compensation_failed = step_topic(plan, position, Fact.COMPENSATION_FAILED)
        self._execute: Callable[..., Any] = service.execute
        self._compensate: Callable[..., Any] = service.compensate
        self.takes_call = takes_call(service)
        self.passes_data = True
        """False if no service of the saga takes a call, and so none sees the results of others."""
        self._place = str(position)
        self._plan = plan

    def moves(self, signal: Signal) -> Moves:
        return moves({phase: rule.__get__(self) for phase, rule in TRANSITIONS[signal].items()})

    def timer_moves(self) -> Iterable[tuple[Topic, Moves]]:
        """Return the timers that the participant may set, and its reactions to them; this one sets none."""
        return ()

    def forward(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        run = event.run
        if run.fail_position is not None and run.fail_position == self.position:  # comparison with None is slow
            return self._fail(event, told_to_refuse(self.step))
        before = cell.data or event.data  # at a join, the cell has those of all predecessors
        try:
            if self.takes_call:
                result = self._execute(self._call(run, before))
            else:
                result = self._execute(run.key_prefix + self._place)
            kind = result.__class__
            if kind not in AS_IT_IS and (kind is not str or len(result) > TEXT_MAX):  # a call would cost time
                result = kept(result, self.step)
        except Refused as refusal:
            return self._fail(event, reason(refusal))
        except NotSnapshotable as error:  # the call has taken effect, and its answer cannot be kept
            unknown = defect(error)
        except ControlFlow:
            raise
        except BaseException as error:
            unknown = defect(error)
        else:
            if before is None and (result is None or not (self.passes_data or run.has_result)):
                return Cell(SUCCEEDED, cell.heard, result), (Event(self.succeeded, run, event.topic),)
            return Cell(SUCCEEDED, cell.heard, result, 0, before), (self._succeed(event, before, result),)
        return self.undo_in_doubt(Cell(IN_DOUBT, cell.heard, unknown, 0, before), event)

    def _call(self, run: Run, data: Data) -> Call:
        """Return the call of the local transaction."""
        key = run.key_prefix + self._place
        return Call(key, run.saga_id, run.id, self.step, run.input, data, None, self._plan, self.position)

    def _succeed(self, event: Event, before: Data, result: Any) -> Event:
        """Return the event of a success, with the results up to here."""
        data = extended(before, self.position, self.step, result)
        return Event(self.succeeded, event.run, event.topic, None, 0, event.number, data)

    def _fail(self, event: Event, why: str | Defect) -> tuple[Cell, Events]:
        return CELL_FAILED, (Event(self.failed, event.run, event.topic, why),)

    def cancel(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        if self.cancelled is None:
            return CELL_CANCELLED, NOTHING
        return CELL_CANCELLED, (Event(self.cancelled, event.run, event.topic),)

    def backward(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        why = self._try_to_compensate(event.run, cell.receipt, cell.data)
        if why is not None and (why := self._keep_compensating(event.run, cell.receipt, cell.data, 1)) is not None:
            return Cell(STUCK, 0, cell.receipt), (Event(self.compensation_failed, event.run, event.topic, why),)
        return CELL_COMPENSATED, (Event(self.compensated, event.run, event.topic),)

    def undo_in_doubt(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Compensate a local transaction that may have taken effect. The step has failed once that has worked."""
        why = self._keep_compensating(event.run, None, cell.data or event.data)
        if why is not None:
            return Cell(STUCK), (self._stuck_in_doubt(cell, event, why),)
        return self._fail(event, undone(cell.receipt))

    def _stuck_in_doubt(self, cell: Cell, event: Event, why: str | Defect) -> Event:
        raised: Defect = cell.receipt
        undo, traceback = (why.summary, why.traceback) if isinstance(why, Defect) else (why, "")
        detail = InDoubt(raised.summary, raised.traceback + traceback, undo)
        return Event(self.compensation_failed, event.run, event.topic, detail, 0, event.number)

    def _keep_compensating(self, run: Run, receipt: object, data: Data, attempts: int = 0) -> str | Defect | None:
        """Compensate until it works or no attempt is left; return the error, or None. `attempts` were made before."""
        why = self._try_to_compensate(run, receipt, data)
        while why is not None and attempts < COMPENSATION_ATTEMPTS - 1:
            attempts += 1
            why = self._try_to_compensate(run, receipt, data)
        return why

    def _try_to_compensate(self, run: Run, receipt: object, data: Data) -> str | Defect | None:
        """Compensate once; return the error, or None."""
        if run.fail_compensation == self.step:
            return f"the compensation of {self.step} was told to fail"
        try:
            key = compensation_key(run.key_prefix + self._place)
            if self.takes_call:
                call = Call(key, run.saga_id, run.id, self.step, run.input, data, receipt, self._plan, self.position)
                result = self._compensate(call)
            else:
                result = self._compensate(key, restored(receipt) if receipt.__class__ in WRAPPED else receipt)
            if result is not None:
                ran(result)
        except Refused as refusal:
            return reason(refusal)
        except ControlFlow:
            raise
        except BaseException as error:
            return defect(error)
        return None


TRANSITIONS: Mapping[Signal, Mapping[Phase, Callable[..., tuple[Cell, Events]]]] = {
    Signal.GO: {WAITING: Participant.forward, RESUMED: Participant.undo_in_doubt},
    Signal.STOP: {WAITING: Participant.cancel},
    Signal.BACK: {WAITING: Participant.cancel, SUCCEEDED: Participant.backward},
}


def undone(raised: Defect) -> Defect:
    return replace(raised, is_undone=True)

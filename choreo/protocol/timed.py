"""Timed participant: its local transaction may take time, time out, be retried, or be a pivot.

Laws: as pure as any participant. Time arrives as events that the participant sends to itself (`Timer`). The reactions
by phase are one table (`transitions`); a guarantee that is switched off replaces rows of it.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.event import Event, Events, LateCompletion, Run, Timer, Topic
from choreo.protocol.participant import COMPENSATION_ATTEMPTS, Participant, Signal, step_topic, undone
from choreo.protocol.reaction import (
    ABORTED,
    CANCELLED,
    COMPENSATED,
    FAILED,
    IN_DOUBT,
    NOTHING,
    RUNNING,
    STUCK,
    SUCCEEDED,
    TIMED_OUT,
    UNDOING,
    UNDOING_LATE,
    WAITING,
    Cell,
    Moves,
    Phase,
    moves,
)
from choreo.saga.data import Data, kept
from choreo.saga.definition import Kind, Step
from choreo.saga.guarantees import Guarantees
from choreo.saga.plan import Plan
from choreo.saga.raised import Defect, defect, reason
from choreo.saga.service import ControlFlow, NotSnapshotable, Refused, Service, told_to_refuse

BACKOFF_MS = 10
"""Delay before the first retry, in milliseconds; it doubles with each further retry."""
BACKOFFS_MAX = 6

Rule = Callable[..., tuple[Cell, Events]]
Transitions = Mapping[Signal | Timer, Mapping[Phase, Rule]]


class StepPolicy(Struct, frozen=True):
    """Execution policy of a step's local transaction and its compensation.

    `attempts`: the maximum for a retriable local transaction, and for a compensation. `latency_ms`: minimum and maximum
    duration of the local transaction, in milliseconds; None: it is done within the delivery that triggers it.
    `is_stubborn`: its compensation may fail, and is retried after a delay rather than at once.
    """

    kind: Kind = Kind.COMPENSATABLE
    attempts: int = COMPENSATION_ATTEMPTS
    timeout_ms: int | None = None
    latency_ms: tuple[int, int] | None = None
    is_stubborn: bool = False

    @classmethod
    def of(cls, step: Step) -> "StepPolicy":
        latency: int | tuple[int, int] | None = step.latency_ms
        if isinstance(latency, int):
            latency = (latency, latency)
        if latency is None and step.timeout_ms is not None:
            latency = (1, 2 * step.timeout_ms)
        return cls(step.kind, step.attempts, step.timeout_ms, latency, step.compensation_fails != "never")


PLAIN = StepPolicy()
"""The default policy: execute at once, and compensate at once."""


class TimedParticipant(Participant):
    """Participant of the step at `position`, under a policy and the guarantees."""

    def __init__(
        self, plan: Plan, position: int, service: Service, is_quiet: bool, policy: StepPolicy, guarantees: Guarantees
    ) -> None:
        super().__init__(plan, position, service, is_quiet)
        self.policy = policy
        self._table = transitions(guarantees, policy.kind)
        self._hides = not guarantees.honest_compensation
        self._has_way_back = policy.kind is Kind.COMPENSATABLE or not guarantees.point_of_no_return
        self._attempts = policy.attempts if policy.kind is Kind.RETRIABLE else 1
        latency = policy.latency_ms or (0, 0)
        time_out = (policy.timeout_ms or 0,) * 2
        self._attempt_topics = [
            _timer(plan, position, Timer.ATTEMPT, _backoff(n, latency)) for n in range(BACKOFFS_MAX)
        ]
        self._retry_topics = [_timer(plan, position, Timer.RETRY, _backoff(n, (0, 0))) for n in range(BACKOFFS_MAX)]
        self._time_out = _timer(plan, position, Timer.TIMED_OUT, time_out)

    def moves(self, signal: Signal | Timer) -> Moves:
        return moves({phase: rule.__get__(self) for phase, rule in self._table[signal].items()})

    def timer_moves(self) -> Iterator[tuple[Topic, Moves]]:
        """Return the timers that the participant may set, and its reactions to them."""
        if self.policy.latency_ms is not None or self._attempts > 1:
            yield self._attempt_topics[0], self.moves(Timer.ATTEMPT)
        yield self._retry_topics[0], self.moves(Timer.RETRY)
        if self.policy.timeout_ms is not None:
            yield self._time_out, self.moves(Timer.TIMED_OUT)

    # Forward

    def begin(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        if self.policy.latency_ms is None:
            return self.attempt(replace(cell, attempt=0), event)
        timers = [Event(self._attempt_topics[0], event.run, event.topic, None, 0, event.number)]
        if self.policy.timeout_ms is not None:
            timers.append(Event(self._time_out, event.run, event.topic, None, 0, event.number))
        return Cell(RUNNING, cell.heard, data=cell.data or event.data), tuple(timers)

    def attempt(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        before = cell.data or event.data
        receipt, why = self._try(event.run, before)
        if why is None:
            return Cell(SUCCEEDED, cell.heard, receipt, 0, before), (self._succeed(event, before, receipt),)
        tries = cell.attempt + 1
        if tries < self._attempts:
            return Cell(RUNNING, cell.heard, None, tries, before), (_again(self._attempt_topics, tries, event),)
        if isinstance(why, Defect):
            return self.undo_in_doubt(Cell(IN_DOUBT, cell.heard, why, 0, before), event)
        return Cell(FAILED, cell.heard), (self._because(self.failed, event, why),)

    def expire(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Note the time-out. The transaction may still commit, so the step has not ended."""
        return replace(cell, phase=TIMED_OUT), NOTHING

    def expire_for_good(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Without `late_success`: publish `failed` at the time-out, although the transaction may still commit."""
        return replace(cell, phase=TIMED_OUT), (self._because(self.failed, event, self._timed_out),)

    def abort(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Note that the saga has turned back while the transaction runs."""
        return replace(cell, phase=ABORTED), NOTHING

    def undo_late(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Finish a transaction that timed out or was aborted, and compensate it if it committed."""
        receipt, why = self._try(event.run, cell.data)
        is_late = cell.phase is TIMED_OUT
        if why is None:
            back = self._table[Timer.RETRY][UNDOING_LATE] if is_late else self._table[Signal.BACK][SUCCEEDED]
            return back(self, Cell(SUCCEEDED, cell.heard, receipt, 0, cell.data), event)
        if isinstance(why, Defect):
            return self.undo_in_doubt(Cell(IN_DOUBT, cell.heard, why, 0, cell.data), event)
        if is_late:
            return Cell(FAILED, cell.heard), (self._because(self.failed, event, self._timed_out),)
        return Cell(FAILED, cell.heard), self.cancel(cell, event)[1]

    def commit_late(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Without `late_success`: commit after the time-out, and publish no event."""
        self._try(event.run, cell.data)
        return Cell(FAILED, cell.heard), NOTHING

    def cancel(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        cancelled = self.cancelled
        return Cell(CANCELLED, cell.heard), NOTHING if cancelled is None else (self._because(cancelled, event),)

    def decline(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Without `tombstone`: answer that there is no effect to undo, and forget the answer."""
        _, events = self.cancel(cell, event)
        return cell, events

    # Backward

    def backward(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        return self._undo(cell, event, UNDOING)

    def backward_late(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Compensate a late success. No step has followed it, and the events tell the subscribers so."""
        cell, events = self._undo(cell, event, UNDOING_LATE)
        if cell.phase is UNDOING_LATE:
            return cell, events
        return cell, tuple(replace(each, detail=LateCompletion(each.reason or self._timed_out)) for each in events)

    def backward_hiding(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Without `honest_compensation`: publish `compensated` even if the compensation failed."""
        self._try_to_compensate(event.run, cell.receipt, cell.data)
        return Cell(COMPENSATED, cell.heard, cell.receipt, 0, cell.data), (self._because(self.compensated, event),)

    def backward_late_hiding(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Without `honest_compensation`: the same for a late success."""
        cell, (event,) = self.backward_hiding(cell, event)
        return cell, (replace(event, detail=LateCompletion(self._timed_out)),)

    def undo_in_doubt(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Compensate a transaction that may have taken effect, or retry later. The step fails once that has worked."""
        if not self._has_way_back:
            return Cell(STUCK, cell.heard), (self._stuck_in_doubt(cell, event, self._no_way_back),)
        why_not = self._try_to_compensate(event.run, None, cell.data or event.data)
        if why_not is None or self._hides:
            return Cell(FAILED, cell.heard), (self._because(self.failed, event, undone(cell.receipt)),)
        tries = cell.attempt + 1
        if tries < self.policy.attempts:
            return replace(cell, attempt=tries), (_again(self._retry_topics, tries, event),)
        return Cell(STUCK, cell.heard), (self._stuck_in_doubt(cell, event, why_not),)

    def refuse_to_undo(self, cell: Cell, event: Event) -> tuple[Cell, Events]:
        """Refuse to compensate the pivot or a step after it: the step is stuck."""
        return Cell(STUCK, cell.heard, cell.receipt), (
            self._because(self.compensation_failed, event, self._no_way_back),
        )

    def _undo(self, cell: Cell, event: Event, phase: Phase) -> tuple[Cell, Events]:
        """Compensate; on failure retry later in `phase`, or be stuck after the last attempt."""
        why_not = self._try_to_compensate(event.run, cell.receipt, cell.data)
        if why_not is None:
            return Cell(COMPENSATED, cell.heard, cell.receipt, 0, cell.data), (self._because(self.compensated, event),)
        tries = cell.attempt + 1
        if tries < self.policy.attempts:
            return Cell(phase, cell.heard, cell.receipt, tries, cell.data), (_again(self._retry_topics, tries, event),)
        return Cell(STUCK, cell.heard, cell.receipt), (self._because(self.compensation_failed, event, why_not),)

    # Helpers

    @property
    def _timed_out(self) -> str:
        return f"no answer within {self.policy.timeout_ms} ms"

    @property
    def _no_way_back(self) -> str:
        return f"{self.step} is {self.policy.kind} and cannot be undone"

    def _try(self, run: Run, data: Data) -> tuple[object, str | Defect | None]:
        """Execute once; return the receipt, and the error or None."""
        if run.fail_position == self.position:
            return None, told_to_refuse(self.step)
        try:
            result = self._execute(self._call(run, data) if self.takes_call else run.key_prefix + self._place)
            return kept(result, self.step), None
        except Refused as refusal:
            return None, reason(refusal)
        except NotSnapshotable as error:  # the call has taken effect, and its answer cannot be kept
            return None, defect(error)
        except ControlFlow:
            raise
        except BaseException as error:
            return None, defect(error)

    def _because(self, topic: Topic, event: Event, why: str | Defect | None = None) -> Event:
        return Event(topic, event.run, event.topic, why, 0, event.number)


def transitions(guarantees: Guarantees, kind: Kind) -> Transitions:
    """Return the transitions of the neighbour protocol with time.

    Each guarantee has its rows. Without the guarantee, other rows show the resulting anomaly.
    """
    it = TimedParticipant
    back: Rule = it.backward if guarantees.honest_compensation else it.backward_hiding
    back_late: Rule = it.backward_late if guarantees.honest_compensation else it.backward_late_hiding
    if kind is not Kind.COMPENSATABLE and guarantees.point_of_no_return:
        back = it.refuse_to_undo
    table: dict[Signal | Timer, dict[Phase, Rule]] = {
        Signal.GO: {WAITING: it.begin},
        Signal.STOP: {WAITING: it.cancel},
        Signal.BACK: {WAITING: it.cancel, SUCCEEDED: back, RUNNING: it.abort},
        Timer.ATTEMPT: {RUNNING: it.attempt, TIMED_OUT: it.undo_late, ABORTED: it.undo_late},
        Timer.TIMED_OUT: {RUNNING: it.expire},
        Timer.RETRY: {UNDOING: back, UNDOING_LATE: back_late, IN_DOUBT: it.undo_in_doubt},
    }
    if not guarantees.inbox:  # without an inbox, a duplicate delivery executes or compensates again, in any later phase
        table[Signal.GO] |= dict.fromkeys(BEGUN, it.begin)
        table[Timer.ATTEMPT] |= dict.fromkeys(ATTEMPTED, it.attempt)
        table[Signal.BACK] |= dict.fromkeys(WENT_BACK, back)
        table[Timer.RETRY] |= dict.fromkeys((COMPENSATED, STUCK), back)
    if not guarantees.tombstone:
        table[Signal.STOP] |= {WAITING: it.decline}
        table[Signal.BACK] |= {WAITING: it.decline}
    if not guarantees.undo_running:
        del table[Signal.BACK][RUNNING]
    if not guarantees.late_success:
        table[Timer.ATTEMPT] |= {TIMED_OUT: it.commit_late}
        table[Timer.TIMED_OUT] |= {RUNNING: it.expire_for_good, ABORTED: it.expire_for_good}
    return table


ATTEMPTED = (SUCCEEDED, FAILED, COMPENSATED, STUCK, UNDOING, UNDOING_LATE, IN_DOUBT)
"""Phases after the local transaction was attempted."""
BEGUN = (*ATTEMPTED, RUNNING, TIMED_OUT, ABORTED)
"""Phases after the local transaction has begun."""
WENT_BACK = (COMPENSATED, STUCK, UNDOING)
"""Phases after the compensation was attempted."""


def _timer(plan: Plan, position: int, timer: Timer, after_ms: tuple[int, int]) -> Topic:
    return replace(step_topic(plan, position, timer), after_ms=after_ms)


def _backoff(attempt: int, latency: tuple[int, int]) -> tuple[int, int]:
    wait = BACKOFF_MS * 2 ** (attempt - 1) if attempt else 0
    return latency[0] + wait, latency[1] + wait


def _again(topics: list[Topic], attempt: int, event: Event) -> Event:
    return Event(topics[min(attempt, BACKOFFS_MAX - 1)], event.run, event.topic, None, attempt, event.number)

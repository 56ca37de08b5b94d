"""A participant: one table of transitions, and what each of them does."""

import pytest

from choreo.protocol.event import Event, Fact, InDoubt, Run, Topic
from choreo.protocol.participant import COMPENSATION_ATTEMPTS, Participant, Signal, step_topic
from choreo.protocol.reaction import Cell, Phase, Subscription
from choreo.saga.plan import plan
from choreo.saga.raised import Defect
from choreo.saga.service import Refused
from tests.stories import Ledger

PLAN = plan(("a", "b", "c"))
POSITION = 1
RUN = Run("run-7", "saga-1", "test.7.")
HEARD = Topic("step/a/succeeded", Fact.SUCCEEDED, "a", "a", 0)
RECEIPT = "receipt of test.7.1"


class Failing:
    """Service whose two methods raise the given exceptions; counts its calls."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def execute(self, reference: str) -> object:
        self.calls += 1
        raise self.error

    def compensate(self, reference: str, receipt: object) -> None:
        self.calls += 1
        raise self.error


class FailingForward(Failing):
    """Its local transaction alone fails."""

    def compensate(self, reference: str, receipt: object) -> None:
        self.calls += 1


class FailingAtFirst(Failing):
    """Its compensation works from the given attempt on."""

    def __init__(self, works_at: int) -> None:
        super().__init__(Refused("not yet"))
        self.works_at = works_at

    def compensate(self, reference: str, receipt: object) -> None:
        if self.calls + 1 < self.works_at:
            super().compensate(reference, receipt)
        self.calls += 1


def react(
    participant: Participant, signal: Signal, cell: Cell | None = None, run: Run = RUN
) -> tuple[Cell, tuple[Event, ...]]:
    row = Subscription(HEARD, 0, participant.step, participant.moves(signal))
    next_cell, events = row.react(Cell() if cell is None else cell, Event(HEARD, run))
    return next_cell, events


def participant_of(service: object, quiet: bool = False) -> Participant:
    return Participant(PLAN, POSITION, service, quiet)


MOVES = {
    (Signal.GO, Phase.WAITING): (Phase.SUCCEEDED, "step/b/succeeded", ["execute"]),
    (Signal.STOP, Phase.WAITING): (Phase.CANCELLED, "step/b/cancelled", []),
    (Signal.BACK, Phase.WAITING): (Phase.CANCELLED, "step/b/cancelled", []),
    (Signal.BACK, Phase.SUCCEEDED): (Phase.COMPENSATED, "step/b/compensated", ["compensate"]),
}
IN_DOUBT = (Signal.GO, Phase.RESUMED)
STILL = [(s, phase) for s in Signal for phase in Phase if (s, phase) not in MOVES and (s, phase) != IN_DOUBT]


@pytest.mark.parametrize(("signal", "phase"), MOVES)
def test_a_signal_moves_the_participant_on(signal: Signal, phase: Phase) -> None:
    """Each row of the transition table: the next phase, the one event, and the call of the service."""
    ledger = Ledger()
    participant = participant_of(ledger.service_of("b"))

    cell, events = react(participant, signal, Cell(phase, 5, RECEIPT if phase is Phase.SUCCEEDED else None))

    assert (cell.phase, events[0].topic.name, [verb for _, _, verb in ledger.effects]) == MOVES[signal, phase]
    assert [event.cause for event in events] == [HEARD]


@pytest.mark.parametrize(("signal", "phase"), STILL)
def test_any_other_signal_changes_nothing(signal: Signal, phase: Phase) -> None:
    """Idempotent receiver: a signal without a row affects neither the cell, nor the service, nor the bus."""
    ledger = Ledger()
    cell = Cell(phase, 5, RECEIPT)

    after, events = react(participant_of(ledger.service_of("b")), signal, cell)

    assert after is cell
    assert events == ()
    assert ledger.calls == []


@pytest.mark.parametrize(("signal", "phase"), MOVES)
def test_a_signal_heard_again_changes_nothing(signal: Signal, phase: Phase) -> None:
    """A duplicate of a delivery has no second effect."""
    ledger = Ledger()
    participant = participant_of(ledger.service_of("b"))
    once, _ = react(participant, signal, Cell(phase, 0, RECEIPT if phase is Phase.SUCCEEDED else None))
    calls = list(ledger.calls)

    twice, events = react(participant, signal, once)

    assert twice == once
    assert events == ()
    assert ledger.calls == calls


@pytest.mark.parametrize("undo", [Signal.STOP, Signal.BACK])
def test_an_undo_that_comes_first_forbids_the_do_that_comes_late(undo: Signal) -> None:
    """A tombstone: a step that was told to stop before it began never begins."""
    ledger = Ledger()
    participant = participant_of(ledger.service_of("b"))
    stopped, _ = react(participant, undo)

    late, events = react(participant, Signal.GO, stopped)

    assert late.phase is Phase.CANCELLED
    assert events == ()
    assert ledger.calls == []


@pytest.mark.parametrize("undo", [Signal.STOP, Signal.BACK])
def test_a_quiet_participant_is_cancelled_without_a_word(undo: Signal) -> None:
    """No event is published where no participant needs it."""
    participant = participant_of(Ledger().service_of("b"), quiet=True)

    cell, events = react(participant, undo)

    assert cell.phase is Phase.CANCELLED
    assert events == ()


def test_the_receipt_of_the_local_transaction_reaches_its_compensation() -> None:
    """The value that `execute` returned is stored in the cell and handed back, under the same reference."""
    ledger = Ledger()  # its compensation raises unless the receipt fits the reference
    participant = participant_of(ledger.service_of("b"))

    succeeded, _ = react(participant, Signal.GO)
    compensated, _ = react(participant, Signal.BACK, succeeded)

    assert succeeded.receipt == RECEIPT
    assert compensated.phase is Phase.COMPENSATED
    assert ledger.effects == [("b", 1, "execute"), ("b", 1, "compensate")]


def test_success_keeps_what_was_heard() -> None:
    """The neighbours that were heard from before the local transaction ran are not forgotten by it."""
    succeeded, _ = react(participant_of(Ledger().service_of("b")), Signal.GO, Cell(Phase.WAITING, 0b1011))

    assert succeeded.heard == 0b1011


@pytest.mark.parametrize("reason", ["sold out", "", "\ud800"])
def test_a_refusal_is_a_failure_with_its_reason(reason: str) -> None:
    """A business no becomes an event that says why, word for word."""
    cell, events = react(participant_of(Failing(Refused(reason))), Signal.GO)

    assert cell.phase is Phase.FAILED
    assert [(event.topic.name, event.detail, event.reason) for event in events] == [("step/b/failed", reason, reason)]


@pytest.mark.parametrize("error", [ValueError("wrong"), RecursionError("deep"), ExceptionGroup("two", [KeyError("k")])])
def test_an_exception_is_a_failure_with_its_traceback_once_it_is_undone(error: Exception) -> None:
    """Any exception other than `Refused` is reported with one line and the whole traceback."""
    cell, (event,) = react(participant_of(FailingForward(error)), Signal.GO)

    assert cell.phase is Phase.FAILED
    assert event.topic.name == "step/b/failed"
    assert isinstance(event.detail, Defect)
    assert event.reason == event.detail.summary == f"{type(error).__name__}: {error}"
    assert "Traceback (most recent call last)" in event.detail.traceback
    assert "in execute" in event.detail.traceback
    assert event.detail.is_undone


def test_a_step_in_doubt_is_undone_without_a_receipt_before_it_fails() -> None:
    """Its receipt is unknown, and so is its effect."""
    ledger = Ledger(broken=[1])

    cell, (event,) = react(participant_of(ledger.service_of("b")), Signal.GO)

    assert (cell.phase, event.topic.fact) == (Phase.FAILED, Fact.FAILED)
    assert [verb for _, _, verb in ledger.calls] == ["execute", "compensate"]
    assert ledger.standing == []


def test_a_step_in_doubt_that_cannot_be_undone_is_stuck() -> None:
    """After three attempts; the event has both exceptions, and claims of neither call that it had no effect."""
    ledger = Ledger(broken=[1], stubborn=[1])

    cell, (event,) = react(participant_of(ledger.service_of("b")), Signal.GO)

    assert (cell.phase, event.topic.fact) == (Phase.STUCK, Fact.COMPENSATION_FAILED)
    assert isinstance(event.detail, InDoubt)
    assert "ZeroDivisionError" in event.detail.traceback
    assert [verb for _, _, verb in ledger.calls] == ["execute"] + ["compensate"] * 3


def test_a_step_in_doubt_that_is_resumed_is_undone_and_not_executed_again() -> None:
    """The step is late: its successors were cancelled long ago."""
    ledger = Ledger(broken=[1])
    resumed = Cell(Phase.RESUMED, 1, Defect("TimeoutError: no answer", ""))

    cell, (event,) = react(participant_of(ledger.service_of("b")), Signal.GO, resumed)

    assert (cell.phase, event.topic.fact, event.reason) == (Phase.FAILED, Fact.FAILED, "TimeoutError: no answer")
    assert [verb for _, _, verb in ledger.calls] == ["compensate"]


def test_an_exception_that_cannot_even_say_what_it_is_is_a_failure_too() -> None:
    """An exception whose text raises is one like any other, and does not break the saga."""

    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    cell, (event,) = react(participant_of(FailingForward(UnspeakableError())), Signal.GO)

    assert cell.phase is Phase.FAILED
    assert isinstance(event.detail, Defect)
    assert "UnspeakableError" in event.detail.summary


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), BaseException("base")])
def test_what_would_end_the_process_is_an_answer_of_the_service(error: BaseException) -> None:
    """On the way forward and on the way back."""
    _, (failed,) = react(participant_of(FailingForward(error)), Signal.GO)
    _, (stuck,) = react(participant_of(Failing(error)), Signal.BACK, Cell(Phase.SUCCEEDED))

    assert failed.topic.name == "step/b/failed"
    assert stuck.topic.name == "step/b/compensation_failed"
    assert type(error).__name__ in str(failed.reason)
    assert type(error).__name__ in str(stuck.reason)


@pytest.mark.parametrize("signal", [Signal.GO, Signal.BACK])
def test_an_interrupt_is_not_swallowed(signal: Signal) -> None:
    """Unless a face tells them apart, a `KeyboardInterrupt` may be a real Ctrl-C, and passes through."""
    participant = participant_of(Failing(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        react(participant, signal, Cell(Phase.SUCCEEDED if signal is Signal.BACK else Phase.WAITING))


def test_a_run_may_ask_for_a_refusal() -> None:
    """The step at the run's `fail_position` refuses, and its service is not asked."""
    ledger = Ledger()

    cell, (event,) = react(
        participant_of(ledger.service_of("b")), Signal.GO, run=Run("run-7", "s", "test.7.", fail_position=1)
    )

    assert cell.phase is Phase.FAILED
    assert event.reason == "b was told to refuse"
    assert ledger.calls == []


def test_a_failed_step_is_never_compensated() -> None:
    """A refused local transaction has no effect to undo."""
    service = Failing(Refused("no"))
    failed, _ = react(participant_of(service), Signal.GO)

    after, events = react(participant_of(service), Signal.BACK, failed)

    assert after == failed
    assert events == ()
    assert service.calls == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refused("no"), "no"),
        (Refused(""), ""),
        (Refused(), ""),
        (ValueError("wrong"), "ValueError: wrong"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_compensation_is_tried_so_often_and_then_reported_as_failed(error: Exception, reason: str) -> None:
    """Every kind of exception counts as a failed attempt, also one without a message."""
    service = Failing(error)

    cell, (event,) = react(participant_of(service), Signal.BACK, Cell(Phase.SUCCEEDED, 5, RECEIPT))

    assert service.calls == COMPENSATION_ATTEMPTS == 3
    assert cell == Cell(Phase.STUCK, 0, RECEIPT), "the receipt is kept, so that an operator may resume"
    assert event.topic.name == "step/b/compensation_failed"
    assert event.reason == reason
    assert isinstance(event.detail, Defect) == isinstance(error, ValueError)


@pytest.mark.parametrize("works_at", range(1, COMPENSATION_ATTEMPTS + 1))
def test_a_compensation_that_works_in_the_end_is_a_compensation(works_at: int) -> None:
    """As soon as an attempt works there is no further one, and the earlier ones leave no trace."""
    service = FailingAtFirst(works_at)

    cell, (event,) = react(participant_of(service), Signal.BACK, Cell(Phase.SUCCEEDED))

    assert service.calls == works_at
    assert cell.phase is Phase.COMPENSATED
    assert (event.topic.name, event.detail) == ("step/b/compensated", None)


def test_a_run_may_ask_for_a_compensation_that_keeps_failing() -> None:
    """The compensation of the run's `fail_compensation` fails, and its service is not asked."""
    ledger = Ledger()
    run = Run("run-7", "saga-1", "test.7.", fail_compensation="b")

    cell, (event,) = react(participant_of(ledger.service_of("b")), Signal.BACK, Cell(Phase.SUCCEEDED), run)

    assert cell.phase is Phase.STUCK
    assert event.topic.name == "step/b/compensation_failed"
    assert event.reason == "the compensation of b was told to fail"
    assert ledger.calls == []


def test_the_mishaps_of_another_step_are_none_of_its_business() -> None:
    """A participant refuses at its own position only, and fails to compensate under its own name only."""
    run = Run("run-7", "saga-1", "test.7.", fail_position=2, fail_compensation="c")
    participant = participant_of(Ledger().service_of("b"))

    succeeded, _ = react(participant, Signal.GO, run=run)
    compensated, _ = react(participant, Signal.BACK, succeeded, run)

    assert (succeeded.phase, compensated.phase) == (Phase.SUCCEEDED, Phase.COMPENSATED)


@pytest.mark.parametrize(
    ("position", "name"), [(0, "step/a/failed"), (1, "step/b/failed"), (2, "step/a/failed/2"), (3, "step/a/failed/3")]
)
def test_a_topic_is_one_positions_alone(position: int, name: str) -> None:
    """The second step of a name, and each further one, is numbered behind the fact."""
    topic = step_topic(plan(("a", ("b", "a"), "a")), position, Fact.FAILED)

    assert (topic.name, topic.position, topic.event) == (name, position, "step.failed")


def test_participants_of_one_service_do_not_share_a_memory() -> None:
    """Everything that a participant remembers of a run is in the cell that it is handed."""
    ledger = Ledger()
    participant = participant_of(ledger.service_of("b"))

    runs = [react(participant, Signal.GO) for _ in range(3)]

    assert runs[0] == runs[1] == runs[2]
    assert len(ledger.executed) == 3

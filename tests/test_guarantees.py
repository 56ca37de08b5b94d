"""Disabling a guarantee has every effect that its sentence names: in every phase, on every path, in both styles."""

import pytest

from choreo.compile import STYLES
from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion
from choreo.protocol.event import Timer
from choreo.protocol.participant import Signal
from choreo.protocol.reaction import Phase
from choreo.protocol.timed import transitions
from choreo.saga.definition import FaultKind, Kind, Saga, Step
from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.service import Service
from services import catalogue
from tests.lab_sagas import saga

DUPLICATE, CRASH = (FaultKind.DUPLICATE,), (FaultKind.CRASH,)


class Unanswering:
    """Takes effect, and its answer is lost."""

    def __init__(self) -> None:
        self.held = 0

    def execute(self, reference: str) -> object:
        self.held += 1
        raise TimeoutError("no answer")

    def compensate(self, reference: str, receipt: object) -> None:
        self.held -= 1


def with_unanswering() -> "dict[str, Service]":
    return {"unanswering": Unanswering()}


def of(name: str, *steps: Step, kinds: tuple[FaultKind, ...] = ()) -> Saga:
    """Build a saga without that guarantee, and without ordered delivery."""
    return saga(*steps, kinds=kinds, guarantees=Guarantees(ordering=False, **{name: False}))


def beside_a_failure(step: Step) -> tuple[Step, ...]:
    """The step runs while the one beside it fails, so the saga turns back meanwhile."""
    return step, Step("b", after=(), fails="always"), Step("c", after=("a", "b"))


A = Step("a")
FAILING = Step("b", fails="always")
IN_DOUBT = Step("a", service="unanswering", may_raise=True, compensation_fails=1)
UNDO_FAILS = "always"

PLANTED = {
    ("inbox", "it succeeded"): (of("inbox", A, kinds=DUPLICATE), "S2"),
    ("inbox", "it failed"): (of("inbox", Step("a", fails=1), kinds=DUPLICATE), "S1"),
    ("inbox", "it was compensated"): (of("inbox", A, FAILING, kinds=DUPLICATE), "S2"),
    ("inbox", "it runs"): (of("inbox", Step("a", latency_ms=5), kinds=DUPLICATE), "S2"),
    ("inbox", "it has run"): (of("inbox", Step("a", latency_ms=5), kinds=CRASH), "S2"),
    ("inbox", "its time was up"): (of("inbox", Step("a", timeout_ms=5), kinds=DUPLICATE), "S2"),
    ("inbox", "it was aborted"): (of("inbox", *beside_a_failure(Step("a", latency_ms=5)), kinds=DUPLICATE), "S2"),
    ("inbox", "it is being undone"): (of("inbox", Step("a", compensation_fails=1), FAILING, kinds=DUPLICATE), "S2"),
    ("inbox", "it is in doubt"): (of("inbox", IN_DOUBT, kinds=DUPLICATE), "S8"),
    ("honest_compensation", "it succeeded"): (
        of("honest_compensation", Step("a", compensation_fails=UNDO_FAILS), FAILING),
        "S1",
    ),
    ("honest_compensation", "it came too late"): (
        of("honest_compensation", Step("a", timeout_ms=5, compensation_fails=UNDO_FAILS)),
        "S1",
    ),
    ("honest_compensation", "it was aborted"): (
        of("honest_compensation", *beside_a_failure(Step("a", latency_ms=5, compensation_fails=UNDO_FAILS))),
        "S1",
    ),
    ("honest_compensation", "it is in doubt"): (
        of("honest_compensation", Step("a", service="unanswering", may_raise=True, compensation_fails=UNDO_FAILS)),
        "S1",
    ),
    ("late_success", "its time was up"): (of("late_success", Step("a", timeout_ms=5)), "S1"),
    ("late_success", "it was aborted"): (of("late_success", *beside_a_failure(Step("a", timeout_ms=5))), "S1"),
    ("point_of_no_return", "it succeeded"): (
        of("point_of_no_return", A, Step("p", kind=Kind.PIVOT), FAILING),
        "S6",
    ),
    ("point_of_no_return", "it is in doubt"): (
        of("point_of_no_return", A, Step("p", kind=Kind.PIVOT, service="unanswering", may_raise=True)),
        "S1",
    ),
}


def explored(definition: Saga, style: str) -> Explorer:
    known, others = with_unanswering(), catalogue()
    return Explorer(definition, style, lambda name: known.get(name) or others(name))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("guarantee", "phase"), PLANTED)
def test_without_it_the_bug_is_found_wherever_it_can_be(guarantee: str, phase: str, style: str) -> None:
    """With the guarantee the same saga is safe, so it is the guarantee that makes the difference."""
    definition, code = PLANTED[guarantee, phase]

    report = explored(definition, style).explore()

    assert report.verdict is Conclusion.VIOLATED
    assert code in [violation.code for violation in report.violations]
    if guarantee != "point_of_no_return":  # with it, what follows the pivot may not be refused
        mended = saga(*definition.steps, kinds=definition.faults.kinds)
        assert explored(mended, style).explore().verdict is Conclusion.SAFE


def test_what_runs_when_the_saga_turns_back_is_left_in_force() -> None:
    """Choreography leaves it standing, and an orchestrator that does not wait says that it was compensated."""
    definition = of("undo_running", *beside_a_failure(Step("a", latency_ms=5)))

    codes = {
        style: [violation.code for violation in explored(definition, style).explore().violations] for style in STYLES
    }

    assert codes == {"choreography": ["L2", "L1"], "orchestration": ["S1", "S8"]}


def test_an_undo_that_came_first_is_forgotten() -> None:
    """In choreography; the orchestrator sends no compensation before it has received the answer."""
    definition = of("tombstone", *beside_a_failure(A))

    codes = {
        style: [violation.code for violation in explored(definition, style).explore().violations] for style in STYLES
    }

    assert codes == {"choreography": ["S4"], "orchestration": []}


BEGUN = {"SUCCEEDED", "FAILED", "COMPENSATED", "STUCK", "RUNNING", "TIMED_OUT", "ABORTED", "UNDOING", "UNDOING_LATE"}
CHANGED = {
    "inbox": {(Signal.GO, name) for name in (*BEGUN, "IN_DOUBT")}
    | {(Timer.ATTEMPT, name) for name in (*BEGUN - {"RUNNING", "TIMED_OUT", "ABORTED"}, "IN_DOUBT")}
    | {(Signal.BACK, name) for name in ("COMPENSATED", "STUCK", "UNDOING")}
    | {(Timer.RETRY, name) for name in ("COMPENSATED", "STUCK")},
    "tombstone": {(Signal.STOP, "WAITING"), (Signal.BACK, "WAITING")},
    "undo_running": {(Signal.BACK, "RUNNING")},
    "late_success": {(Timer.ATTEMPT, "TIMED_OUT"), (Timer.TIMED_OUT, "RUNNING"), (Timer.TIMED_OUT, "ABORTED")},
    "honest_compensation": {(Signal.BACK, "SUCCEEDED"), (Timer.RETRY, "UNDOING"), (Timer.RETRY, "UNDOING_LATE")},
}
"""The transitions that each guarantee changes; in doubt, honesty is a matter of `undo_in_doubt` itself."""


@pytest.mark.parametrize("guarantee", CHANGED)
def test_a_guarantee_changes_these_transitions_and_no_others(guarantee: str) -> None:
    """One that is added to the protocol has to be thought of here."""
    with_it = transitions(ALL_ON, Kind.COMPENSATABLE)
    without = transitions(Guarantees(**{guarantee: False}), Kind.COMPENSATABLE)

    changed = {
        (trigger, phase.name)
        for trigger in with_it
        for phase in Phase
        if with_it[trigger].get(phase) is not without[trigger].get(phase)
    }

    assert changed == CHANGED[guarantee]

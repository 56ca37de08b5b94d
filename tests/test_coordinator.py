"""The coordinator: it collects, and reports what it observed, once."""

import pytest
from hypothesis import example, given, settings

from choreo.compile import STYLES
from choreo.compile.table import Table
from choreo.protocol.coordinator import Coordinator
from choreo.protocol.event import Event, Fact, Run
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary, plan
from tests.stories import Ledger, Mishap, blocked_by, itineraries, positions_of, sagas, table_of, tell

RUN = Run("run-1", "saga-1", "test.1.")

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class Desk:
    """Coordinator of one itinerary that receives one event after the other; `said` has its published events."""

    def __init__(self, itinerary: Itinerary) -> None:
        self._table: Table = table_of("choreography", itinerary)
        self._seat = self._table.subscribers.index(Coordinator.NAME, len(self._table.plan.steps))
        self._rows = [row for row in self._table.subscriptions if row.seat == self._seat]
        self.cell = self._table.cells[self._seat]
        self.said: list[Event] = []

    @property
    def hears(self) -> list[str]:
        return [row.topic.name for row in self._rows]

    def hear(self, *names: str) -> list[str]:
        """Return the topics that it publishes on receiving these events, one after the other."""
        before = len(self.said)
        for name in names:
            (row,) = [row for row in self._rows if row.topic.name == name]
            detail = "sold out" if name.split("/")[2:3] == ["failed"] else None
            self.cell, events = row.react(self.cell, Event(row.topic, RUN, None, detail))
            self.said.extend(events)
        return [event.topic.name for event in self.said[before:]]

    @property
    def outcome(self) -> Outcome:
        (outcome,) = [event.detail for event in self.said if isinstance(event.detail, Outcome)]
        return outcome


def test_a_saga_without_steps_is_completed_as_it_starts() -> None:
    """An empty saga completes at once."""
    desk = Desk(())

    assert desk.hear("saga/started") == ["saga/completed"]
    assert desk.outcome == Outcome(State.COMPLETED)


def test_the_success_of_the_last_step_completes_a_chain() -> None:
    """In a chain the coordinator receives no other event on the way forward."""
    desk = Desk(("a", "b", "c"))

    assert [name for name in desk.hears if "succeeded" in name] == ["step/c/succeeded"]
    assert desk.hear("step/c/succeeded") == ["saga/completed"]
    assert desk.outcome == Outcome(State.COMPLETED, completed_steps=3)


def test_the_end_of_the_first_step_compensates_a_chain() -> None:
    """The outcome lists the compensated steps, in that order, and the reason."""
    desk = Desk(("a", "b", "c"))

    assert desk.hear("step/c/failed", "step/b/compensated") == []
    assert desk.hear("step/a/compensated") == ["saga/compensated"]
    assert desk.outcome == Outcome(State.COMPENSATED, 0, ("b", "a"), None, "sold out")


def test_several_last_steps_are_joined() -> None:
    """A saga is completed when every last step has succeeded, in any order."""
    desk = Desk(("a", ("b", "c", "d")))

    assert desk.hear("step/d/succeeded", "step/b/succeeded") == []
    assert desk.hear("step/c/succeeded") == ["saga/completed"]


def test_the_end_of_one_of_several_last_steps_cancels_the_saga() -> None:
    """The other last steps have no successor that could tell them, so the coordinator does, once."""
    desk = Desk(("a", ("b", "c")))

    assert desk.hear("step/c/failed") == ["saga/cancelled"]
    assert desk.hear("step/b/failed") == []
    assert desk.hear("step/a/compensated") == ["saga/compensated"]


def test_a_late_success_does_not_complete_a_cancelled_saga() -> None:
    """Once the sink cannot be reached, the successes of its predecessors are of no use."""
    desk = Desk((("a", "b"),))

    assert desk.hear("step/a/failed") == ["saga/cancelled"]
    assert desk.hear("step/b/succeeded") == []
    assert desk.hear("step/b/compensated") == ["saga/compensated"]
    assert desk.outcome.compensated_steps == ("b",)


def test_saga_cancelled_exists_only_where_several_last_steps_meet() -> None:
    """In a chain no participant needs it."""
    chain, fork = (table_of("choreography", steps) for steps in (("a", ("b", "c"), "d"), ("a", ("b", "c"))))

    assert "saga/cancelled" not in [row.topic.name for row in chain.subscriptions]
    assert [row.subscriber for row in fork.subscriptions if row.topic.name == "saga/cancelled"] == ["c", "b"]


def test_a_stuck_step_is_named_with_what_was_undone_before_it() -> None:
    """Steps before the stuck step are still in force, and the outcome does not wait for them."""
    desk = Desk(("a", "b", "c", "d"))

    assert desk.hear("step/d/failed", "step/c/compensated") == []
    assert desk.hear("step/b/compensation_failed") == ["saga/stuck"]
    assert desk.outcome == Outcome(State.STUCK, 0, ("c",), "b", None)


@pytest.mark.parametrize("first", [("step/b/compensation_failed",), ("step/d/compensated",), ()])
def test_siblings_of_a_stuck_step_are_waited_for(first: tuple[str, ...]) -> None:
    """A group is reported stuck when each of its steps has ended, and every one that was undone is listed."""
    rest = ["step/b/compensation_failed", "step/c/compensated", "step/d/compensated"]
    names = [*first, *(name for name in rest if name not in first)]
    desk = Desk(("a", ("b", "c", "d"), "e"))
    desk.hear("step/e/failed")

    assert desk.hear(*names[:-1]) == []
    assert desk.hear(names[-1]) == ["saga/stuck"]
    assert sorted(desk.outcome.compensated_steps) == ["c", "d"]
    assert desk.outcome.stuck_step == "b"


def test_the_first_of_several_stuck_steps_is_named() -> None:
    """Two compensations keep failing; the outcome names the one that was heard of first."""
    desk = Desk(("a", ("b", "c"), "d"))

    desk.hear("step/d/failed", "step/c/compensation_failed", "step/b/compensation_failed")

    assert desk.outcome.stuck_step == "c"
    assert desk.outcome.compensated_steps == ()


@pytest.mark.parametrize(
    ("itinerary", "names"),
    [
        (("a", "b"), ["step/b/succeeded"]),
        (("a", "b"), ["step/b/failed", "step/a/compensated"]),
        (("a", "b"), ["step/b/failed", "step/a/compensation_failed"]),
        ((("a", "b"),), ["step/a/failed", "step/b/failed"]),
    ],
)
def test_a_run_has_one_outcome_for_ever(itinerary: Itinerary, names: list[str]) -> None:
    """No event received after the outcome changes it."""
    desk = Desk(itinerary)
    desk.hear(*names)
    closed, said = desk.cell, list(desk.said)

    desk.hear(*[name for name in desk.hears if name != "saga/started"])

    assert desk.said == said
    assert isinstance(desk.outcome, Outcome)
    assert desk.cell.phase is closed.phase


@pytest.mark.parametrize(
    "names",
    [
        ["step/c/failed", "step/b/compensated", "step/b/compensated", "step/a/compensated"],
        ["step/c/failed", "step/c/failed", "step/b/compensated", "step/a/compensated"],
    ],
)
def test_a_duplicate_is_reported_once(names: list[str]) -> None:
    """The coordinator is an idempotent receiver too: a duplicate has no effect."""
    desk = Desk(("a", "b", "c"))

    desk.hear(*names)

    assert desk.outcome.compensated_steps == ("b", "a")


@pytest.mark.parametrize(
    "names",
    [
        ["step/a/compensated", "step/b/compensated", "step/c/failed"],
        ["step/a/compensated", "step/c/failed", "step/b/compensated"],
        ["step/b/compensated", "step/a/compensated", "step/c/failed"],
    ],
)
def test_a_report_waits_for_what_led_to_it(names: list[str]) -> None:
    """Events of different steps may arrive in any order; the outcome still lists all that was undone, and why."""
    desk = Desk(("a", "b", "c"))

    desk.hear(*names)

    assert desk.outcome.state is State.COMPENSATED
    assert sorted(desk.outcome.compensated_steps) == ["a", "b"]
    assert desk.outcome.reason == "sold out"


def test_a_stuck_report_waits_for_what_led_to_it() -> None:
    """A compensation after the stuck step is listed, even if the coordinator receives it late."""
    desk = Desk(("a", "b", "c", "d"))

    desk.hear("step/a/compensation_failed", "step/b/compensated", "step/c/compensated", "step/d/failed")

    assert desk.outcome.state is State.STUCK
    assert desk.outcome.stuck_step == "a"
    assert sorted(desk.outcome.compensated_steps) == ["b", "c"]


@both_styles
def test_siblings_of_a_stuck_step_are_still_compensated(style: str) -> None:
    """A compensation that keeps failing blocks the steps before it, and no parallel step."""
    itinerary = ("a", ("b", "c", "d"), "e", "f")

    story = tell(style, itinerary, fail_step="f", fail_compensation="c")

    assert story.outcome.state is State.STUCK
    assert story.outcome.compensated_steps == ("e", "d", "b")
    assert story.outcome.stuck_step == "c"
    assert story.outcome.reason == "the compensation of c was told to fail"
    assert story.ledger.standing == [0, 2]


@both_styles
def test_everything_that_can_be_undone_is_undone_before_the_outcome(style: str) -> None:
    """The outcome event is the last word of the run."""
    itinerary = (("a", "b", "c"), ("d", "e"))

    story = tell(style, itinerary, fail_step="e", fail_compensation="c")

    assert story.topics[-1] == "saga/stuck"
    assert story.outcome.compensated_steps == ("d", "b", "a")
    assert [event.detail for event in story.outcome_events] == [story.outcome]


@both_styles
def test_a_step_that_was_not_reached_cannot_get_stuck(style: str) -> None:
    """A compensation that would fail, but is not needed, is no obstacle."""
    story = tell(style, ("a", "b", "c"), fail_step="b", fail_compensation="c")

    assert story.outcome == Outcome(State.COMPENSATED, 0, ("a",), None, "b was told to refuse")


@both_styles
def test_the_failing_step_itself_cannot_get_stuck(style: str) -> None:
    """The step that failed is not compensated, so its compensation cannot fail."""
    story = tell(style, ("a", "b"), fail_step="b", fail_compensation="b")

    assert story.outcome.state is State.COMPENSATED


@both_styles
def test_an_exception_is_named_in_the_outcome_and_its_step_is_undone(style: str) -> None:
    """A service that raises an exception other than `Refused` may have taken effect: it is compensated too."""
    story = tell(style, ("a", "b"), Ledger(broken=[1]))

    assert story.outcome.state is State.COMPENSATED
    assert (story.outcome.failed_step, story.outcome.defect) == ("b", "ZeroDivisionError: broken at 1")
    assert story.outcome.compensated_steps == ("a",)
    assert story.outcome.in_doubt_steps == ("b",)
    assert story.ledger.standing == []


@both_styles
@pytest.mark.parametrize(
    ("itinerary", "broken", "standing", "compensated"),
    [
        (("a", "b"), 1, [0, 1], ()),
        (("b", "c"), 0, [0], ()),
        (("a", ("b", "c"), "d"), 1, [0, 1], ("c",)),
        (("a", ("c", "b")), 2, [0, 2], ("c",)),
    ],
)
def test_what_is_in_doubt_and_cannot_be_undone_is_stuck(
    style: str, itinerary: Itinerary, broken: int, standing: list[int], compensated: tuple[str, ...]
) -> None:
    """It may be in force, and is never reported as compensated; independent steps are undone all the same."""
    story = tell(style, itinerary, Ledger(broken=[broken], stubborn=[broken]))

    assert story.outcome.state is State.STUCK
    assert (story.outcome.stuck_step, story.outcome.in_doubt_steps) == ("b", ("b",))
    assert story.outcome.defect is not None
    assert story.outcome.defect.startswith("ZeroDivisionError: broken at ")
    assert story.ledger.standing == standing
    assert story.outcome.compensated_steps == compensated


@both_styles
@pytest.mark.parametrize("stuck", [0, 1, 2])
def test_of_several_steps_in_doubt_the_outcome_names_those_that_may_be_in_force(style: str, stuck: int) -> None:
    """Steps that were undone are not named, and the reason is that of the stuck step."""
    story = tell(style, (("a", "b", "c"),), Ledger(broken=[0, 1, 2], stubborn=[stuck]))

    step = "abc"[stuck]
    assert (story.outcome.stuck_step, story.outcome.in_doubt_steps) == (step, (step,))
    assert story.outcome.failed_step == step
    assert "it may have taken effect" in str(story.outcome.defect)
    assert story.ledger.standing == [stuck]


@both_styles
@settings(deadline=None)
@given(sagas(itineraries(depth_max=4)))
@example((("a", ("b", "c"), "d"), Mishap("d", "b")))
def test_a_stuck_outcome_is_honest(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """It lists exactly the compensated steps, and names a step that is in force and whose compensation failed."""
    itinerary, mishap = saga

    story = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)

    steps = [step for step, _, verb in story.ledger.effects if verb == "compensate"]
    assert list(story.outcome.compensated_steps) == steps
    stuck = positions_of(story.events, Fact.COMPENSATION_FAILED)
    assert (story.outcome.state is State.STUCK) == bool(stuck)
    if stuck:
        compiled = plan(itinerary)
        assert story.outcome.stuck_step == compiled.steps[stuck[0]]
        assert story.ledger.standing == blocked_by(compiled, stuck)

"""Each invariant finds the bug that it is meant for, no other invariant reports it, and correct runs pass."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from choreo.api import open_services
from choreo.compile import STYLES
from choreo.conformance import check, read_trace
from choreo.invariants.catalogue import INVARIANTS
from choreo.invariants.known import Known, events_max_of, known_of
from choreo.invariants.monitor import Monitor
from choreo.lab.model.world import World
from choreo.lab.simulate.simulator import Simulation
from choreo.lessons import lessons
from choreo.saga.definition import Kind, Resource, RunOf, Saga, Step
from choreo.trace.record import Record
from services import sagas
from tests.stories import ROOT

CODES = {invariant.code for invariant in INVARIANTS}

SHOP = Saga(
    "shop",
    steps=(
        Step("order"),
        Step("charge", effect={"credit": -60}),
        Step("ship", kind=Kind.PIVOT),
        Step("notify", kind=Kind.RETRIABLE),
    ),
    resources={"credit": Resource(100, minimum=0)},
    runs=(RunOf("mine"), RunOf("yours")),
)
"""order → charge → ship (the pivot) → notify (retriable); two runs of it."""

FORK = Saga("fork", steps=(Step("order"), Step("charge", after=("order",)), Step("reserve", after=("order",))))
"""order, and after it charge and reserve in parallel."""


class Story:
    """Builds a trace record by record. The cause of a published event is the event received before it."""

    def __init__(self, run: str = "run-1", records: list[Record] | None = None) -> None:
        self.run = run
        self.records: list[Record] = [] if records is None else records
        self.last = ""

    def other(self, run: str) -> "Story":
        """The same trace goes on with another run."""
        return Story(run, self.records)

    # What happens

    def starts(self) -> "Story":
        return self.says("client", "saga.started")

    def commits(self, *steps: str) -> "Story":
        """One after the other: each hears the last event, its local transaction takes effect, and it says so."""
        for step in steps:
            self.does(step, "execute").tells(step, "succeeded")
        return self

    def refuses(self, step: str) -> "Story":
        return self.tells(step, "failed")

    def undoes(self, *steps: str) -> "Story":
        for step in steps:
            self.does(step, "compensate").tells(step, "compensated")
        return self

    def ends(self, outcome: str) -> "Story":
        """The coordinator says how it ended, and the client is told."""
        return self.concludes(outcome).answers(outcome)

    # The parts of it

    def does(self, step: str, action: str, reason: str | None = None) -> "Story":
        """A service was called: an effect, unless there is a reason why not."""
        return self.record(action, f"step.{action}", step, step, reason=reason)

    def tells(self, step: str, fact: str, times: int = 1) -> "Story":
        for _ in range(times):
            self.says(step, f"step.{fact}", step)
        return self

    def concludes(self, outcome: str) -> "Story":
        return self.says("coordinator", f"saga.{outcome}")

    def is_resumed(self) -> "Story":
        """An operator has it go on."""
        return self.record("resume", "saga.resumed", "operator")

    def answers(self, outcome: str) -> "Story":
        return self.record("reply", f"saga.{outcome}", "client")

    def says(self, source: str, event: str, step: str | None = None) -> "Story":
        """It hears the last event, and publishes another because of it."""
        if self.last:
            self.record("deliver", "heard", source, None, id=self.last)
        return self.publishes(source, event, step, self.last or None)

    def publishes(self, source: str, event: str, step: str | None, cause: str | None) -> "Story":
        self.record("publish", event, source, step, id=f"{self.run}/{step or 'saga'}/{event}", causation_id=cause)
        self.last = str(self.records[-1].id)
        return self

    def resource(self, action: str, name: str, **fields: int) -> "Story":
        return self.record(action, f"resource.{action}", "charge", "charge", resource=name, **fields)

    def record(self, action: str, event: str, source: str, step: str | None = None, **fields: object) -> "Story":
        names = POSITIONS.get(step or "")
        number = len(self.records) + 1
        self.records.append(
            Record(number, number, event, action, run=self.run, source=source, step=step, position=names, **fields)  # type: ignore[arg-type]
        )
        return self


POSITIONS = {"order": 0, "charge": 1, "ship": 2, "reserve": 2, "notify": 3}


def broken(story: Story, known: Known) -> list[str]:
    """Return the codes of the violations, each once, in the order in which they were found."""
    monitor = Monitor(known)
    history, found = monitor.observe_all(monitor.begin(), story.records)
    return list(dict.fromkeys(each.code for each in (*found, *monitor.at_rest(history))))


# --- what is correct --------------------------------------------------------------------------------------------------


def completed() -> Story:
    return Story().starts().commits("order", "charge", "ship", "notify").ends("completed")


def compensated() -> Story:
    return Story().starts().commits("order", "charge").refuses("ship").undoes("charge", "order").ends("compensated")


def stuck() -> Story:
    story = Story().starts().commits("order", "charge").refuses("ship")
    return story.does("charge", "compensate", "told to fail").tells("charge", "compensation_failed").ends("stuck")


def two_that_share() -> Story:
    story = (
        Story().starts().commits("order").resource("lock", "credit").resource("read", "credit", value=100, version=0)
    )
    story.resource("write", "credit", value=40, delta=-60, version=1, based_on=0).commits("charge", "ship", "notify")
    story.ends("completed").resource("release", "credit")
    other = story.other("run-2").starts().commits("order")
    other.resource("read", "credit", value=40, version=1)
    return other.refuses("charge").undoes("order").ends("compensated")


def resumed() -> Story:
    """Stuck, stuck again, and in the end compensated; its client was told stuck, and stays so."""
    again = stuck().is_resumed().does("charge", "compensate", "told to fail").tells("charge", "compensation_failed")
    return again.concludes("stuck").is_resumed().undoes("charge", "order").concludes("compensated")


@pytest.mark.parametrize("story", [completed, compensated, stuck, two_that_share, resumed])
def test_of_a_correct_run_nothing_is_said(story: Callable[[], Story]) -> None:
    """Completed, compensated, stuck, two runs that share a resource, and one that an operator has had go on."""
    assert broken(story(), known_of(SHOP)) == []


# --- one bug each -----------------------------------------------------------------------------------------------------


def beyond_the_pivot_and_undone() -> Story:
    """S1: notify took effect although ship, the pivot, never committed; undone, and called compensated."""
    story = Story().starts().commits("order", "charge", "notify").refuses("ship")
    return story.undoes("notify", "charge", "order").ends("compensated")


def charged_twice() -> Story:
    """S2: an event was delivered twice, with two effects."""
    story = Story().starts().commits("order", "charge").commits("charge").refuses("ship")
    return story.does("charge", "compensate", "told to fail").tells("charge", "compensation_failed").ends("stuck")


def undone_for_no_reason() -> Story:
    """S3: the order is compensated without a failure."""
    return Story().starts().commits("order").undoes("order").ends("compensated")


def risen_from_the_dead() -> Story:
    """S4: charge had said that it was cancelled, and commits all the same."""
    story = Story().starts().commits("order").tells("charge", "cancelled").commits("charge").refuses("ship")
    return story.ends("stuck")


def undone_in_the_order_of_doing() -> Story:
    """S5: charge depends on order, and is undone after it."""
    return Story().starts().commits("order", "charge").refuses("ship").undoes("order", "charge").ends("compensated")


def back_from_beyond() -> Story:
    """S6: shipped, and then charge is undone."""
    story = Story().starts().commits("order", "charge", "ship")
    for _ in range(3):
        story.does("notify", "execute", reason="not now")
    return story.refuses("notify").undoes("charge").ends("stuck")


def gave_up_early() -> Story:
    """L3: notify may be tried three times, and fails after one."""
    story = Story().starts().commits("order", "charge", "ship").does("notify", "execute", reason="not now")
    return story.refuses("notify").ends("stuck")


def told_of_another() -> Story:
    """S8: charge and order were undone, and the outcome tells of order alone."""
    story = Story().starts().commits("order", "charge").refuses("ship").undoes("charge", "order")
    story.concludes("compensated").records[-1].undone = ("order",)
    return story.answers("compensated")


def ended_twice() -> Story:
    """S7: the coordinator says compensated, and then it says stuck."""
    return compensated().concludes("stuck")


def resumed_after_the_end() -> Story:
    """S7: it was compensated, and an operator has it go on."""
    return compensated().is_resumed().concludes("compensated")


def resumed_before_the_end() -> Story:
    """S7: it was under way, and an operator has it go on."""
    return Story().starts().commits("order").is_resumed().commits("charge", "ship", "notify").ends("completed")


def ended_twice_once_resumed() -> Story:
    """S7: an operator's word is good for one outcome more."""
    return resumed().concludes("compensated")


def told_otherwise() -> Story:
    """S8: the outcome is compensated, and the client is told completed."""
    story = Story().starts().commits("order").refuses("charge").undoes("order")
    return story.concludes("compensated").answers("completed")


def heard_of_nobody() -> Story:
    """S9: charge names a cause that it has not heard."""
    story = Story().starts().commits("order").does("charge", "execute")
    story.publishes("charge", "step.succeeded", "charge", "run-1/saga/saga.started")
    return story.commits("ship", "notify").ends("completed")


def money_from_nowhere() -> Story:
    """S10: 100 less 60 is 50."""
    story = Story().starts().commits("order").resource("read", "credit", value=100, version=0)
    story.resource("write", "credit", value=50, delta=-60, version=1, based_on=0)
    return story.commits("charge", "ship", "notify").ends("completed")


def below_the_minimum() -> Story:
    """S10: the sum is right, and less than there may be."""
    story = Story().starts().commits("order").resource("write", "credit", value=-20, delta=-60, version=1, based_on=0)
    return story.commits("charge", "ship", "notify").ends("completed")


def dirty_read() -> Story:
    """S11: one run reads a resource that another one has locked."""
    story = Story().starts().commits("order").resource("lock", "credit")
    other = story.other("run-2").starts().commits("order").resource("read", "credit", value=40, version=0)
    other.commits("charge", "ship", "notify").ends("completed")
    return story.commits("charge", "ship", "notify").ends("completed").resource("release", "credit")


def stolen_lock() -> Story:
    """S11: one run locks a resource that another one has locked."""
    story = Story().starts().commits("order").resource("lock", "credit")
    other = story.other("run-2").starts().commits("order").resource("lock", "credit")
    other.commits("charge", "ship", "notify").ends("completed").resource("release", "credit")
    return story.commits("charge", "ship", "notify").ends("completed").resource("release", "credit")


def lost_update() -> Story:
    """S11: a value is written on a version that is no longer the last."""
    story = Story().starts().commits("order").resource("read", "credit", value=100, version=0)
    story.other("run-2").resource("write", "credit", value=90, version=1, based_on=0)
    story.resource("write", "credit", value=40, version=2, based_on=0)
    return story.commits("charge", "ship", "notify").ends("completed")


def fuzzy_read() -> Story:
    """S11: a value that was read twice changed in between."""
    story = Story().starts().commits("order").resource("read", "credit", value=100, version=0)
    story.other("run-2").resource("write", "credit", value=90, version=1, based_on=0)
    story.resource("read", "credit", value=90, version=1)
    return story.commits("charge", "ship", "notify").ends("completed")


def storm() -> Story:
    """S12: a step that updates and updates."""
    return (
        Story()
        .starts()
        .commits("order")
        .tells("order", "updated", 60)
        .commits("charge", "ship", "notify")
        .ends("completed")
    )


def silence() -> Story:
    """L1: the event that charge waits for was lost."""
    return Story().starts().commits("order")


def undone_in_silence() -> Story:
    """L2: charge is compensated without an event; order is compensated all the same."""
    story = Story().starts().commits("order", "charge").refuses("ship").does("charge", "compensate")
    return story.undoes("order").ends("compensated")


def committed_in_silence() -> Story:
    """L3: notify commits without an event; the coordinator does not wait for it."""
    story = Story().starts().commits("order", "charge", "ship").does("notify", "execute")
    return story.ends("completed")


def nobody_answers() -> Story:
    """L4: the outcome is there, and the client is left waiting."""
    return Story().starts().commits("order", "charge", "ship", "notify").concludes("completed")


def locked_for_ever() -> Story:
    """L5: it ended, and holds its lock."""
    story = Story().starts().commits("order").resource("lock", "credit")
    return story.commits("charge", "ship", "notify").ends("completed")


def released_by_another() -> Story:
    """L5: a release by another run frees no lock."""
    story = locked_for_ever()
    other = story.other("run-2").starts().resource("release", "credit")
    return other.refuses("order").ends("compensated")


PLANTED = [
    ("S1", beyond_the_pivot_and_undone),
    ("S2", charged_twice),
    ("S3", undone_for_no_reason),
    ("S4", risen_from_the_dead),
    ("S5", undone_in_the_order_of_doing),
    ("S6", back_from_beyond),
    ("S7", ended_twice),
    ("S7", resumed_after_the_end),
    ("S7", resumed_before_the_end),
    ("S7", ended_twice_once_resumed),
    ("S8", told_otherwise),
    ("S9", heard_of_nobody),
    ("S10", money_from_nowhere),
    ("S10", below_the_minimum),
    ("S11", dirty_read),
    ("S11", stolen_lock),
    ("S11", lost_update),
    ("S11", fuzzy_read),
    ("S12", storm),
    ("L1", silence),
    ("L2", undone_in_silence),
    ("L3", committed_in_silence),
    ("L3", gave_up_early),
    ("S8", told_of_another),
    ("L4", nobody_answers),
    ("L5", locked_for_ever),
    ("L5", released_by_another),
]


@pytest.mark.parametrize(("code", "story"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_bug_is_found_by_its_invariant_alone(code: str, story: Callable[[], Story]) -> None:
    """All are checked, and exactly one speaks."""
    assert broken(story(), known_of(SHOP)) == [code]


def test_every_invariant_has_a_bug_of_its_own() -> None:
    """Seventeen of them."""
    assert {code for code, _ in PLANTED} == CODES
    assert len(CODES) == 17


# --- bugs that more than one finds ------------------------------------------------------------------------------------


def test_what_was_never_undone_is_told_before_that_the_run_never_ended() -> None:
    """L2 implies L1 where there is no outcome; the more specific finding comes first."""
    story = Story().starts().commits("order").refuses("charge")

    assert broken(story, known_of(SHOP)) == ["L2", "L1"]


def test_a_false_compensated_breaks_both_promises() -> None:
    """Both are broken: all or nothing, and the honest reply."""
    story = Story().starts().commits("order", "charge").refuses("ship").undoes("charge").ends("compensated")

    assert broken(story, known_of(SHOP)) == ["S1", "S8", "L2"]


def test_parallel_steps_are_undone_in_any_order() -> None:
    """Neither depends on the other; but both before order."""
    forward = Story().starts().commits("order", "charge").tells("reserve", "failed")
    one = forward.undoes("charge", "order").ends("compensated")

    assert broken(one, known_of(FORK)) == []


def test_a_timer_that_goes_off_after_the_end_is_no_failure() -> None:
    """An expired time-out gives no reason to compensate."""
    story = Story().starts().commits("order", "charge")
    story.publishes("charge", "step.timed_out", "charge", story.last)
    story.records.pop()
    story.record("timer", "step.timed_out", "charge", "charge", id="run-1/charge/step.succeeded")
    story.undoes("charge", "order").ends("compensated")

    assert "S3" in broken(story, known_of(SHOP))


def test_where_a_trace_has_no_effects_a_word_is_taken_for_them() -> None:
    """As in the node's trace at its usual level: charge says twice that it succeeded."""
    said = [record for record in charged_twice().records if record.action in ("publish", "reply")]
    known = known_of(SHOP)
    words_only = Known(known.runs, known.minima, has_deliveries=False, has_effects=False)
    story = Story(records=said)

    assert broken(story, words_only) == ["S2"]


def test_what_was_stuck_and_resumed_is_bounded_anew() -> None:
    """However often an operator has it go on; a storm after that is one all the same."""
    story = stuck()
    for _ in range(30):
        story.is_resumed().does("charge", "compensate", "told to fail").tells("charge", "compensation_failed")
        story.concludes("stuck")

    assert broken(story, known_of(SHOP)) == []
    assert broken(story.is_resumed().tells("order", "updated", 80), known_of(SHOP)) == ["S12", "L2", "L1"]


def test_what_is_resumed_is_to_end_again() -> None:
    """L1: the outcome is open."""
    assert broken(stuck().is_resumed(), known_of(SHOP)) == ["L2", "L1"]


def test_the_bound_of_events_follows_from_the_plan() -> None:
    """Eight a step and eight for the saga are never reached by a correct run."""
    assert events_max_of(0) == 8
    assert events_max_of(4) == 40
    assert len([record for record in compensated().records if record.action == "publish"]) < events_max_of(4)


# --- what really runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_the_lab_breaks_nothing_where_nothing_is_switched_off(style: str) -> None:
    """Every mended lesson and the sagas of the services, run undisturbed in virtual time."""
    definitions = [each.mended for each in lessons()] + [sagas.order, sagas.trip]
    for definition in definitions:
        monitor = Monitor(known_of(definition))
        simulation = Simulation(World(definition, style, open_services("services"))).run()
        history, found = monitor.observe_all(monitor.begin(), simulation.records())

        assert (*found, *monitor.at_rest(history)) == (), definition.name


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_node_breaks_nothing(style: str, level: str, tmp_path: Path) -> None:
    """Completed, compensated and stuck, in parallel and one after the other."""
    file = tmp_path / "trace.jsonl"
    requests = [
        {"steps": ["a", "b"]},
        {"steps": ["a", ["b", "c"], "d"], "fail_step": "d"},
        {"steps": ["a", ["b", "c"], "d"], "fail_step": "b"},
        {"steps": ["a", "b", "c"], "fail_step": "c", "fail_compensation": "b"},
        {"steps": []},
        {"steps": ["a", "a", ["a", "b"]], "fail_step": "b"},
    ]
    data = "".join(json.dumps({"type": "execute", "saga_id": "s", "style": style, **r}) + "\n" for r in requests)
    command = [sys.executable, str(ROOT / "main.py"), "--trace", str(file), "--trace-level", level]
    subprocess.run(command, input=data.encode(), stdout=subprocess.DEVNULL, check=True)

    with file.open("rb") as lines:
        verdict = check(read_trace(lines, "trace.jsonl"))

    assert verdict.violations == ()
    assert verdict.outcomes == {"completed": 2, "compensated": 3, "stuck": 1}

"""Saved counterexamples: written to a file, and followed again on real services, move by move."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import choreo
from choreo import Call, NotSafe, Saga, Step, pivot, step
from choreo.compile import STYLES
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.own import OwnInvariant
from choreo.lab.explore.explorer import Explorer
from choreo.lab.follower import Follower
from choreo.lab.model.world import World
from choreo.lab.options import with_guarantees, with_services
from choreo.lab.replay import NotFollowed, report_of_way
from choreo.lab.report import Report
from choreo.lab.saved import read_saved, saved
from choreo.lab.simulate.campaign import simulate
from choreo.lab.way import Move, Way
from choreo.laboratory import NoCounterexample, replay
from choreo.lessons import lessons
from choreo.saga.calls.catalogue import catalogue_of
from choreo.saga.definition import CrashPoint, FaultKind, RunOf
from choreo.saga.definition import Saga as Definition
from choreo.saga.file import WrongDefinition
from choreo.trace.vocabulary import PUBLISH, RECEIPTS
from services import catalogue
from tests.test_pytest_plugin import run

both_styles = pytest.mark.parametrize("style", sorted(STYLES))
LESSONS = {f"lesson {number}": lesson.broken for number, lesson in enumerate(lessons(), start=1)}


class Payments:
    """Charges; the bug forgets a part of the refund."""

    def __init__(self, forgotten: int = 0) -> None:
        self.forgotten, self.charged = forgotten, 0

    @step
    def charge(self, call: Call) -> int:
        self.charged += call.input["total"]
        return int(call.input["total"])

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.charged -= (call.result or 0) - self.forgotten


class Courier:
    def __init__(self) -> None:
        self.booked = 0

    @step(fails="may")
    def book(self, call: Call) -> None:
        self.booked += 1


ORDER = Saga("order", Payments.charge, pivot(Courier.book))


def services(forgotten: int = 0) -> Callable[[], list[Any]]:
    return lambda: [Payments(forgotten), Courier()]


@choreo.eventually("all is paid or nothing")
def settled(state: Any) -> bool:
    return bool(state[Payments].charged == 60 * state[Courier].booked)


@choreo.always("at most one payment")
def once(state: Any) -> bool:
    return bool(state[Payments].charged <= 60)


def explored(style: str, make: Any = services, own: Sequence[OwnInvariant] = (), **options: Any) -> choreo.Findings:
    return choreo.explore(
        ORDER,
        {"total": 60},
        services=make,
        style=style,
        faults=["duplicate", "crash"],
        max_faults=1,
        invariants=own,
        **options,
    )


def simulated(style: str, make: Any = services, own: Sequence[OwnInvariant] = (), **options: Any) -> choreo.Findings:
    rates = {"duplicate": 0.2, "crash": 0.2, "drop": 0.1}
    return choreo.simulate(
        ORDER, {"total": 60}, services=make, style=style, faults=rates, seeds=200, invariants=own, **options
    )


in_both_ways = pytest.mark.parametrize("look", [explored, simulated])


@both_styles
@in_both_ways
def test_a_missing_guarantee_is_a_regression_test(look: Any, style: str, tmp_path: Path) -> None:
    """With the inbox the way is harmless; without it the same violation is found, with its diagram."""
    file = tmp_path / "sagas" / "twice.json"
    found = look(style, services(), [once], without=["inbox"])
    found.counterexample.save(file)

    replay(file, services=services(), invariants=[once]).assert_safe()
    again = replay(file, services=services(), invariants=[once], without=["inbox"])

    assert set(again.reports[0].violations) >= set(found.reports[0].violations)
    with pytest.raises(NotSafe, match=r"twice\.json:\s+breaks\s+an\s+invariant") as raised:
        again.assert_safe()
    assert "because: duplicate" in str(raised.value) or "crashes" in str(raised.value)
    assert "┃" in str(raised.value)


@both_styles
@in_both_ways
def test_a_bug_of_a_service_is_a_regression_test(look: Any, style: str, tmp_path: Path) -> None:
    """The free choices are taken again; with the bug the way breaks the invariant, and mended it does not."""
    file = tmp_path / "fee.json"
    found = look(style, services(forgotten=5), [settled])
    found.counterexample.save(file)

    replay(file, services=services(), invariants=[settled]).assert_safe()
    again = replay(file, services=services(forgotten=5), invariants=[settled])

    assert again.reports[0].violations == found.reports[0].violations
    assert again.reports[0].outcomes == {"compensated": 1}
    replay(file, ORDER, services=services(), invariants=[settled]).assert_safe()


@both_styles
@in_both_ways
def test_the_file_says_what_was_found(look: Any, style: str, tmp_path: Path) -> None:
    """The format, the violation, the faults in words and for programs, the events, the saga and its input; equal
    findings have equal bytes."""
    file, again = tmp_path / "a.json", tmp_path / "b.json"
    look(style, services(), without=["inbox"]).counterexample.save(file)
    look(style, services(), without=["inbox"]).counterexample.save(again)

    assert file.read_bytes() == again.read_bytes()
    value = json.loads(file.read_text())
    assert (value["format"], value["style"], value["without"]) == (1, style, ["inbox"])
    assert value["violations"][0]["code"] == "S2"
    assert value["violations"][0]["title"] == "at most once"
    assert value["inputs"] == [{"total": 60}]
    assert [each["name"] for each in value["saga"]["step"]] == ["charge", "book"]
    assert "charge succeeded" in value["events"]
    assert value["faults"] == [move["words"] for move in value["moves"] if "fault" in move]
    assert len(value["faults"]) == 1
    assert (value["seed"] is None) is (look is explored)
    assert read_saved(file).definition.all_runs()[0].input == {"total": 60}


@both_styles
def test_the_way_of_a_simulation_ends_with_the_violation(style: str) -> None:
    """What the history goes on with is no part of it."""
    found = simulated(style, services(), without=["inbox"])

    report = found.reports[0]
    assert report.counterexample is not None
    received = [record.id for record in report.counterexample.records if record.action in RECEIPTS]
    assert found.counterexample.moves[-1].event == received[-1]


def test_a_crash_before_commit_rolls_back_cell_and_services() -> None:
    """Published and not committed: both are executed again, and each counts once."""
    payments = Payments()
    saga = with_services(Saga("order", pivot(Payments.charge)), payments)
    definition = replace(with_guarantees(saga, None, ["outbox"]), runs=(RunOf("o-1", input={"total": 60}),))
    started, succeeded = "run-1/saga/started", "run-1/step/charge/succeeded"
    way = Way(
        (
            Move(started, "charge", FaultKind.CRASH, CrashPoint.UNCOMMITTED),
            Move(started, "charge"),
            Move(succeeded, "coordinator", FaultKind.CRASH, CrashPoint.UNCOMMITTED),
            Move(succeeded, "coordinator"),
        )
    )
    world = World(definition, "choreography", catalogue_of(payments))

    followed = Follower(world, Monitor(known_of(definition), ()), way, skips=False).follow()

    published = [record.event for record in followed.records if record.action == PUBLISH]
    assert payments.charged == 60
    assert published.count("step.succeeded") == 2
    assert published.count("saga.completed") == 2


def test_a_change_of_the_saga_is_told_with_its_move(tmp_path: Path) -> None:
    """The text names the file, the move, what was expected, and what to do."""
    file = tmp_path / "twice.json"
    explored("choreography", services(), without=["inbox"]).counterexample.save(file)
    changed = Saga("order", "first", Payments.charge, pivot(Courier.book))
    make = lambda: {"first": Payments, "charge": Payments(), "book": Courier()} | {"first": Quiet()}  # noqa: E731

    with pytest.raises(NotFollowed, match=r"twice.json: move 1 of \d+ cannot be followed any more") as raised:
        replay(file, changed, services=make, without=["inbox"])

    assert "expected run-1/saga/started on its way to charge" in str(raised.value)
    assert "got run-1/saga/started to first" in str(raised.value)
    assert "save a counterexample anew" in str(raised.value)


def test_a_change_of_a_service_is_told_with_its_move(tmp_path: Path) -> None:
    """A service that refuses at once leads elsewhere: what passed would be another way."""

    class Refusing(Payments):
        @step("charge")
        def charge(self, call: Call) -> int:
            raise choreo.Refused("closed")

        @charge.compensation
        def refund(self, call: Call) -> None: ...

    file = tmp_path / "fee.json"
    explored("choreography", services(forgotten=5), [settled]).counterexample.save(file)

    with pytest.raises(NotFollowed, match=r"move 2 of .*expected run-1/step/charge/succeeded on its way to book, got"):
        replay(file, services=lambda: [Refusing(), Courier()], invariants=[settled])


class Quiet:
    def execute(self, call: Call) -> None: ...

    def compensate(self, call: Call) -> None: ...


def test_an_own_invariant_has_to_be_given_again(tmp_path: Path) -> None:
    file = tmp_path / "fee.json"
    explored("choreography", services(forgotten=5), [settled]).counterexample.save(file)

    with pytest.raises(WrongDefinition, match="invariants: expected one titled 'all is paid or nothing', which"):
        replay(file, services=services())


def test_without_a_counterexample_there_is_nothing_to_save() -> None:
    found = explored("choreography", services())

    with pytest.raises(NoCounterexample, match=r"expected a violation of order, got none \(choreography: safe\)"):
        _ = found.counterexample


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "expected a saved counterexample, got .*No such file"),
        ("[", "expected a saved counterexample, got "),
        ("[]", "expected a counterexample of format 1, got None; save it anew"),
        ('{"format": 2}', "expected a counterexample of format 1, got 2; save it anew"),
        ('{"format": 1}', "expected a saved counterexample, got Object missing required field"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(WrongDefinition, match=f"file.json: {why}"):
        replay(file)


def searched(definition: Definition, style: str, is_explored: bool) -> Report:
    if is_explored:
        return Explorer(definition, style, catalogue()).explore()
    return simulate(definition, style, catalogue, range(1, 200), processes=1)


@both_styles
@pytest.mark.parametrize("is_explored", [True, False], ids=["explored", "simulated"])
@pytest.mark.parametrize("name", LESSONS)
def test_every_bug_of_the_lessons_is_found_again_on_its_way(name: str, style: str, is_explored: bool) -> None:
    """Whatever its faults are: locks, timers, dead letters, repeated requests, and free choices among them."""
    definition = LESSONS[name]
    report = searched(definition, style, is_explored)
    if report.counterexample is None:
        assert not report.violations
        return

    again = report_of_way("way", saved(report, definition, ()), definition, catalogue(), ())

    assert set(again.violations) >= set(report.violations)
    assert again.counterexample is not None
    assert again.counterexample.faults == report.counterexample.faults


@both_styles
@pytest.mark.parametrize("is_explored", [True, False], ids=["explored", "simulated"])
@pytest.mark.parametrize("name", LESSONS)
def test_no_bug_of_the_lessons_is_left_with_all_guarantees(name: str, style: str, is_explored: bool) -> None:
    """The same way with every guarantee on breaks none of the invariants, where a missing guarantee was the bug."""
    definition = LESSONS[name]
    off = tuple(each for each in definition.guarantees.__struct_fields__ if not getattr(definition.guarantees, each))
    report = searched(definition, style, is_explored)
    if report.counterexample is None or not off or "point_of_no_return" in off:
        return  # a definition beyond its pivot is refused where that guarantee holds
    whole = replace(definition, guarantees=replace(definition.guarantees, **dict.fromkeys(off, True)))

    again = report_of_way("way", saved(report, whole, off), whole, catalogue(), ())

    assert again.violations == ()


def test_the_fixture_follows_a_saved_counterexample(tmp_path: Path) -> None:
    """It passes with the guarantee, and fails without: with the diagram, and without choreo's own stack."""
    choreo.explore(["charge", Step("ship").name], faults=["duplicate"], without=["inbox"]).counterexample.save(
        tmp_path / "sagas" / "twice.json"
    )

    status, printed = run(
        tmp_path,
        """
def test_mended(choreo):
    choreo.replays("sagas/twice.json")

def test_broken(choreo):
    choreo.replays("sagas/twice.json", without=["inbox"])

def test_changed(choreo):
    choreo.replays("sagas/twice.json", ["ship", "charge"])
""",
    )

    assert status == 1
    assert "2 failed, 1 passed" in printed
    assert "test_mine.py:6: not safe" in printed
    assert "the way saved in sagas/twice.json: breaks an invariant" in printed
    assert "S2 at most once: charge took effect twice" in printed
    assert "┃" in printed
    assert "test_mine.py:9: NotFollowed: sagas/twice.json: move 1 of " in printed
    assert "laboratory.py" not in printed

"""The lessons: their claims match the results of the tools."""

from functools import partial

import pytest
from msgspec.structs import replace

from choreo.api import open_services
from choreo.compile import STYLES
from choreo.compile.linting import lint
from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.lab.simulate.campaign import simulate
from choreo.lessons import Lesson, definition_of, lesson, lessons
from choreo.saga.definition import Saga
from services import catalogue

ALL = lessons()
BROKEN = [each for each in ALL if each.is_broken]
CURRICULUM = {2: "S1", 3: "S6", 4: "L1", 5: "S2", 6: "L1", 7: "S4", 8: "S8", 9: "L2", 10: "S8", 11: "L1", 12: "S7"} | {
    13: "S12",
    14: "S10",
    15: "S11",
    16: "L5",
}
"""The invariant that each lesson breaks, as the curriculum has it."""

SHORTEST = {2: 18, 3: 16, 4: 6, 5: 13, 6: 9, 7: 15, 8: 18, 9: 21} | {
    10: 14,
    11: 11,
    12: 12,
    13: 170,
    14: 17,
    15: 15,
    16: 10,
}
"""Number of records of the shortest counterexample of each lesson."""


def explore(found: Lesson, style: str, mended: bool = False, is_reduced: bool = True) -> Report:
    return Explorer(found.mended if mended else found.broken, style, catalogue(), is_reduced).explore()


def codes(report: Report) -> set[str]:
    return {violation.code for violation in report.violations}


def test_there_are_sixteen() -> None:
    """Numbered from 1, each with its words."""
    assert [each.number for each in ALL] == list(range(1, 17))
    assert all(1 <= each.words.answer <= len(each.words.answers) for each in ALL)


@pytest.mark.parametrize("found", BROKEN, ids=lambda found: found.words.title)
def test_the_explorer_finds_the_bug(found: Lesson) -> None:
    """As the invariant that the curriculum names, by a counterexample that is as short as can be."""
    report = explore(found, found.words.style)

    assert report.verdict is Conclusion.VIOLATED
    assert CURRICULUM[found.number] in found.words.invariants
    assert set(found.words.invariants) <= codes(report)
    assert report.counterexample is not None
    assert len(report.counterexample.faults) <= found.broken.faults.budget
    assert len(report.counterexample.records) == SHORTEST[found.number]


@pytest.mark.parametrize("found", [each for each in BROKEN if each.broken.faults.kinds], ids=lambda f: f.words.title)
def test_without_the_fault_there_is_no_bug_to_be_seen(found: Lesson) -> None:
    """The faults of the counterexample are decisive, unless another order of events is all that it takes."""
    report = explore(found, found.words.style)

    assert report.counterexample is not None
    if report.counterexample.faults:
        harmless = Explorer(_without_faults(found), found.words.style, catalogue()).explore()
        assert harmless.verdict is Conclusion.SAFE


def _without_faults(found: Lesson) -> Saga:

    return replace(found.broken, faults=replace(found.broken.faults, budget=0))


@pytest.mark.parametrize("found", BROKEN, ids=lambda found: found.words.title)
def test_the_simulator_finds_the_bug_too(found: Lesson) -> None:
    """Within the number of seeds that the lesson states."""
    opened = partial(open_services, "services")

    report = simulate(found.broken, found.words.style, opened, range(1, found.words.seeds + 1), processes=1)

    assert report.verdict is Conclusion.VIOLATED
    assert codes(report) & set(found.words.invariants)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("found", ALL, ids=lambda found: found.words.title)
def test_what_mends_it_is_proven(found: Lesson, style: str) -> None:
    """With the guarantee on, every state is safe, in both styles, and the simulator finds no violation either."""
    opened = partial(open_services, "services")

    report = explore(found, style, mended=True)
    histories = simulate(found.mended, style, opened, range(1, 101), processes=1)

    assert report.verdict is Conclusion.SAFE, report.violations
    assert histories.verdict is Conclusion.SAFE, histories.violations


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.words.title)
def test_the_other_style_does_what_the_lesson_says(found: Lesson) -> None:
    """The same bug is there, or it is not."""
    assert explore(found, found.other_style).verdict == found.words.other_style


@pytest.mark.parametrize("found", [each for each in ALL if each.twin], ids=lambda found: found.words.title)
def test_the_twin_of_a_bug_is_found_and_mended(found: Lesson) -> None:
    """The other way in which the same goes wrong; and mended it is safe, in both styles."""
    assert found.twin is not None

    for style in STYLES:
        broken = Explorer(found.twin.broken, style, catalogue()).explore()
        mended = Explorer(found.twin.mended, style, catalogue()).explore()

        assert set(found.twin.invariants) <= codes(broken)
        assert mended.verdict is Conclusion.SAFE


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("found", ALL, ids=lambda found: found.words.title)
@pytest.mark.parametrize("mended", [False, True], ids=["broken", "mended"])
def test_verdicts_agree_with_and_without_reduction(found: Lesson, style: str, mended: bool) -> None:
    """Leaving out orders that cannot make a difference makes no difference."""
    reduced, whole = (explore(found, style, mended, is_reduced) for is_reduced in (True, False))

    assert reduced.verdict is whole.verdict
    assert codes(reduced) == codes(whole)
    if reduced.counterexample is not None and whole.counterexample is not None:
        assert len(reduced.counterexample.records) == len(whole.counterexample.records)
    else:
        assert reduced.outcomes.keys() == whole.outcomes.keys()
    assert (reduced.states or 0) <= (whole.states or 0)


@pytest.mark.parametrize("number", [2, 13])
def test_lint_finds_the_bugs_of_the_wiring_without_running(number: int) -> None:
    """Lessons 2 and 13; no finding once they are fixed."""
    broken = lint(definition_of(number, is_mended=False), "choreography")
    mended = lint(definition_of(number, is_mended=True), "choreography")

    assert broken
    assert mended == []


def test_a_lesson_that_does_not_exist_is_told() -> None:
    """With the numbers that there are."""
    with pytest.raises(LookupError, match="expected a lesson from 1 to 16, got 17"):
        lesson(17)

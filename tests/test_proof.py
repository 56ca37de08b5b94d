"""The neighbour protocol, proven: every shape of up to five steps, every failing step, both styles.

With one fault of any kind anywhere, whatever the order of deliveries; nothing is kept in order.
"""

from collections.abc import Iterator
from itertools import product

import pytest
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.compile.linting import lint
from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.saga.definition import Saga, Step
from services import catalogue
from tests.lab_sagas import EVERY_KIND, of_shape, saga, shapes

STEPS_MAX = 5
GRAPH_STEPS_MAX = 4
DOUBT_STEPS_MAX = 3
PARTS = 17
"""The parts of the cases, which pytest-xdist spreads over the cores; a prime, so that each has cases of every kind."""

pytestmark = pytest.mark.slow
in_parts = pytest.mark.parametrize("part", range(PARTS))

Case = tuple[tuple[int, ...], int | None, str]

CASES: list[Case] = [
    (shape, failing, style)
    for count in range(1, STEPS_MAX + 1)
    for shape in shapes(count)
    for failing in (None, *range(count))
    for style in STYLES
]


def graphs() -> Iterator[Saga]:
    """Every way in which up to four steps may depend on those before them, each step failing in turn, or none."""
    for count in range(2, GRAPH_STEPS_MAX + 1):
        pairs = [(first, second) for second in range(count) for first in range(second)]
        for chosen in product((False, True), repeat=len(pairs)):
            edges = [pair for pair, is_edge in zip(pairs, chosen, strict=True) if is_edge]
            after = [tuple(f"step_{first}" for first, second in edges if second == n) for n in range(count)]
            for failing in (None, *range(count)):
                fails = ["always" if n == failing else "never" for n in range(count)]
                steps = [Step(f"step_{n}", after=after[n], fails=fails[n]) for n in range(count)]
                yield saga(*steps, kinds=EVERY_KIND)


GRAPH_CASES = [(definition, style) for definition in graphs() for style in STYLES]


def explore(case: Case) -> Report:
    """Every state of one case, with one fault of any kind anywhere."""
    shape, failing, style = case
    return Explorer(of_shape(shape, failing), style, catalogue()).explore()


def test_every_shape_and_every_graph_is_a_case() -> None:
    """The parts have them all, each once."""
    assert (len(CASES), len(GRAPH_CASES)) == (320, 716)
    assert sum(len(CASES[part::PARTS]) for part in range(PARTS)) == 320
    assert sum(len(GRAPH_CASES[part::PARTS]) for part in range(PARTS)) == 716


@in_parts
def test_the_protocol_is_safe_in_every_shape(part: int) -> None:
    """No state of any of them breaks an invariant, every run ends, and every kind of fault has fired."""
    reports = {case: explore(case) for case in CASES[part::PARTS]}

    assert {case: report.violations for case, report in reports.items() if report.verdict is not Conclusion.SAFE} == {}
    assert [case for case, report in reports.items() if report.never_fired] == []
    for (_, failing, _), report in reports.items():
        assert report.outcomes.keys() - {"stuck"} == {"completed" if failing is None else "compensated"}


@in_parts
def test_the_protocol_is_safe_in_every_graph(part: int) -> None:
    """Also where the ways to a join have different lengths; and lint reports no finding for any of them."""
    cases = GRAPH_CASES[part::PARTS]

    reports = [Explorer(*case, catalogue()).explore() for case in cases]

    assert [case for case, report in zip(cases, reports, strict=True) if report.verdict is not Conclusion.SAFE] == []
    assert [case for case in cases if lint(*case)] == []


class Unanswering:
    """Takes effect, and its answer is lost."""

    def __init__(self) -> None:
        self.held = 0

    def execute(self, reference: str) -> object:
        self.held += 1
        raise TimeoutError("no answer")

    def compensate(self, reference: str, receipt: object) -> None:
        self.held -= 1


def in_doubt() -> Iterator[Saga]:
    """Every way in which up to three steps may depend on those before them, each in doubt in turn.

    Its undo works, works at the second attempt, or never works.
    """
    for definition in graphs():
        steps = definition.steps
        for step in steps if len(steps) <= DOUBT_STEPS_MAX else ():
            for undo in ("never", 1, "always") if step.fails == "always" else ():
                doubtful = replace(step, fails="never", service="unanswering", may_raise=True, compensation_fails=undo)
                yield replace(definition, steps=tuple(doubtful if each is step else each for each in steps))


def test_what_is_in_doubt_is_undone_or_stuck_in_every_graph() -> None:
    """No step is called compensated while it may be in force; and every run ends."""
    outcomes: dict[str, int] = {}
    cases = [(definition, style) for definition in in_doubt() for style in STYLES]

    for definition, style in cases:
        service = Unanswering()
        report = Explorer(definition, style, {"unanswering": service}.__getitem__).explore()
        assert report.verdict is Conclusion.SAFE, report.violations
        undo = next(step.compensation_fails for step in definition.steps if step.service is not None)
        assert ("compensated" in report.outcomes) == (undo != "always")
        for outcome in report.outcomes:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    assert len(cases) == 168
    assert outcomes.keys() == {"compensated", "stuck"}

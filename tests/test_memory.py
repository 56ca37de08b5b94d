"""Bounds: memory is flat over ever more sagas, the stack flat over ever longer ones, the work in proportion to them."""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from choreo.domain.outcome import Outcome
from choreo.domain.plan import Itinerary, plan
from choreo.runners.in_process import InProcessRunner
from choreo.runners.wirings import WIRED_SUBSCRIPTIONS_MAX
from choreo.styles import STYLES
from tests.stories import in_fresh_process

GROWTH_MAX_KB = 8 * 1024
RECURSION_LIMIT = 150

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class Forgetful:
    """A service that does nothing and remembers nothing."""

    def execute(self, reference: str) -> object:
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        return None


def run(
    style: str, itinerary: Itinerary, fail_step: str | None = None, fail_compensation: str | None = None
) -> Outcome:
    service = Forgetful()
    return InProcessRunner(lambda step: service).execute("saga-1", itinerary, fail_step, fail_compensation, style)


# --- memory -----------------------------------------------------------------------------------------------------------


def flood(sagas: int, warm_up: int) -> None:
    """Print the resident size after the warm-up and at the end, in kB; every saga has step names of its own."""
    service = Forgetful()
    runner = InProcessRunner(lambda step: service)
    styles = sorted(STYLES)
    for number in range(sagas):
        if number == warm_up:
            print(resident_kb())
        steps = (f"a{number}", (f"b{number}", f"c{number}"), f"d{number}")
        fail_step = steps[-1] if number % 3 else None
        runner.execute(f"saga-{number}", steps, fail_step, style=styles[number % 2])
    print(resident_kb())


def resident_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_memory_stays_flat_over_ever_new_sagas() -> None:
    """After 200,000 sagas, none with the step names of another, the process is as large as after 20,000."""
    sizes = in_fresh_process(flood, 200_000, 20_000)

    early, late = map(int, sizes.split())

    assert late - early < GROWTH_MAX_KB, f"grew from {early} kB to {late} kB"


def test_wirings_are_kept_within_a_bound() -> None:
    """The bound is in subscriptions, which take the memory; the oldest wirings go, and one beyond it is not kept."""
    service = Forgetful()
    runner = InProcessRunner(lambda step: service)
    group = ("member",) * 100

    sizes: list[int] = []
    for number in range(8):
        runner.execute("saga-1", (f"s{number}", group, group))
        sizes.append(_wired(runner))
    runner.execute("saga-1", ("large",) * 50_000)

    assert max(sizes) <= WIRED_SUBSCRIPTIONS_MAX
    assert sizes[-1] > WIRED_SUBSCRIPTIONS_MAX // 2, "more than one is kept"
    assert _wired(runner) == sizes[-1], "the large one was run, and not kept"


def _wired(runner: InProcessRunner) -> int:
    """The subscriptions of all wirings, which agree with the runner's own count."""
    wired = sum(len(wiring.table.subscriptions) for wiring in runner._wirings.values())  # noqa: SLF001  # what is kept
    assert wired == runner._wirings._size  # noqa: SLF001  # and what it thinks it keeps
    return wired


# --- the stack --------------------------------------------------------------------------------------------------------


def run_in_a_small_stack(style: str, itinerary: Itinerary, fail_step: str | None = None) -> None:
    """Print how a saga ends with next to no stack to run in."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    outcome = run(style, itinerary, fail_step)
    print(outcome.state, outcome.completed_steps, len(outcome.compensated_steps))


def run_a_chain(style: str, length: int, does_fail: bool) -> None:
    chain = tuple(f"step-{number}" for number in range(length))
    run_in_a_small_stack(style, chain, chain[-1] if does_fail else None)


def run_groups(style: str, count: int) -> None:
    groups = tuple((f"a{number}", f"b{number}") for number in range(count))
    run_in_a_small_stack(style, groups, groups[-1][-1])


@both_styles
@pytest.mark.parametrize(("does_fail", "told"), [(False, "completed 10000 0"), (True, "compensated 0 9999")])
def test_ten_thousand_steps_run_in_a_small_stack(style: str, does_fail: bool, told: str) -> None:
    """The stack does not grow with the saga, neither on the way forward nor on the way back."""
    assert in_fresh_process(run_a_chain, style, 10_000, does_fail).strip() == told


@both_styles
def test_five_thousand_groups_run_in_a_small_stack(style: str) -> None:
    """Joins and forks need no more stack than a chain does."""
    assert in_fresh_process(run_groups, style, 5_000).strip() == "compensated 0 9999"


@both_styles
def test_the_longest_chain_is_undone_and_forgotten(style: str) -> None:
    """A hundred thousand compensations are collected, reported and freed without a crash."""
    assert in_fresh_process(run_a_chain, style, 100_000, True).strip() == "compensated 0 99999"


# --- the work ---------------------------------------------------------------------------------------------------------


def names(count: int) -> tuple[str, ...]:
    return tuple(f"step-{number}" for number in range(count))


SHAPES: dict[str, Callable[[int], tuple[Itinerary, str | None, str | None]]] = {
    "a chain": lambda size: (names(size), None, None),
    "a chain that fails at the last step": lambda size: (names(size), f"step-{size - 1}", None),
    "a chain that is stuck at the first step": lambda size: (names(size), f"step-{size - 1}", "step-0"),
    "a group": lambda size: ((names(size),), None, None),
    "a group that fails": lambda size: ((names(size),), "step-7", None),
    "a group before a join": lambda size: ((names(size), "join"), None, None),
    "a group before a join that fails": lambda size: ((names(size), "join"), "join", None),
    "a group behind a fork that fails": lambda size: (("fork", names(size)), "step-7", None),
    "a group in which the first is stuck": lambda size: ((names(size), "join"), "join", "step-0"),
    "a group in which the last is stuck": lambda size: ((names(size), "join"), "join", f"step-{size - 1}"),
    "a group in which all are stuck": lambda size: ((("step",) * size, "join"), "join", "step"),
}


def work_of(call: Callable[[], object]) -> int:
    """How many calls are made, those of generators included: a measure of time that is the same on every machine."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@both_styles
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_is_in_proportion_to_the_saga(style: str, shape: str) -> None:
    """Twice as many steps are twice as much work, not four times: one request cannot hold up the process."""
    small, large = (SHAPES[shape](size) for size in (200, 400))

    work = work_of(lambda: run(style, *small))
    double = work_of(lambda: run(style, *large))

    assert double < 2.5 * work, f"{work} calls became {double}"


@both_styles
@pytest.mark.parametrize("shape", ["a group", "a group before a join"])
def test_the_table_is_in_proportion_to_the_saga(style: str, shape: str) -> None:
    """Twice as many steps take twice as much memory, not four times: one request cannot eat the process."""
    small, large = (plan(SHAPES[shape](size)[0]) for size in (10_000, 20_000))
    service = Forgetful()

    peak = peak_of(lambda: STYLES[style](small, lambda step: service))
    double = peak_of(lambda: STYLES[style](large, lambda step: service))

    assert double < 2.3 * peak, f"{peak:,} bytes became {double:,}"


def peak_of(call: Callable[[], object]) -> int:
    """The most memory in use at any moment of the call, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

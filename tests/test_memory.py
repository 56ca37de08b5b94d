"""Bounds: memory is flat over ever more sagas, the stack flat over ever longer ones, the work in proportion to them."""

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from choreo.compile import STYLES
from choreo.compile.cache import WIRED_BYTES_MAX
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.definition import Saga
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.storage.sqlite.journal import Journal
from tests.node_client import Node, execute
from tests.stories import in_fresh_process

GROWTH_MAX_KB = 1024
RECURSION_LIMIT = 150

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class Forgetful:
    """Service without effects or state."""

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


@pytest.mark.slow
def test_memory_stays_flat_over_ever_new_sagas() -> None:
    """After 30,000 sagas, none with the step names of another, the process is as large as after 10,000."""
    sizes = in_fresh_process(flood, 30_000, 10_000)

    early, late = map(int, sizes.split())

    assert late - early < GROWTH_MAX_KB, f"grew from {early} kB to {late} kB"


@pytest.mark.slow
def test_wirings_are_kept_within_a_bound() -> None:
    """The bound is in bytes; the oldest wirings go, and one beyond it is not kept."""
    service = Forgetful()
    runner = InProcessRunner(lambda step: service)
    group = ("member",) * 100

    sizes: list[int] = []
    for number in range(8):
        runner.execute("saga-1", (f"s{number}", group, group))
        sizes.append(_wired(runner))
    runner.execute("saga-1", ("large",) * 50_000)

    assert max(sizes) <= WIRED_BYTES_MAX
    assert sizes[-1] > WIRED_BYTES_MAX // 2, "more than one is kept"
    assert _wired(runner) == sizes[-1], "the large one was run, and not kept"


def _wired(runner: InProcessRunner) -> int:
    """The bytes of all wirings, which agree with the runner's own count."""
    kept = runner._wirings  # noqa: SLF001  # what is kept
    wired = sum(kept.size_of(steps, wiring.table) for (_, steps), wiring in kept.items())
    assert wired == kept._size == sum(kept._sizes.values())  # noqa: SLF001  # and what it thinks it keeps
    assert kept.keys() == kept._sizes.keys()  # noqa: SLF001
    return wired


def chain(length: int, characters: int) -> Itinerary:
    return tuple(f"{number:06}".ljust(characters, "x") for number in range(length))


def pairs(length: int, characters: int) -> Itinerary:
    steps = chain(length, characters)
    return tuple(steps[index : index + 2] for index in range(0, length, 2))


@both_styles
@pytest.mark.parametrize("make", ["in memory", "with a journal", "to replay"])
@pytest.mark.parametrize("steps", [chain(200, 10), chain(200, 2_000), pairs(200, 10), pairs(200, 2_000), ((),) * 9_000])
def test_a_wiring_takes_no_more_than_it_is_counted_for(tmp_path: Path, steps: Itinerary, make: str, style: str) -> None:
    """Measured by the allocations of the interpreter; the count is not much too high either."""
    service = Forgetful()
    runner = InProcessRunner(lambda step: service)
    durable = DurableRunner(lambda step: service, Journal.open(str(tmp_path / "sagas.db")), lambda: 0)
    wirings: Any = {
        "in memory": runner._wirings,  # noqa: SLF001
        "with a journal": durable._wirings,  # noqa: SLF001
        "to replay": durable._recovery._replayers,  # noqa: SLF001
    }[make]
    wirings.of(style, ("to", "warm", "up"))

    tracemalloc.start()
    wiring = wirings.of(style, steps)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    counted = wirings.size_of(steps, wiring.table)
    assert taken <= counted < 3.5 * taken + 100_000


HOSTILE: dict[str, tuple[int, Callable[[int], list[object]]]] = {
    "names of megabytes": (60, lambda number: [f"{number}" + "x" * 1_900_000]),
    "names of megabytes that are not ASCII": (150, lambda number: [f"{number}" + "\N{SNOWMAN}" * 400_000]),
    "names of kilobytes": (60, lambda number: [f"{number}/{step}" + "x" * 10_000 for step in range(100)]),
    "names that are too long": (15, lambda number: [f"{number}" + "x" * 8_000_000]),
    "too many empty groups": (25, lambda number: [[]] * 1_500_000 + [f"{number}"]),
}
"""Number of messages, each with different steps; a cache bounded by their number alone would keep them all."""


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("has_journal", [False, True])
def test_no_input_makes_the_node_grow_beyond_a_bound(tmp_path: Path, hostile: str, has_journal: bool) -> None:
    """However large messages are, within the limit of a message, and however many of them come."""
    count, steps = HOSTILE[hostile]
    options = ["--journal", str(tmp_path / "sagas.db")] if has_journal else []
    with Node(*options) as node:
        kinds = {json.loads(node.ask(execute(number, *steps(number))))["type"] for number in range(count)}
        peak_kb = peak_resident_kb(node.process.pid)

    assert kinds == {"error" if "too" in hostile else "saga_completed"}
    assert peak_kb < 310 * 1024, f"{peak_kb:,} kB"


def peak_resident_kb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


def test_an_itinerary_beyond_the_bounds_says_what_was_expected_and_what_came() -> None:
    """As an error of the request, in a text of its own."""
    with Node() as node:
        long = json.loads(node.ask(execute(1, "x" * 2_000_001)))
        many = json.loads(node.ask(execute(2, *[[]] * 100_001)))

    assert (long["code"], many["code"]) == (12, 12)
    assert long["text"] == "steps: expected names of at most 2000000 characters in all, got 2000001 characters"
    assert many["text"] == "steps: expected at most 100000 groups, empty ones included, got 100001"


@pytest.mark.parametrize(
    "call",
    [
        lambda runner: runner.execute("s", ["x" * 10_000_000]),
        lambda runner: runner.execute("s", (7, "x" * 10_000_000)),
        lambda runner: runner.execute("s", "x" * 10_000_000),
        lambda runner: runner.execute("s", (["x" * 10_000_000],)),
        lambda runner: runner.execute("s", ("a",), style="x" * 10_000_000),
    ],
)
def test_an_error_text_does_not_hold_the_input(call: Callable[[InProcessRunner], object]) -> None:
    """However much came, the text shows its beginning and says that it was cut."""
    service = Forgetful()

    with pytest.raises((TypeError, ValueError)) as caught:
        call(InProcessRunner(lambda step: service))

    assert len(str(caught.value)) < 500


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


@pytest.mark.slow
@both_styles
@pytest.mark.parametrize(("does_fail", "told"), [(False, "completed 10000 0"), (True, "compensated 0 9999")])
def test_ten_thousand_steps_run_in_a_small_stack(style: str, does_fail: bool, told: str) -> None:
    """The stack does not grow with the saga, neither on the way forward nor on the way back."""
    assert in_fresh_process(run_a_chain, style, 10_000, does_fail).strip() == told


@pytest.mark.slow
@both_styles
def test_five_thousand_groups_run_in_a_small_stack(style: str) -> None:
    """Joins and forks need no more stack than a chain does."""
    assert in_fresh_process(run_groups, style, 5_000).strip() == "compensated 0 9999"


@pytest.mark.slow
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
    """Return the number of calls, those of generators included: a measure of time that is the same on every machine."""
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


@pytest.mark.slow
@both_styles
@pytest.mark.parametrize("shape", ["a group", "a group before a join"])
def test_the_table_is_in_proportion_to_the_saga(style: str, shape: str) -> None:
    """Twice as many steps take twice as much memory, not four times: one request cannot eat the process."""
    small, large = (Saga.of(SHAPES[shape](size)[0]) for size in (10_000, 20_000))
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

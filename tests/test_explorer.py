"""The explorer: every state, once; the shortest counterexample; and no proof where something was left out."""

import cProfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.lab.explore import explorer as module
from choreo.lab.explore.explorer import Explorer
from choreo.lab.explore.limits import Limits
from choreo.lab.explore.livelocks import components, traps
from choreo.lab.explore.partial_order_reduction import later_phases, next_phases
from choreo.lab.report import Conclusion, Report
from choreo.protocol.reaction import Phase
from choreo.saga.definition import CrashPoint, FaultKind, Faults, RunOf, Saga, Step
from choreo.saga.guarantees import ALL_ON, Guarantees
from services import catalogue
from tests.lab_sagas import CHAIN, DIAMOND, EVERY_KIND, POISONED, SUITE, UNORDERED, saga

STATES = {
    ("chain", "choreography"): 232,
    ("chain", "orchestration"): 109,
    ("diamond", "choreography"): 3064,
    ("diamond", "orchestration"): 221,
    ("shared", "choreography"): 161,
    ("poisoned", "choreography"): 1729,
}
"""Number of states. A change here is a change of the protocol, or of the equivalence of states."""

CALLS_TO_START_MAX = 5_000
"""Limit of function calls, built-in ones included, before an exploration of the diamond begins; 2,550 when written."""


def explore(definition: Saga, style: str = "choreography", **options: object) -> Report:
    return Explorer(definition, style, catalogue(), **options).explore()  # type: ignore[arg-type]  # passed on


@pytest.mark.parametrize(("name", "style"), STATES)
def test_the_number_of_states_is_what_it_was(name: str, style: str) -> None:
    """Pinned, so that a state that goes missing is noticed."""
    report = explore(SUITE[name], style)

    assert report.verdict is Conclusion.SAFE
    assert report.states == STATES[name, style]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", [name for name in SUITE if name != "timed, stuck"])
def test_reduction_changes_no_verdict(name: str, style: str) -> None:
    """The whole state space is safe as well, and its runs end in the same ways."""
    reduced, whole = explore(SUITE[name], style), explore(SUITE[name], style, is_reduced=False)

    assert reduced.verdict is whole.verdict is Conclusion.SAFE
    assert reduced.outcomes.keys() == whole.outcomes.keys()
    assert (reduced.states or 0) <= (whole.states or 0)


def test_the_same_definition_gives_the_same_report() -> None:
    """The exploration is deterministic, and so is the counterexample."""
    broken = replace(CHAIN, guarantees=Guarantees(inbox=False))

    first, second = explore(broken), explore(broken)

    assert replace(first, elapsed_s=0, bytes_per_state=0) == replace(second, elapsed_s=0, bytes_per_state=0)


def test_both_branches_of_a_free_choice_are_taken() -> None:
    """A step that may fail does and does not, and so does its compensation."""
    report = explore(replace(CHAIN, faults=Faults()))

    assert report.outcomes.keys() == {"completed", "compensated", "stuck"}


def test_a_counterexample_has_the_fewest_transitions() -> None:
    """A duplicate is enough, although two faults are allowed; the trace ends where the invariant breaks."""
    broken = saga(Step("a"), Step("b"), budget=2, kinds=(FaultKind.DUPLICATE,), guarantees=Guarantees(inbox=False))

    report = explore(broken)

    assert [violation.code for violation in report.violations] == ["S2"]
    assert report.counterexample is not None
    assert report.counterexample.faults == ("duplicate run-1/saga/started on its way to a",)
    assert [record.action for record in report.counterexample.records] == [
        *("publish", "duplicate", "deliver", "execute", "publish", "deliver", "execute", "publish"),
    ]


@pytest.mark.parametrize("name", ["inbox", "outbox", "redelivery", "tombstone", "honest_compensation"])
def test_a_counterexample_breaks_the_same_when_its_trace_is_checked(name: str) -> None:
    """The checkers find the same violations in the records of a counterexample as the explorer."""
    definition = replace(
        DIAMOND if name == "tombstone" else CHAIN, guarantees=Guarantees(**{name: False}, ordering=False)
    )

    report = explore(definition)

    assert report.counterexample is not None
    monitor = Monitor(known_of(definition))
    history, broken = monitor.observe_all(monitor.begin(), report.counterexample.records)
    assert {b.code for b in broken or monitor.at_rest(history)} == {b.code for b in report.violations}


@pytest.mark.parametrize("point", CrashPoint)
def test_a_crash_at_any_point_does_no_harm_with_an_outbox(point: CrashPoint) -> None:
    """And without one exactly those between the two writes do."""
    faults = Faults((FaultKind.CRASH,), 1, crash_points=(point,))
    steps = (Step("a"), Step("b", fails="may"))

    safe = explore(replace(saga(*steps), faults=faults))
    unsafe = explore(replace(saga(*steps, guarantees=Guarantees(outbox=False)), faults=faults))

    assert safe.verdict is Conclusion.SAFE
    harmless = point in (CrashPoint.BEFORE, CrashPoint.AFTER)
    assert (unsafe.verdict is Conclusion.SAFE) is harmless


def test_endless_redelivery_is_found_as_a_run_that_never_ends() -> None:
    """A state whose only successor is itself is a livelock; the other saga waits in it."""
    report = explore(replace(POISONED, guarantees=Guarantees(dead_letter=False)))

    assert report.verdict is Conclusion.VIOLATED
    assert "L1" in {violation.code for violation in report.violations}


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(states=100), "more than 100 states"),
        (Limits(seconds=0.0), "more than 0 s"),
        (Limits(memory_mb=1), "more than 1 MB"),
    ],
)
def test_where_it_stops_it_claims_no_proof(monkeypatch: pytest.MonkeyPatch, limits: Limits, why: str) -> None:
    """The report has the reason for the stop, and claims no proof."""
    monkeypatch.setattr(module, "LOOK_EVERY", 1)

    report = explore(DIAMOND, limits=limits)

    assert report.verdict is Conclusion.INCOMPLETE
    assert report.stopped == why
    assert report.is_finding


def test_too_much_under_way_is_told() -> None:
    """A hundred runs of fifty steps side by side: it says so at once, and takes no memory for it."""
    steps = [Step(f"step_{number}", after=()) for number in range(50)]
    runs = tuple(RunOf(f"saga-{number}") for number in range(100))

    report = explore(saga(*steps, runs=runs))

    assert report.verdict is Conclusion.INCOMPLETE
    assert report.stopped == "more than 2,000 deliveries under way at once"


def test_an_interruption_is_told() -> None:
    """Ctrl-C ends the exploration with the results so far."""

    def interrupt(known: int, looked: int) -> None:
        raise KeyboardInterrupt

    module_look_every, module.LOOK_EVERY = module.LOOK_EVERY, 10
    try:
        report = explore(DIAMOND, progress=interrupt)
    finally:
        module.LOOK_EVERY = module_look_every

    assert report.verdict is Conclusion.INCOMPLETE
    assert report.stopped == "it was interrupted"
    assert report.states


def test_a_fault_that_cannot_happen_is_told() -> None:
    """Deliveries to a hearer that does not exist are never dropped."""
    definition = saga(Step("a"))
    report = explore(replace(definition, faults=replace(definition.faults, subscribers=("nobody",))))

    assert report.never_fired == ("drop", "duplicate", "crash")
    assert report.is_finding


def test_every_kind_of_fault_fires() -> None:
    """With all kinds enabled, every kind occurs."""
    report = explore(saga(Step("a"), Step("b", fails="may"), kinds=EVERY_KIND, guarantees=UNORDERED))

    assert report.verdict is Conclusion.SAFE
    assert report.never_fired == ()
    assert all(report.faults_fired[kind] for kind in ("drop", "duplicate", "delay", "crash", "partition", "poison"))


def test_services_of_an_author_are_part_of_the_state() -> None:
    """The real flights, with one seat: of two runs one gets it, in either order, and no state leaks into the other."""
    from services.flights import Flights

    definition = saga(Step("book_flight", service="flights"), runs=(RunOf("one"), RunOf("two")), kinds=())

    report = Explorer(definition, "choreography", lambda name: Flights(capacity=1)).explore()

    assert report.verdict is Conclusion.SAFE
    assert report.outcomes["completed"] == report.outcomes["compensated"]


def test_without_looking_for_traps_endless_redelivery_would_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the traps that find it, with reduction and without."""
    endless = replace(POISONED, guarantees=Guarantees(dead_letter=False))
    assert explore(endless, is_reduced=False).verdict is Conclusion.VIOLATED

    monkeypatch.setattr(module, "traps", lambda nodes, successors: [])

    assert explore(endless).verdict is Conclusion.SAFE


@pytest.mark.slow
@pytest.mark.parametrize(
    "off", [(), ("inbox",), ("tombstone", "undo_running"), ("late_success",), ("honest_compensation",)]
)
def test_every_change_of_phase_is_among_those_that_the_reduction_counts_on(off: tuple[str, ...]) -> None:
    """A phase that could be left in a way that the list does not have would make live deliveries look dead."""
    seen: dict[tuple[Phase, Phase], None] = {}
    after = next_phases(replace(ALL_ON, **dict.fromkeys(off, False)))
    for definition in SUITE.values():
        guarantees = replace(definition.guarantees, **dict.fromkeys(off, False))
        for style in STYLES:
            changed, limits = replace(definition, guarantees=guarantees), Limits(states=3_000)
            explorer = Explorer(changed, style, catalogue(), is_reduced=False, limits=limits)
            explorer.explore()
            cells = explorer.transitions.reactions.cells.values
            for (cell, _, _), reactions in explorer.transitions.reactions.known.items():
                for reaction in reactions:
                    seen[cells[cell].phase, cells[reaction.cell].phase] = None

    assert {(a, b) for a, b in seen if a is not b and b not in after[a]} == set()
    assert len(seen) > 12


@pytest.mark.parametrize("inbox", [True, False])
def test_the_table_of_later_phases_is_what_can_be_reached(inbox: bool) -> None:
    """A phase itself, and every phase that a way of single changes leads to."""
    guarantees = replace(ALL_ON, inbox=inbox)
    edges = {int(phase): [int(later) for later in after] for phase, after in next_phases(guarantees).items()}

    table = later_phases(guarantees)

    for phase in Phase:
        assert {later for later in Phase if table[phase] >> later & 1} == {phase, *_reachable(phase, edges)}


def test_an_explorer_is_made_with_few_calls() -> None:
    """Properties that depend on the phases alone are looked up in a table, not searched for each row again."""
    profile = cProfile.Profile()
    profile.runcall(Explorer, DIAMOND, "choreography", catalogue())

    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls < CALLS_TO_START_MAX


# The graph


GRAPHS: dict[str, tuple[dict[int, list[int]], list[list[int]]]] = {
    "a way that ends": ({0: [1], 1: [2], 2: []}, []),
    "a circle": ({0: [1], 1: [0]}, [[0, 1]]),
    "a circle with a way out": ({0: [1], 1: [0, 2], 2: []}, []),
    "a state that leads to itself": ({0: [0]}, [[0]]),
    "a join behind a circle": ({0: [1, 2], 1: [3], 2: [2, 3], 3: []}, []),
    "a join before a circle": ({0: [1, 2], 1: [3], 2: [3], 3: [4], 4: [3]}, [[3, 4]]),
    "two circles that join in a third": ({0: [1, 3], 1: [0], 3: [4], 4: [5], 5: [4]}, [[4, 5]]),
    "a way back from a join": ({0: [1, 2], 1: [3], 2: [3], 3: [0, 4], 4: []}, []),
}


@pytest.mark.parametrize(("graph", "expected"), GRAPHS.values(), ids=list(GRAPHS))
def test_traps_are_the_circles_without_a_way_out(graph: dict[int, list[int]], expected: list[list[int]]) -> None:
    """Joins make no false ones and hide none."""
    assert [sorted(trap) for trap in traps(graph, graph.__getitem__)] == expected


@given(st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=3), max_size=8))
def test_components_are_those_that_reach_each_other(edges: dict[int, list[int]]) -> None:
    """Held against reachability itself, on arbitrary graphs."""
    nodes = sorted({*edges, *(child for children in edges.values() for child in children)})

    found = list(components(nodes, lambda node: edges.get(node, [])))

    reach = {node: _reachable(node, edges) for node in nodes}
    expected = {frozenset(n for n in nodes if n == node or (n in reach[node] and node in reach[n])) for node in nodes}
    assert {frozenset(component) for component in found} == expected
    assert sum(map(len, found)) == len(nodes)


def _reachable(node: int, edges: dict[int, list[int]]) -> set[int]:
    reached: set[int] = set()
    queue: list[int] = list(edges.get(node, []))
    while queue:
        child = queue.pop()
        if child not in reached:
            reached.add(child)
            queue += edges.get(child, [])
    return reached


def test_a_long_way_takes_no_stack() -> None:
    """A graph of a hundred thousand states in a row, with a circle at its end."""
    last = 100_000

    def successors(node: int) -> Iterable[int]:
        return [node + 1] if node < last else [last]

    assert list(traps([0], successors)) == [[last]]

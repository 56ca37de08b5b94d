"""`choreo compare`: the same outcome and records, and every number of what differs, counted here once more."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.analysis.service_state import differing_records, record_of, records_of
from choreo.comparison import Comparison, Figures, compare, is_same_outcome
from choreo.compile import STYLES
from choreo.protocol.event import Command, Event
from choreo.saga.plan import Itinerary, plan
from choreo.terminal.options.arguments import open_separately
from tests.stories import Mishap, Story, sagas, table_of, tell
from tests.terminal import choreo, lines, recorded, saga_of

TRIP = ("book_flight", "book_hotel", "book_car")
NAMES = st.sampled_from("abcde")
few_names = st.lists(NAMES | st.lists(NAMES, max_size=3).map(tuple), max_size=4).map(tuple)


def compared(itinerary: Itinerary, mishap: Mishap = Mishap()) -> Comparison:  # noqa: B008  # a constant
    sets = [mishap.ledger().service_of for _ in range(4)]
    return compare(saga_of(itinerary, mishap.fail_step, mishap.fail_compensation), sets)


def figures(*itinerary: Any, fail_step: str | None = None) -> dict[str, Figures]:
    comparison = compared(itinerary, Mishap(fail_step))
    return dict(zip(STYLES, comparison.figures, strict=True))


# --- the numbers ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(sagas())
def test_the_numbers_are_those_of_the_run(saga: tuple[Itinerary, Mishap]) -> None:
    """Counted again, from another run and from the table."""
    itinerary, mishap = saga
    comparison = compared(itinerary, mishap)

    for style, counted in zip(STYLES, comparison.figures, strict=True):
        story = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)
        rows = table_of(style, itinerary).subscriptions
        heard = [row.topic.name for row in rows]
        commands = [event for event in story.events if event.topic.fact in tuple(Command)]
        assert counted.messages == len(story.events)
        assert counted.commands == len(commands)
        assert counted.deliveries == sum(map(heard.count, story.topics))
        assert counted.subscriptions == len(rows)
        assert counted.hops == len(chain_to_the_outcome(story))


def chain_to_the_outcome(story: Story) -> list[Event]:
    """From the outcome back, cause by cause."""
    by_id = {event.id: event for event in story.events}
    chain = story.outcome_events[:1]
    while (cause := chain[-1].causation_id) is not None:
        chain.append(by_id[cause])
    return chain


@pytest.mark.parametrize("count", range(1, 7))
def test_a_chain_that_completes_costs_what_the_docs_say(count: int) -> None:
    """One event a step against a command and a reply; the critical path has as many hops."""
    counted = figures(*[f"step_{number}" for number in range(count)])

    assert [(f.messages, f.hops) for f in counted.values()] == [(count + 2,) * 2, (2 * count + 2,) * 2]
    assert counted["choreography"].commands == 0
    assert counted["orchestration"].commands == count


def test_who_knows_whom_is_read_from_the_table() -> None:
    """In choreography the neighbours, in orchestration the orchestrator; names that come twice are kept apart."""
    counted = figures("a", "b", "a")

    neighbours, commanded = (
        {known.subscriber: known.publishers for known in f.acquaintances} for f in counted.values()
    )
    assert neighbours == {
        "a": ("client", "b"),
        "b": ("a", "a (2)"),
        "a (2)": ("b",),
        "coordinator": ("a (2)", "a", "b"),
        "client": ("coordinator",),
    }
    assert commanded == {
        "a": ("orchestrator",),
        "b": ("orchestrator",),
        "a (2)": ("orchestrator",),
        "orchestrator": ("client", "a", "b", "a (2)"),
        "client": ("orchestrator",),
    }


@settings(deadline=None, max_examples=50)
@given(few_names)
def test_what_a_hearer_knows_is_every_row_of_its_seat(itinerary: Itinerary) -> None:
    """Counted again, row by row."""
    comparison = compared(itinerary)

    for style, counted in zip(STYLES, comparison.figures, strict=True):
        table = table_of(style, itinerary)
        for seat, known in enumerate(counted.acquaintances):
            assert sorted(known.topics) == sorted(row.topic.name for row in table.subscriptions if row.seat == seat)


def test_the_state_lives_where_a_cell_holds_something() -> None:
    """Every step remembers its part in both styles; how far the run has come only the orchestrator knows."""
    counted = figures("a", ("b", "c"), "d", fail_step="d")

    choreography, orchestration = counted.values()
    assert choreography.keepers == ("a", "b", "c", "d", "coordinator")
    assert orchestration.keepers == ("a", "b", "c", "d", "orchestrator")
    assert "standing" in orchestration.held_by_reporter_alone
    assert "standing" not in choreography.held_by_reporter_alone
    assert {memory.subscriber: memory.during for memory in choreography.memories}["d"] == ("heard", "phase")
    assert all(memory.after for memory in choreography.memories)


def test_a_step_that_never_began_keeps_nothing() -> None:
    """Its cell is as it was."""
    counted = figures("a", "b", fail_step="a")

    assert counted["choreography"].keepers == ("a", "coordinator")
    assert counted["orchestration"].keepers == ("a", "orchestrator")


@pytest.mark.parametrize(
    ("itinerary", "middle", "end"),
    [
        (("a", "b", "c"), ("a", "b", "coordinator"), ("c", "coordinator")),
        (("a", ("b", "c"), "d", "e"), ("b", "c", "d", "coordinator"), ("e", "coordinator")),
        (("a", ("b", "c")), ("a", "b", "c", "coordinator"), ("b", "c", "coordinator")),
        ((), ("coordinator",), ("coordinator",)),
        (("new_step", "b"), ("new_step", "b", "coordinator"), ("b", "coordinator")),
    ],
)
def test_a_step_more_touches_its_neighbours_or_the_orchestrator(
    itinerary: Itinerary, middle: tuple[str, ...], end: tuple[str, ...]
) -> None:
    """The steps whose subscriptions differ between the two tables, compiled with and without the new step."""
    counted = figures(*itinerary)

    choreography, orchestration = counted.values()
    assert choreography.step_in_the_middle.touched == middle
    assert choreography.step_at_the_end.touched == end
    assert orchestration.step_in_the_middle.touched == orchestration.step_at_the_end.touched == ("orchestrator",)


@settings(deadline=None, max_examples=50)
@given(few_names, st.sampled_from(sorted(STYLES)))
def test_whoever_is_touched_hears_something_else(itinerary: Itinerary, style: str) -> None:
    """Counted again: the topics of each hearer, with and without the new step."""
    counted = compared(itinerary).figures[list(STYLES).index(style)]
    place = len(itinerary) // 2
    longer = (*itinerary[:place], "new_step", *itinerary[place:])
    position = plan(longer).steps.index("new_step")

    before, after = (topics_by_seat(style, each) for each in (itinerary, longer))
    del after[position]

    assert len(counted.step_in_the_middle.touched) == sum(map(lambda a, b: a != b, before, after))


def topics_by_seat(style: str, itinerary: Itinerary) -> list[list[str]]:
    table = table_of(style, itinerary)
    return [
        sorted(row.topic.name for row in table.subscriptions if row.seat == seat) for seat in range(len(table.cells))
    ]


def test_without_the_coordinator_the_saga_goes_on_and_nobody_hears_of_it() -> None:
    """Without the orchestrator no step begins."""
    counted = figures("a", "b", "c", fail_step="c")

    choreography, orchestration = (f.reporter_down for f in counted.values())
    assert choreography.subscriber == "coordinator"
    assert choreography.executed == ("a", "b")
    assert choreography.compensated == ("b", "a")
    assert orchestration.subscriber == "orchestrator"
    assert orchestration.executed == orchestration.compensated == ()
    assert not choreography.has_outcome
    assert not orchestration.has_outcome


def test_without_the_coordinator_a_join_at_the_end_is_left_half_done() -> None:
    """Where several last steps meet, only the coordinator reports the failure of one of them."""
    counted = figures("a", ("b", "c"), fail_step="b")

    down = counted["choreography"].reporter_down
    assert down.executed == ("a", "c")
    assert down.left_in_force == ("a", "c")


def test_a_step_called_coordinator_is_not_the_coordinator() -> None:
    """The participant at the end of the table is the one that is down."""
    counted = figures("coordinator", "orchestrator")

    assert counted["choreography"].reporter_down.executed == ("coordinator", "orchestrator")
    assert counted["orchestration"].reporter_down.executed == ()


# --- the same outcome, the same records -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(sagas())
def test_both_styles_end_the_same(saga: tuple[Itinerary, Mishap]) -> None:
    """The outcome is the same for every failure."""
    itinerary, mishap = saga

    assert compared(itinerary, mishap).is_same_outcome


def test_the_services_are_really_separate() -> None:
    """The two runs share no service, and the records are read from both."""
    sets = open_separately("services", TRIP, 4)

    comparison = compare(saga_of(TRIP), sets)

    one, other = (recording.services for recording in comparison.recordings)
    assert [id(one[step]) for step in TRIP] != [id(other[step]) for step in TRIP]
    assert all(one[step] is not other[step] for step in TRIP)
    assert record_of(one["book_flight"]) == record_of(other["book_flight"]) == {"capacity": None, "booked": 1}
    assert not comparison.differing
    assert comparison.is_same


class Counter:
    def __init__(self, count: int = 0, odd: object = None) -> None:
        self.count, self.odd = count, odd

    def execute(self, reference: str) -> None:
        self.count += 1

    def compensate(self, reference: str, receipt: object) -> None:
        self.count -= 1


class Slotted:
    __slots__ = ("count", "unset")

    def __init__(self) -> None:
        self.count = 3

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


def test_records_that_differ_are_told_field_by_field() -> None:
    """Planted: one counted more than the other."""
    differing = differing_records({"a": Counter(1), "b": Counter()}, {"a": Counter(2), "b": Counter()})

    assert differing == {"a": ({"count": 1}, {"count": 2})}


def test_what_is_equal_to_itself_alone_is_compared_by_its_kind() -> None:
    """A lock of one service is never the lock of another."""
    assert differing_records({"a": Counter(odd=object())}, {"a": Counter(odd=object())}) == {}
    assert differing_records({"a": Counter(odd=object())}, {"a": Counter(odd=7)}) != {}


def test_records_of_keys_are_the_same() -> None:
    """Two runs never share a key: a difference in the origins of the keys alone does not count."""
    first, second = Counter(odd={"aaaa.1.0": ["aaaa.1.1"]}), Counter(odd={"bbbb.1.0": ["bbbb.1.1"]})

    assert differing_records({"a": first}, {"a": second}, ("aaaa", "bbbb")) == {}
    assert differing_records({"a": first}, {"a": second}, ("aaaa", "cccc")) != {}
    assert differing_records({"a": first}, {"a": Counter(odd=["bbbb.1.1"])}, ("aaaa", "bbbb")) != {}


def test_the_record_of_a_service_is_all_its_fields() -> None:
    """Fields in slots count too; a service that serves two steps has one record."""
    both = Counter(2)

    assert record_of(Slotted()) == {"count": 3}
    assert records_of({"a": both, "b": both, "c": Counter()}) == {
        "Counter": {"count": 2, "odd": None},
        "Counter of c": {"count": 0, "odd": None},
    }


def test_no_outcome_is_not_the_same_outcome() -> None:
    """Two runs without an outcome do not count as equal."""
    completed = recorded("choreography", "a").outcome

    assert is_same_outcome(completed, completed)
    assert not is_same_outcome(None, None)
    assert not is_same_outcome(completed, None)


# --- as it is shown ---------------------------------------------------------------------------------------------------


def test_a_comparison_ends_in_two_tables() -> None:
    """One table has the differences, the other the coupling."""
    result = choreo("compare", "a", "b", "c", "--fail", "c", width=100)

    printed = result.stdout.splitlines()
    assert result.exit_code == 0
    assert printed[printed.index("The same outcome in both styles, and this is it:") :] == lines("""
    The same outcome in both styles, and this is it:
    compensated: c failed (c was told to refuse); b and a were compensated, in this order; nothing is in
    force.

    The same records in two separate sets of services:
      Simulated: held = 0

     what differs             choreography              orchestration
     ─────────────────────────────────────────────────────────────────────────────────
     messages published       7                         12
       events                 7                         7
       commands               0                         5
     deliveries               9                         12
       nothing came of        0                         0
     hops to the outcome      7                         12
     subscriptions            20                        22
     state kept by            3 steps, coordinator      3 steps, orchestrator
       that one alone holds   log                       awaited, standing, failed, log
     a new step touches
       in the middle          3: a, b and coordinator   1: orchestrator
       at the end             2: c and coordinator      1: orchestrator
     while this one is down   coordinator               orchestrator
       executed               a and b                   nothing
       compensated            b and a                   nothing
       left in force          nothing                   nothing
       outcome                never reported            never reported

     who knows whom   choreography              orchestration
     ─────────────────────────────────────────────────────────────────────────
     a                client and b (3 topics)   orchestrator (2 topics)
     b                a and c (3 topics)        orchestrator (2 topics)
     c                b (1 topic)               orchestrator (2 topics)
     coordinator      c, a and b (10 topics)    ·
     orchestrator     ·                         client, a, b and c (13 topics)
     client           coordinator (3 topics)    orchestrator (3 topics)
    """)


@pytest.mark.parametrize(("width", "is_beside"), [(149, False), (150, True)])
def test_the_pictures_stand_beside_each_other_where_there_is_room(width: int, is_beside: bool) -> None:
    """From 150 columns on; below each other otherwise."""
    result = choreo("compare", *TRIP, "--fail", "book_car", width=width)

    first = result.stdout.splitlines()[0]
    assert first.split() == (["choreography", "orchestration"] if is_beside else ["choreography"])
    assert max(map(len, result.stdout.splitlines())) <= width


def test_sixty_steps_can_be_compared_in_eighty_columns() -> None:
    """Long lists say how many more there are."""
    steps = [f"step_{number}" for number in range(60)]

    result = choreo("compare", *steps, "--fail", "step_59")

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "54 more" in result.stdout


def test_a_comparison_as_json_has_all_of_it() -> None:
    """One object: the request, whether both styles agree, and each style's numbers."""
    result = choreo("compare", "a", "b+c", "d", "--fail", "d", "--json")

    compared_styles = json.loads(result.stdout)
    expected = figures("a", ("b", "c"), "d", fail_step="d")
    assert result.exit_code == 0
    assert compared_styles["steps"] == ["a", ["b", "c"], "d"]
    assert compared_styles["same_outcome"] is compared_styles["same_records"] is True
    for style in STYLES:
        shown = compared_styles[style]
        assert shown["outcome"]["state"] == "compensated"
        assert shown["messages"] == expected[style].messages
        assert shown["hops"] == expected[style].hops
        assert shown["reporter_down"]["executed"] == list(expected[style].reporter_down.executed)
        assert shown["step_in_the_middle"]["touched"] == list(expected[style].step_in_the_middle.touched)
        assert shown["records"] == {"Simulated": {"held": 0}}

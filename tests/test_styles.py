"""The two styles: the same saga, the same outcome, the same records, in any order of delivery."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.compile import STYLES, choreography
from choreo.compile.table import STARTED, Style, Table
from choreo.compile.watched import watched, with_down
from choreo.protocol.event import Command, Event, Fact, Topic
from choreo.protocol.participant import step_topic
from choreo.protocol.reaction import Phase, Subscription
from choreo.protocol.report import OutcomeTopics
from choreo.runtime.in_memory import InProcessRunner, NoOutcome
from choreo.saga.definition import Saga
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary, Plan, plan
from choreo.saga.service import ServiceOf
from tests.stories import (
    NAMES,
    Choice,
    Ledger,
    Mishap,
    ParsedTrace,
    blocked_by,
    choices,
    deliver,
    expect,
    itineraries,
    itinerary_of,
    positions_of,
    sagas,
    small_sagas,
    table_of,
    tell,
)

both_styles = pytest.mark.parametrize("style", sorted(STYLES))

RESERVED_BY_PYEE = {"error", "new_listener"}


# --- one saga at a time, as a story -----------------------------------------------------------------------------------


def test_a_chain_goes_forward_neighbour_by_neighbour() -> None:
    """Given three steps and no failure, each success starts the next step and the last one completes the saga."""
    story = tell("choreography", ("flight", "hotel", "car"))

    assert story.topics == [
        "saga/started",
        "step/flight/succeeded",
        "step/hotel/succeeded",
        "step/car/succeeded",
        "saga/completed",
    ]
    assert story.outcome == Outcome(State.COMPLETED, completed_steps=3)


def test_a_failure_goes_backward_neighbour_by_neighbour() -> None:
    """Given a failing third step, the second and then the first are compensated, and the third is not."""
    story = tell("choreography", ("flight", "hotel", "car", "tour"), fail_step="car")

    assert story.topics == [
        "saga/started",
        "step/flight/succeeded",
        "step/hotel/succeeded",
        "step/car/failed",
        "step/hotel/compensated",
        "step/flight/compensated",
        "saga/compensated",
    ]
    assert story.outcome == Outcome(State.COMPENSATED, 0, ("hotel", "flight"), None, "car was told to refuse")


def test_a_failed_branch_cancels_what_follows_and_compensates_its_siblings() -> None:
    """Given a failure inside a group, the join beyond it is cancelled, and that tells the sibling to compensate."""
    story = tell("choreography", ("flight", ("hotel", "car"), "tour"), fail_step="hotel")

    assert story.topics == [
        "saga/started",
        "step/flight/succeeded",
        "step/hotel/failed",
        "step/car/succeeded",
        "step/tour/cancelled",
        "step/car/compensated",
        "step/flight/compensated",
        "saga/compensated",
    ]


def test_the_orchestrator_asks_and_hears() -> None:
    """Given a failing second step, each step is commanded and replies; steps exchange no events."""
    story = tell("orchestration", ("flight", "hotel"), fail_step="hotel")

    assert story.topics == [
        "saga/started",
        "step/flight/execute",
        "step/flight/succeeded",
        "step/hotel/execute",
        "step/hotel/failed",
        "step/flight/compensate",
        "step/flight/compensated",
        "saga/compensated",
    ]


@both_styles
def test_the_first_step_that_fails_leaves_nothing_to_undo(style: str) -> None:
    """A saga whose first step refuses is compensated without any compensation."""
    story = tell(style, ("flight", "hotel"), fail_step="flight")

    assert story.outcome == Outcome(State.COMPENSATED, 0, (), None, "flight was told to refuse")
    assert story.ledger.calls == []


@both_styles
def test_a_name_that_stands_twice_fails_at_its_first_position(style: str) -> None:
    """`fail_step` means the first step of that name, `fail_compensation` every one of them."""
    first = tell(style, ("pay", "ship", "pay"), fail_step="pay")
    stuck = tell(style, ("pay", "ship", "pay", "mail"), fail_step="mail", fail_compensation="pay")

    assert first.ledger.effects == []
    assert stuck.outcome == Outcome(State.STUCK, 0, (), "pay", "the compensation of pay was told to fail")
    assert stuck.ledger.standing == [0, 1, 2]


@both_styles
@pytest.mark.parametrize("absent", ["tour", "", "Flight", "flight/succeeded"])
def test_a_fail_step_that_is_not_among_the_steps_fails_nothing(style: str, absent: str) -> None:
    """An unknown name has no effect, neither on the way forward nor backward."""
    story = tell(style, ("flight", "hotel"), fail_step=absent, fail_compensation=absent)

    assert story.outcome.state is State.COMPLETED


@both_styles
@pytest.mark.parametrize("itinerary", [(), ((),), ((), ())])
def test_a_saga_without_steps_is_completed(style: str, itinerary: Itinerary) -> None:
    """An empty saga completes, at the cost of the start and the outcome."""
    story = tell(style, itinerary)

    assert story.outcome == Outcome(State.COMPLETED, completed_steps=0)
    assert story.topics == ["saga/started", "saga/completed"]


def test_a_branch_that_is_still_running_is_compensated_as_soon_as_it_succeeds() -> None:
    """A late success is compensated: the step beyond it was cancelled when its sibling failed."""
    fork = ("flight", ("hotel", "car"), "tour")

    told = deliver(choreography, fork, Mishap("hotel"), late=("step/tour/cancelled", "car"))

    assert told.outcome.compensated_steps == ("car", "flight")
    assert told.ledger.executed == [0, 2]
    assert told.ledger.standing == []


def test_a_branch_that_was_cancelled_before_it_began_never_begins() -> None:
    """A late start is ignored: the undo that came first has left its tombstone."""
    fork = (("hotel", "car"), "tour")

    told = deliver(choreography, fork, Mishap("hotel"), late=("saga/started", "car"))

    assert told.outcome == Outcome(State.COMPENSATED, 0, (), None, "hotel was told to refuse")
    assert positions_of(told.events, Fact.CANCELLED) == [2, 1]
    assert told.ledger.calls == []


def test_a_last_step_that_is_still_running_is_compensated_as_soon_as_it_succeeds() -> None:
    """Where several last steps meet, the coordinator informs the others of a failure."""
    fork = ("flight", ("hotel", "car"))

    told = deliver(choreography, fork, Mishap("hotel"), late=("step/flight/succeeded", "car"))

    assert told.outcome.state is State.COMPENSATED
    assert told.ledger.executed == [0]
    assert told.ledger.standing == []


def test_a_report_lists_the_last_first_even_if_it_is_heard_of_late() -> None:
    """The list has the order of compensation, not the order of arrival."""
    chain = ("flight", "hotel", "car")

    told = deliver(choreography, chain, Mishap("car"), late=("step/hotel/compensated", "coordinator"))

    assert told.ledger.compensated == [1, 0]
    assert told.outcome.compensated_steps == ("hotel", "flight")


# --- first in, first out: both styles, against a yardstick ------------------------------------------------------------


@both_styles
@settings(deadline=None, max_examples=600)
@given(sagas())
def test_a_saga_does_what_can_be_worked_out_by_hand(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """Outcome and effects, in their order, are those that follow from the itinerary group by group."""
    itinerary, mishap = saga
    compiled = plan(itinerary)
    expected = expect(itinerary, mishap.refusing_in(compiled), mishap.stubborn_in(compiled))

    story = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)

    assert story.ledger.effects == expected.effects
    assert _told(story.outcome) == expected[:4]
    assert story.left == []
    assert len(story.outcome_events) == 1


def _told(outcome: Outcome) -> tuple[State, int, tuple[str, ...], str | None]:
    return outcome.state, outcome.completed_steps, outcome.compensated_steps, outcome.stuck_step


@settings(deadline=None, max_examples=600)
@given(sagas())
def test_both_styles_tell_the_same_story(saga: tuple[Itinerary, Mishap]) -> None:
    """The same outcome with the same reason, and the same calls to the same services in the same order."""
    itinerary, mishap = saga

    one, other = (
        tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation) for style in STYLES
    )

    assert one.outcome == other.outcome
    assert one.ledger.calls == other.ledger.calls
    assert one.ledger.effects == other.ledger.effects


@both_styles
@settings(deadline=None)
@given(sagas())
def test_compensation_is_the_exact_reverse_of_execution(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """Every step that succeeded is undone once, last first; a step that failed or never began is not undone."""
    itinerary, mishap = saga
    mishap = mishap._replace(fail_compensation=None, stubborn=frozenset())

    story = tell(style, itinerary, mishap.ledger(), mishap.fail_step)

    if story.outcome.state is State.COMPLETED:
        assert story.ledger.executed == list(range(len(plan(itinerary).steps)))
        assert story.ledger.compensated == []
    else:
        assert story.ledger.compensated == story.ledger.executed[::-1]
        assert story.ledger.standing == []
        assert not set(positions_of(story.events, Fact.FAILED)) & set(story.ledger.compensated)


@both_styles
@settings(deadline=None)
@given(st.lists(NAMES, max_size=8).map(tuple), st.data())
def test_a_chain_costs_one_event_a_step_each_way(style: str, chain: tuple[str, ...], data: st.DataObject) -> None:
    """Start, one fact a step forward, one a step backward, outcome; the orchestrator adds its commands to that."""
    fail_step = data.draw(st.none() | (st.sampled_from(chain) if chain else st.nothing()))

    story = tell(style, chain, fail_step=fail_step)

    reached = len(chain) if fail_step is None else chain.index(fail_step) + 1
    undone = 0 if fail_step is None else reached - 1
    commands = reached + undone if style == "orchestration" else 0
    assert len(story.events) == 1 + reached + undone + 1 + commands
    assert len([event for event in story.events if event.topic.fact in list(Command)]) == commands
    assert Fact.CANCELLED not in [event.topic.fact for event in story.events]


@settings(deadline=None)
@given(sagas())
def test_nobody_commands_in_choreography(saga: tuple[Itinerary, Mishap]) -> None:
    """No command is published, and none could be heard."""
    itinerary, mishap = saga

    story = tell("choreography", itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)

    heard = [row.topic.fact for row in table_of("choreography", itinerary).subscriptions]
    assert not any(isinstance(fact, Command) for fact in [*heard, *(event.topic.fact for event in story.events)])


@both_styles
@settings(deadline=None)
@given(sagas())
def test_every_event_has_a_cause_and_an_id_of_its_own(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """All events but the first name one that was published earlier, and no fact is published twice."""
    itinerary, mishap = saga

    story = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)

    ids = [event.id for event in story.events]
    assert len(set(ids)) == len(ids)
    assert story.events[0].causation_id is None
    assert all(event.causation_id in ids[:index] for index, event in enumerate(story.events) if index)


@both_styles
@settings(deadline=None)
@given(sagas())
def test_the_number_of_events_is_bounded_by_the_plan(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """No event storm: two facts a step, as many commands, and three events of the saga itself."""
    itinerary, mishap = saga

    story = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)

    per_step = 2 if style == "choreography" else 4
    assert len(story.events) <= per_step * len(plan(itinerary).steps) + 3


@settings(deadline=None, max_examples=600)
@given(itineraries())
@example(("a", "a/succeeded", "a", "a/succeeded/2", "a/succeeded"))
@example(("a/failed", "a", "a", "", "", "/", "2"))
def test_topics_never_collide(itinerary: Itinerary) -> None:
    """For any step names, an address on the bus means one fact of one position, or one of the saga."""
    compiled = plan(itinerary)

    topics = _all_topics(compiled)

    assert len({topic.name for topic in topics}) == len(topics)
    assert not RESERVED_BY_PYEE & {topic.name for topic in topics}


def _all_topics(compiled: Plan) -> list[Topic]:
    outcomes = OutcomeTopics("coordinator")
    steps = [
        step_topic(compiled, position, fact)
        for position in range(len(compiled.steps))
        for fact in [*list(Fact), *list(Command)]
    ]
    saga = [STARTED, outcomes.completed, outcomes.compensated, outcomes.stuck]
    return [*steps, *saga, Topic("saga/cancelled", Fact.CANCELLED, "coordinator")]


@both_styles
@settings(deadline=None)
@given(itineraries())
def test_a_table_uses_one_topic_for_one_address(style: str, itinerary: Itinerary) -> None:
    """No two rows of a table mean different things by one name."""
    table = table_of(style, itinerary)

    meaning = {row.topic.name: row.topic for row in table.subscriptions}

    assert all(meaning[row.topic.name] == row.topic for row in table.subscriptions)
    assert {row.seat for row in table.subscriptions} <= set(range(len(table.cells)))
    assert all(table.subscribers[row.seat] == row.subscriber for row in table.subscriptions)


@settings(deadline=None)
@given(itineraries())
def test_in_choreography_a_step_hears_its_neighbours_and_the_saga(itinerary: Itinerary) -> None:
    """A step knows only its neighbours; the first and last steps also know the source and the sink."""
    compiled = plan(itinerary)

    for row in table_of("choreography", itinerary).subscriptions:
        if row.seat < len(compiled.steps):
            neighbours = {*compiled.predecessors[row.seat], *compiled.successors[row.seat]}
            ends = {"saga/started": compiled.first, "saga/cancelled": compiled.last}
            assert row.topic.position in neighbours or row.seat in ends.get(row.topic.name, ())


@settings(deadline=None)
@given(itineraries())
def test_in_orchestration_a_step_hears_its_own_commands_only(itinerary: Itinerary) -> None:
    """A step knows only the orchestrator."""
    compiled = plan(itinerary)

    for row in table_of("orchestration", itinerary).subscriptions:
        if row.seat < len(compiled.steps):
            assert isinstance(row.topic.fact, Command)
            assert row.topic.position == row.seat


# --- any order, decided by nobody -------------------------------------------------------------------------------------


def assert_effects_are_right(told: ParsedTrace) -> None:
    """One outcome, and effects that bear it out, at that moment and ever after (S1 to S5, S7 and S8)."""
    executed, compensated, order = told.ledger.executed, told.ledger.compensated, told.ledger.effects
    assert len(told.outcomes) == 1
    assert max(Counter(order).values(), default=1) == 1, "nothing is done twice"
    assert set(compensated) <= set(executed), "nothing is undone that was not done"
    assert all(_index(order, p, "execute") < _index(order, p, "compensate") for p in compensated)
    assert not set(positions_of(told.events, Fact.FAILED)) & set(compensated)
    for position in compensated:
        for later in set(told.plan.successors[position]) & set(compensated):
            assert compensated.index(later) < compensated.index(position), "last first"
    if told.outcome.state is State.COMPLETED:
        assert told.standing == [list(range(len(told.plan.steps)))]
        assert compensated == []
    elif told.outcome.state is State.COMPENSATED:
        assert told.standing == [[]]
        assert told.ledger.standing == []
    else:
        stuck = positions_of(told.events, Fact.COMPENSATION_FAILED)
        assert told.ledger.standing == blocked_by(told.plan, stuck)
        assert told.standing == [told.ledger.standing], "the outcome waits for all that can be undone"


def _index(effects: Sequence[tuple[str, int, str]], position: int, verb: str) -> int:
    return next(index for index, entry in enumerate(effects) if entry[1:] == (position, verb))


def assert_report_is_honest(told: ParsedTrace) -> None:
    """The outcome lists exactly the compensated steps, in a possible order, and the cause of compensation."""
    outcome, steps = told.outcome, told.plan.steps
    assert Counter(outcome.compensated_steps) == Counter(steps[position] for position in told.ledger.compensated)
    listed = [steps.index(step) for step in outcome.compensated_steps]
    for index, position in enumerate(listed):
        assert not set(told.plan.successors[position]) & set(listed[index:]), "last first"
    if outcome.state is State.STUCK:
        assert outcome.stuck_step in [steps[p] for p in positions_of(told.events, Fact.COMPENSATION_FAILED)]
        assert outcome.reason is not None
    if outcome.state is State.COMPENSATED:
        assert outcome.reason in _reasons(told.events)


def _reasons(events: list[Event]) -> list[str | None]:
    return [event.reason for event in events if event.topic.fact is Fact.FAILED]


@pytest.mark.slow
@both_styles
@settings(deadline=None, max_examples=1000)
@given(small_sagas(), choices())
def test_effects_are_right_in_any_order_of_delivery(
    style: str, saga: tuple[Itinerary, Mishap], order: list[Choice]
) -> None:
    """For any order of delivery, a run ends with one outcome, and the services' records match it."""
    told = deliver(STYLES[style], *saga, order)

    assert_effects_are_right(told)


@pytest.mark.slow
@both_styles
@settings(deadline=None, max_examples=1000)
@given(small_sagas(), choices())
def test_the_report_is_honest_in_any_order_of_delivery(
    style: str, saga: tuple[Itinerary, Mishap], order: list[Choice]
) -> None:
    """For any order of delivery, the outcome lists the compensated steps and the reason."""
    told = deliver(STYLES[style], *saga, order)

    assert_report_is_honest(told)


@pytest.mark.slow
@both_styles
@settings(deadline=None, max_examples=1000)
@given(small_sagas(), choices())
def test_the_report_is_honest_where_causes_are_heard_before_effects(
    style: str, saga: tuple[Itinerary, Mishap], order: list[Choice]
) -> None:
    """For any causal order of delivery, the outcome lists the compensated steps and the cause."""
    told = deliver(STYLES[style], *saga, order, causal=True)

    assert_effects_are_right(told)
    assert_report_is_honest(told)


@pytest.mark.slow
@both_styles
@settings(deadline=None, max_examples=1000)
@given(small_sagas(), choices(duplicates=True))
def test_duplicates_have_no_effect(style: str, saga: tuple[Itinerary, Mishap], order: list[Choice]) -> None:
    """Deliveries that are made more than once, in any order, change neither the effects nor the one outcome."""
    told = deliver(STYLES[style], *saga, order)

    assert_effects_are_right(told)


@pytest.mark.slow
@both_styles
@settings(deadline=None, max_examples=1000)
@given(small_sagas(), choices(duplicates=True))
def test_duplicates_are_reported_once(style: str, saga: tuple[Itinerary, Mishap], order: list[Choice]) -> None:
    """Deliveries that are made more than once, cause before effect, do not show in the report."""
    told = deliver(STYLES[style], *saga, order, causal=True)

    assert_report_is_honest(told)


# --- the yardsticks find what they are for ----------------------------------------------------------------------------


def _rewired(rewire: Callable[[Subscription], Subscription]) -> Style:
    def compile_rewired(saga: Saga, service_of: ServiceOf) -> Table:
        table = choreography(saga, service_of)
        return replace(table, subscriptions=tuple(map(rewire, table.subscriptions)))

    return compile_rewired


def _without_moves(row: Subscription, phase: Phase) -> Subscription:
    moves = (None if p is phase else reaction for p, reaction in zip(Phase, row.moves, strict=True))
    return replace(row, moves=tuple(moves))


def test_a_join_that_does_not_hear_of_a_failure_is_found() -> None:
    """A planted bug: the sibling of the failed step waits for ever, and the run has no outcome."""
    deaf = _rewired(
        lambda row: (
            replace(row, moves=(None,) * len(Phase))
            if (row.subscriber, row.topic.name) == ("tour", "step/hotel/failed")
            else row
        )
    )

    told = deliver(deaf, (("hotel", "car"), "tour"), Mishap("hotel"))

    with pytest.raises(AssertionError):
        assert_effects_are_right(told)


def test_a_participant_without_a_tombstone_is_found() -> None:
    """Planted bug: a step that was cancelled before it began begins all the same, and is never undone."""
    eager = _rewired(
        lambda row: (
            _without_moves(row, Phase.WAITING) if row.subscriber == "car" and row.topic.fact is Fact.CANCELLED else row
        )
    )

    told = deliver(eager, (("hotel", "car"), "tour"), Mishap("hotel"), late=("saga/started", "car"))

    with pytest.raises(AssertionError):
        assert_effects_are_right(told)


def test_a_participant_without_an_inbox_is_found() -> None:
    """A planted bug: a step that reacts to a duplicate runs twice, while the outcome alone looks right."""
    forgetful = _rewired(
        lambda row: replace(row, moves=(row.moves[Phase.WAITING],) * len(Phase)) if row.subscriber == "hotel" else row
    )

    told = deliver(forgetful, ("hotel", "car"), Mishap(), [Choice(again=True)])

    assert told.outcome.state is State.COMPLETED
    with pytest.raises(AssertionError):
        assert_effects_are_right(told)


def test_every_outcome_is_reached_among_all_small_sagas() -> None:
    """Up to three groups of up to three steps, any of which may fail and any be stuck: each as worked out by hand."""
    outcomes: Counter[str] = Counter()
    for widths in (w for depth in (1, 2, 3) for w in product((1, 2, 3), repeat=depth)):
        itinerary = itinerary_of(widths)
        positions = [None, *range(sum(widths))]
        for fails, sticks in product(positions, repeat=2):
            refusing, stubborn = ([] if p is None else [p] for p in (fails, sticks))
            expected = expect(itinerary, refusing, stubborn)
            for style in STYLES:
                story = tell(style, itinerary, Ledger(refusing=refusing, stubborn=stubborn))
                assert (_told(story.outcome), story.ledger.effects) == (expected[:4], expected.effects)
                outcomes[story.outcome.state] += 1

    assert outcomes == {"completed": 486, "compensated": 1536, "stuck": 1264}


# --- styles wrapped ---------------------------------------------------------------------------------------------------


@both_styles
@settings(deadline=None, max_examples=50)
@given(sagas())
def test_watching_changes_nothing(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """A watched style reports every delivery, and behaves as it does unwatched."""
    itinerary, mishap = saga
    seen: list[tuple[str, str]] = []
    ledger = mishap.ledger()
    wrapped = watched(STYLES[style], lambda event, subscriber: seen.append((event.topic.name, subscriber)))

    outcome = InProcessRunner(ledger.service_of, {style: wrapped}).execute(
        "saga-1", itinerary, mishap.fail_step, mishap.fail_compensation, style
    )

    plain = tell(style, itinerary, mishap.ledger(), mishap.fail_step, mishap.fail_compensation)
    rows = table_of(style, itinerary).subscriptions
    assert outcome == plain.outcome
    assert ledger.calls == plain.ledger.calls
    assert seen == [(name, row.subscriber) for name in plain.topics for row in rows if row.topic.name == name]


@pytest.mark.parametrize(("style", "subscriber"), [("choreography", "coordinator"), ("orchestration", "orchestrator")])
def test_a_run_without_its_collector_has_no_outcome(style: str, subscriber: str) -> None:
    """Without its collector the run ends unanswered, and the output says so."""
    runner = InProcessRunner(Ledger().service_of, {style: with_down(STYLES[style], subscriber)})

    with pytest.raises(NoOutcome, match=r"run-1 of saga 'saga-1' came to rest without an outcome"):
        runner.execute("saga-1", ("a", "b"), style=style)

    assert runner._pending == []  # noqa: SLF001  # whether it is empty is what is asked


def test_in_choreography_the_saga_goes_on_without_its_coordinator() -> None:
    """The coordinator is not needed: the effects are the same, only the report is missing."""
    ledger = Ledger()
    runner = InProcessRunner(ledger.service_of, {"choreography": with_down(choreography, "coordinator")})

    with pytest.raises(NoOutcome):
        runner.execute("saga-1", ("a", "b", "c"), fail_step="c")

    assert ledger.executed == [0, 1]
    assert ledger.standing == []


@both_styles
def test_a_collector_that_is_down_does_not_take_a_step_of_that_name_with_it(style: str) -> None:
    """Any string is a legal step name, also that of the coordinator or the orchestrator."""
    collector = {"choreography": "coordinator", "orchestration": "orchestrator"}[style]
    itinerary = (collector, "b")
    seat = len(itinerary)

    rows = with_down(STYLES[style], collector)(Saga.of(itinerary), Ledger().service_of).subscriptions

    silent = {row.seat for row in rows if not any(row.moves)}
    assert silent in ({0}, {seat}), "one hearer is down, not two"

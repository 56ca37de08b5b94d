"""The durable runner: the same sagas as in memory, and each of them goes on from wherever it was cut."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.protocol.event import Event
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.runtime.runner import Conflict, RunHandle
from choreo.saga.keys import execution_key, read_key
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary, PlanTooLarge, plan
from choreo.saga.request import Request, Sender
from choreo.saga.service import Refused, ServiceOf
from choreo.storage.sqlite.journal import Journal
from tests.stories import Mishap, sagas

both_styles = pytest.mark.parametrize("style", sorted(STYLES))
styles = st.sampled_from(sorted(STYLES))

TRIP: Itinerary = ("book_flight", "book_hotel", "book_car")


class ResourceStore:
    """One service for every step: its fields can be stored in a journal, and it refuses on request."""

    def __init__(self, mishap: Mishap = Mishap()) -> None:  # noqa: B008  # a value
        self.refusing = mishap.refusing
        self.stubborn = mishap.stubborn
        self.effects: list[tuple[str, str]] = []

    def __getstate__(self) -> Any:
        return {"effects": self.effects}

    def execute(self, reference: str) -> tuple[str, str]:
        if _position(reference) in self.refusing:
            raise Refused(f"refused at {reference}")
        self.effects.append(("execute", reference))
        return "receipt", reference

    def compensate(self, reference: str, receipt: object) -> None:
        if _position(reference) in self.stubborn:
            raise Refused(f"stubborn at {reference}")
        assert receipt == ("receipt", execution_key(reference))
        self.effects.append(("compensate", reference))


def _position(reference: str) -> int:
    return read_key(reference).position


def always(service: ResourceStore) -> ServiceOf:
    return lambda step: service


class Clock:
    """Counts milliseconds, one a look."""

    def __init__(self) -> None:
        self._ms = itertools.count(1_000_000)

    def __call__(self) -> int:
        return next(self._ms)


@contextmanager
def journal_file() -> Iterator[str]:
    with TemporaryDirectory() as directory:
        yield str(Path(directory, "sagas.db"))


@contextmanager
def durable(path: str, service_of: ServiceOf, **options: Any) -> Iterator[DurableRunner]:
    """Open a runner as a process does; leaving the block is its death, at any point."""
    journal = Journal.open(path)
    try:
        yield DurableRunner(service_of, journal, Clock(), **options)
    finally:
        journal.close()


class Died(BaseException):
    """Stands for the death of the process."""


def dying(commits: int) -> Callable[[DurableRunner], None]:
    """Makes a runner die when it is about to commit for the time after so many."""

    def arm(runner: DurableRunner) -> None:
        rounds = runner._rounds  # noqa: SLF001  # each of them ends in a commit
        commit, left = rounds.commit, itertools.count(commits, -1)

        def commit_or_die() -> None:
            if not next(left):
                raise Died
            commit()

        rounds.commit = commit_or_die  # type: ignore[method-assign]  # the death is planted here

    return arm


# --- the same sagas as in memory --------------------------------------------------------------------------------------


@given(saga=sagas(), style=styles)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
def test_a_saga_ends_as_it_does_in_memory(saga: tuple[Itinerary, Mishap], style: str) -> None:
    """The same outcome, the same calls in the same order of each run, and the same events of each publisher."""
    steps, mishap = saga
    here, there = ResourceStore(mishap), ResourceStore(mishap)
    told: list[Event] = []
    kept: list[Event] = []

    expected = InProcessRunner(always(here), observe=told.append, origin="one").execute(
        "saga-1", steps, mishap.fail_step, mishap.fail_compensation, style
    )
    with journal_file() as path, durable(path, always(there), observe=kept.append, origin="one") as runner:
        outcome = runner.execute("saga-1", steps, mishap.fail_step, mishap.fail_compensation, style)

    assert outcome == expected
    assert Counter(there.effects) == Counter(here.effects)
    assert Counter(event.id for event in kept) == Counter(event.id for event in told)
    assert {event.id: event.causation_id for event in kept} == {event.id: event.causation_id for event in told}


# --- cut anywhere -----------------------------------------------------------------------------------------------------


@given(saga=sagas(), style=styles, cuts=st.lists(st.integers(0, 6), max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100)
def test_a_saga_that_is_cut_anywhere_ends_as_if_nothing_had_been(
    saga: tuple[Itinerary, Mishap], style: str, cuts: list[int]
) -> None:
    """Whenever the process dies, and however often: one outcome, each effect once, the client asking again."""
    steps, mishap = saga
    untouched = ResourceStore(mishap)
    request = Request("saga-1", steps, mishap.fail_step, mishap.fail_compensation, style)
    expected = InProcessRunner(always(untouched), origin="one").begin(request)

    with journal_file() as path:
        for cut in cuts:
            with durable(path, always(ResourceStore(mishap)), origin="one") as runner:
                dying(cut)(runner)
                try:
                    _all_of(runner, request)
                except Died:
                    continue
        books = ResourceStore(mishap)
        with durable(path, always(books), origin="one") as runner:
            outcome = _all_of(runner, request)
            again = _all_of(runner, request)
        row = _only_run(path)

    assert outcome == again == expected
    assert Counter(books.effects) == Counter(untouched.effects)
    assert row.state == expected.state


def _all_of(runner: DurableRunner, request: Request) -> Outcome | None:
    """Behave as a client: let the node resume, and ask again."""
    list(runner.recover())
    answer = runner.begin(request)
    runner.run_until_idle()
    return answer if isinstance(answer, Outcome) else answer.outcome


def _only_run(path: str) -> Any:
    journal = Journal.open_to_read(path)
    (row,) = journal.runs()
    journal.close()
    return row


@both_styles
def test_a_run_that_was_cut_is_resumed_before_anybody_asks(style: str) -> None:
    """The request is known by its sender, so the reply can be addressed although the client never asks again."""
    with journal_file() as path:
        with durable(path, always(ResourceStore())) as runner:
            dying(2)(runner)
            runner.begin(Request("trip-1", TRIP, style=style), Sender("c1", 7, "n1"))
            with pytest.raises(Died):
                runner.run_until_idle()

        with durable(path, always(ResourceStore())) as runner:
            (((request, sender, under_way),),) = runner.recover()

    assert (request.saga_id, sender) == ("trip-1", Sender("c1", 7, "n1"))
    assert under_way.outcome == Outcome(State.COMPLETED, completed_steps=3)


def test_many_runs_are_resumed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """More unfinished runs than are resumed side by side: the oldest first, and none is left out."""
    monkeypatch.setattr("choreo.runtime.durable.recovery.RECOVERED_TOGETHER", 3)
    with journal_file() as path:
        with durable(path, always(ResourceStore())) as runner:
            dying(2)(runner)
            for number in range(10):
                runner.begin(Request(number, TRIP))
            with pytest.raises(Died):
                runner.run_until_idle()

        with durable(path, always(ResourceStore())) as runner:
            resumed = [
                (request.saga_id, under_way.outcome)
                for pending_replies in runner.recover()
                for request, _, under_way in pending_replies
            ]
            again = list(runner.recover())

    assert [saga_id for saga_id, _ in resumed] == list(range(10))
    assert all(outcome is not None and outcome.state is State.COMPLETED for _, outcome in resumed)
    assert again == []


def test_keys_are_never_given_out_twice() -> None:
    """A service of another company may know a transaction by its key: each process begins runs under an origin."""
    with journal_file() as path:
        for number in range(3):
            books = ResourceStore()
            with durable(path, always(books), origin=f"process{number}") as runner:
                runner.execute(f"trip-{number}", ("a", "b"))
            seen = [reference for _, reference in books.effects]

    assert seen == [
        *("process0.1.0", "process0.1.1"),
        *("process1.2.0", "process1.2.1"),
        *("process2.3.0", "process2.3.1"),
    ]


# --- asked again ------------------------------------------------------------------------------------------------------


@both_styles
def test_a_request_that_is_made_again_executes_nothing(style: str) -> None:
    """Before the end it waits for the same outcome, after it the record answers, and after a restart too."""
    request, books = Request("trip-1", TRIP, "book_car", None, style), ResourceStore()
    with journal_file() as path:
        with durable(path, always(books)) as runner:
            first, second = runner.begin(request), runner.begin(request, Sender("another", 9))
            runner.run_until_idle()
            third = runner.begin(request)
        with durable(path, always(books)) as runner:
            fourth = runner.begin(request)

    assert isinstance(first, RunHandle)
    assert second is first
    assert first.outcome == third == fourth
    assert len(books.effects) == 4, "two steps, and both undone"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Request("trip-1", ("book_flight",)), '"book_hotel"'),
        (Request("trip-1", TRIP, "book_car"), 'fail_step null; expected the same, got fail_step "book_car"'),
        (Request("trip-1", TRIP, None, "book_car"), "fail_compensation"),
        (Request("trip-1", TRIP, style="orchestration"), "with style choreography; expected the same, got style orch"),
    ],
)
def test_the_same_saga_with_other_content_is_refused(other: Request, told: str) -> None:
    """While it runs and afterwards; the error shows the recorded content, and no step is executed."""
    books = ResourceStore()
    with journal_file() as path, durable(path, always(books)) as runner:
        runner.begin(Request("trip-1", TRIP))
        with pytest.raises(Conflict, match="trip-1") as while_it_runs:
            runner.begin(other)
        runner.run_until_idle()
        with pytest.raises(Conflict) as afterwards:
            runner.begin(other)

    assert str(while_it_runs.value) == str(afterwards.value)
    assert told in str(afterwards.value)
    assert len(books.effects) == 3


def test_a_number_and_the_same_digits_are_two_sagas() -> None:
    """5 and "5" are different ids in JSON, and so they are here; a number may be of any size."""
    books = ResourceStore()
    with journal_file() as path, durable(path, always(books)) as runner:
        for saga_id in (5, "5", 10**40, str(10**40)):
            runner.execute(saga_id, ("a",))

        found = runner.status(10**40)

    assert len(books.effects) == 4
    assert found is not None


def test_a_long_itinerary_is_refused_as_in_memory() -> None:
    """A refused itinerary leaves no row in the journal."""
    with journal_file() as path:
        with durable(path, always(ResourceStore())) as runner, pytest.raises(PlanTooLarge):
            runner.begin(Request("long", ("a",) * 100_001))
        journal = Journal.open_to_read(path)
        assert journal.runs() == []
        journal.close()


# --- stuck, and resumed -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(saga=sagas(), style=styles, cuts=st.lists(st.integers(0, 5), max_size=2))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60, deadline=None)
def test_a_stuck_run_ends_compensated_once_its_compensations_work(
    saga: tuple[Itinerary, Mishap], style: str, cuts: list[int]
) -> None:
    """Resumed after the cause is gone, cut or not: everything is undone once, in reverse; the first reply stays."""
    steps, mishap = saga
    request = Request("saga-1", steps, mishap.fail_step, mishap.fail_compensation, style)
    books = ResourceStore(mishap)
    with journal_file() as path:
        with durable(path, always(books)) as runner:
            first = _all_of(runner, request)
            assert first is not None
        assume(first.state is State.STUCK)
        for cut in cuts:
            with durable(path, always(ResourceStore(Mishap(refusing=mishap.refusing)))) as runner:
                dying(cut)(runner)
                try:
                    _resumen(runner, path)
                except Died:
                    continue
        books = ResourceStore(Mishap(refusing=mishap.refusing))
        with durable(path, always(books)) as runner:
            _resumen(runner, path)
            again = _all_of(runner, request)
        row = _only_run(path)

    assert again == first, "a request has one reply, for ever"
    assert row.state == row.resolution.state == State.COMPENSATED
    done = [reference for what, reference in books.effects if what == "execute"]
    undone = [execution_key(reference) for what, reference in books.effects if what == "compensate"]
    assert sorted(done) == sorted(undone)
    assert len(set(done)) == len(done)
    _assert_reverse(plan(steps), [_position(reference) for reference in undone])
    assert sorted(row.resolution.compensated_steps) == sorted(plan(steps).steps[_position(r)] for r in undone)


def _resumen(runner: DurableRunner, path: str) -> None:
    list(runner.recover())
    row = _only_run(path)
    if row.state == State.STUCK:
        runner.resume(row)


def _assert_reverse(plan: Any, undone: list[int]) -> None:
    at = {position: index for index, position in enumerate(undone)}
    for position in undone:
        for successor in plan.successors[position]:
            assert at.get(successor, -1) < at[position], "what depends on a step is undone before it"


@both_styles
def test_a_compensation_that_fails_again_leaves_the_run_stuck(style: str) -> None:
    """An operator may ask as often as they like."""
    books = ResourceStore(Mishap(stubborn=frozenset({0})))
    with journal_file() as path, durable(path, always(books)) as runner:
        runner.execute("trip-1", TRIP, "book_car", None, style)
        for _ in range(3):
            under_way = runner.resume(_only_run(path))
            assert under_way.outcome is not None
            assert under_way.outcome.state is State.STUCK
        books.stubborn = frozenset()
        runner.resume(_only_run(path))
        row = _only_run(path)
        with pytest.raises(ValueError, match="expected a run that is stuck, got 1, which is compensated"):
            runner.resume(row)

    assert row.state == State.COMPENSATED
    assert row.outcome.state is State.STUCK


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_run_that_cannot_go_on_harms_no_other() -> None:
    """A topic without a subscriber: an error for that run, while its neighbours end normally."""

    def deaf(itinerary: Any, service_of: ServiceOf, *terms: Any) -> Any:
        table = STYLES["choreography"](itinerary, service_of)
        return replace(table, subscriptions=tuple(r for r in table.subscriptions if "step/b/succ" not in r.topic.name))

    with journal_file() as path:
        with durable(path, always(ResourceStore()), styles={"choreography": deaf}) as runner:
            good, bad = runner.begin(Request("good", ("a", "c"))), runner.begin(Request("bad", ("a", "b", "c")))
            runner.run_until_idle()
        assert isinstance(good, RunHandle)
        assert isinstance(bad, RunHandle)
        assert good.outcome is not None
        assert bad.defect is not None
        assert "UnheardEvent" in bad.defect.summary

        with durable(path, always(ResourceStore())) as runner:
            (((request, _, mended),),) = runner.recover()

    assert request.saga_id == "bad"
    assert mended.outcome == Outcome(State.COMPLETED, completed_steps=3)

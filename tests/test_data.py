"""Data of a run: input and results, in every runner and in both styles, for services of every form."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from choreo import Call, Outcome, Refused, Saga, Step, parallel, pivot, retriable, step
from choreo.api import compose
from choreo.compile import STYLES
from choreo.compile.obeyed import NotObeyed
from choreo.conformance.journal import check_runs
from choreo.laboratory import explore, simulate
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.runtime.runner import Conflict
from choreo.saga.calls.catalogue import catalogue_of
from choreo.saga.outcome import State
from choreo.storage.sqlite.journal import Journal
from choreo.trace.sink import Sink
from choreo.trace.writer import Tracer

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class Orders:
    """Takes orders; a step of its own, and what undoes it."""

    def __init__(self) -> None:
        self.placed = 0

    @step
    def place(self, call: Call) -> dict[str, Any]:
        self.placed += 1
        return {"order": call.saga_id, "total": call.input["total"]}

    @place.compensation
    def withdraw(self, call: Call) -> None:
        assert dict(call.results) == {}
        if call.result is not None:
            assert call.result["total"] == call.input["total"]
            self.placed -= 1


class Payments:
    """Two steps of one object."""

    def __init__(self, limit: int = 200) -> None:
        self.limit, self.charged, self.noted = limit, 0, 0

    @step
    def charge(self, call: Call) -> int:
        total: int = call.results["place"]["total"]
        if self.charged + total > self.limit:
            raise Refused("declined")
        self.charged += total
        return total

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.charged -= call.result or 0

    @step("note")
    def note_it(self, call: Call) -> str:
        assert dict(call.results) == {"place": {"order": call.saga_id, "total": call.input["total"]}}
        self.noted += 1
        return "noted"

    @note_it.compensation
    def forget(self, call: Call) -> None:
        assert call.result == "noted"
        assert call.results["place"]["total"] == call.input["total"]
        self.noted -= 1


class Courier:
    """The lowest form, with a call."""

    def __init__(self) -> None:
        self.booked: list[str] = []

    def execute(self, call: Call) -> str:
        assert list(call.results) == ["place", "charge", "note"]
        assert call.results["charge"] == call.input["total"]
        assert call.results["note"] == "noted"
        self.booked.append(call.key)
        return f"parcel of {call.results['place']['order']}"

    def compensate(self, call: Call) -> None:
        self.booked.remove(call.key.removesuffix(".undo"))


ORDER = Saga("order", Orders.place, parallel(Payments.charge, Payments.note_it), pivot("ship"))


def make_services(limit: int = 200) -> dict[str, Any]:
    payments = Payments(limit)
    return {"place": Orders(), "charge": payments, "note": payments, "ship": Courier()}


@both_styles
def test_a_call_has_the_input_and_the_results_of_the_steps_before(style: str) -> None:
    services = make_services()

    outcome = InProcessRunner(catalogue_of(services)).execute("o-1", ORDER, style=style, input={"total": 60})

    assert outcome.state is State.COMPLETED
    assert (
        outcome.result
        == '{"place": {"order": "o-1", "total": 60}, "charge": 60, "note": "noted", "ship": "parcel of o-1"}'
    )
    assert (services["place"].placed, services["charge"].charged, services["note"].noted) == (1, 60, 1)


@both_styles
def test_a_compensation_has_the_result_of_its_step(style: str) -> None:
    services = make_services(limit=50)

    outcome = InProcessRunner(catalogue_of(services)).execute("o-1", ORDER, style=style, input={"total": 60})

    assert outcome.state is State.COMPENSATED
    assert outcome.result is None
    assert (services["place"].placed, services["charge"].charged, services["note"].noted) == (0, 0, 0)


@both_styles
def test_a_result_that_is_changed_later_is_not_changed_for_others(style: str) -> None:
    """Each call decodes a copy of its own."""

    class Shared:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        @step
        def make(self, call: Call) -> list[int]:
            self.made = [1, 2]
            return self.made

        @make.compensation
        def unmake(self, call: Call) -> None: ...

        @step
        def spoil(self, call: Call) -> None:
            self.made.append(3)
            call.results["make"].append(4)
            call.input.append("spoiled")

        @spoil.compensation
        def unspoil(self, call: Call) -> None: ...

        @step
        def look(self, call: Call) -> None:
            self.seen += [call.results["make"], call.input]

        @look.compensation
        def unlook(self, call: Call) -> None: ...

    shared = Shared()
    saga = Saga("shared", Shared.make, Shared.spoil, Shared.look)

    InProcessRunner(catalogue_of([shared])).execute("s", saga, style=style, input=["plain"])

    assert shared.seen == [[1, 2], ["plain"]]


@both_styles
def test_a_result_that_json_cannot_express_is_in_doubt_and_undone(style: str) -> None:
    class Odd:
        def __init__(self) -> None:
            self.undone = 0

        @step
        def hand_out(self, call: Call) -> object:
            return object()

        @hand_out.compensation
        def take_back(self, call: Call) -> None:
            assert call.result is None
            self.undone += 1

    odd = Odd()

    outcome = InProcessRunner(catalogue_of([odd])).execute("s", Saga("odd", Odd.hand_out), style=style)

    assert (outcome.state, outcome.in_doubt_steps, odd.undone) == (State.COMPENSATED, ("hand_out",), 1)
    assert "the result of hand_out" in str(outcome.defect)


@both_styles
def test_a_result_beyond_the_bound_is_in_doubt_and_undone(style: str) -> None:
    class Large:
        @step
        def hand_out(self, call: Call) -> str:
            return "x" * (64 * 1024 + 1)

        @hand_out.compensation
        def take_back(self, call: Call) -> None: ...

    outcome = InProcessRunner(catalogue_of([Large()])).execute("s", Saga("large", Large.hand_out), style=style)

    assert outcome.in_doubt_steps == ("hand_out",)
    assert "expected a result of at most 65,536 bytes" in str(outcome.defect)


@both_styles
def test_a_reference_and_a_receipt_are_served_as_well(style: str) -> None:
    class Old:
        def __init__(self) -> None:
            self.receipts: list[Any] = []

        def execute(self, reference: str) -> dict[str, int]:
            return {"rate": 80}

        def compensate(self, reference: str, receipt: Any) -> None:
            self.receipts.append((reference.endswith(".undo"), receipt))

    old = Old()

    InProcessRunner(catalogue_of({"a": old, "b": old})).execute("s", ("a", "b"), "b", style=style)

    assert old.receipts == [(True, {"rate": 80})]


@both_styles
@pytest.mark.parametrize("limit", [200, 50])
def test_the_laboratory_runs_real_services_on_real_inputs(style: str, limit: int) -> None:
    """Every order of events, every single fault."""
    found = explore(
        ORDER,
        {"total": 60},
        services=lambda: make_services(limit),
        faults=["drop", "duplicate", "crash"],
        max_faults=1,
        style=style,
    )

    found.assert_safe()
    (report,) = found.reports
    assert set(report.outcomes) == {"completed" if limit == 200 else "compensated"}


@both_styles
def test_the_simulator_runs_real_services_on_real_inputs(style: str) -> None:
    simulate(ORDER, {"total": 60}, services=make_services, seeds=50, style=style).assert_safe()


def test_explored_states_do_not_depend_on_the_order_in_which_results_arrive() -> None:
    """A saga with results has as many states as the same saga without."""

    def states(make: Callable[[], dict[str, Any]]) -> list[int | None]:
        saga = Saga("order", "place", parallel("charge", "note"), "ship")
        return [report.states for report in explore(saga, services=make, faults=["duplicate"], max_faults=1).reports]

    class Quiet:
        def execute(self, call: Call) -> int | None:
            return None

        def compensate(self, call: Call) -> None: ...

    class Telling(Quiet):
        def execute(self, call: Call) -> int | None:
            return 7

    quiet = states(lambda: dict.fromkeys(("place", "charge", "note", "ship"), Quiet()))
    telling = states(lambda: dict.fromkeys(("place", "charge", "note", "ship"), Telling()))

    assert quiet == telling


@both_styles
@pytest.mark.parametrize("limit", [200, 50])
def test_a_journal_keeps_the_input_the_results_and_the_saga(style: str, limit: int, tmp_path: Path) -> None:
    """A run that was cut off after any commit goes on with the same input, results and saga."""
    whole = outcome_of(InProcessRunner(catalogue_of(make_services(limit))), style)
    outcome, cuts = cut_off(
        tmp_path / "sagas.db", lambda: make_services(limit), lambda runner: outcome_of(runner, style)
    )

    assert outcome == whole
    assert cuts > 2, "it was cut off again and again"


@both_styles
def test_attempts_and_kinds_are_obeyed_durably_across_crashes(style: str, tmp_path: Path) -> None:
    """A retriable step is tried three times in all, and the pivot before it is not undone."""

    class Mail:
        def __init__(self) -> None:
            self.tries = 0

        @step(attempts=3)
        def send(self, call: Call) -> int:
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("no answer")
            return self.tries

    saga = Saga("mail", pivot("ship"), retriable(Mail.send))
    outcome, cuts = cut_off(
        tmp_path / "sagas.db",
        lambda: {"ship": Quiet(), "send": Mail()},
        lambda runner: runner.execute("m-1", saga, style=style),
    )

    assert cuts > 2
    assert (outcome.state, outcome.result) == (State.COMPLETED, '{"send": 3}')


@both_styles
def test_an_undo_that_works_at_the_second_attempt_ends_compensated(style: str, tmp_path: Path) -> None:
    """In doubt, retried in deliveries of their own, and cut off after any commit."""

    class Doubtful:
        def __init__(self) -> None:
            self.undone = 0

        @step(compensation_fails=1)
        def act(self, call: Call) -> None:
            raise RuntimeError("no answer")

        @act.compensation
        def undo(self, call: Call) -> None:
            self.undone += 1
            if self.undone < 2:
                raise RuntimeError("not now")

    saga = Saga("doubt", "before", Doubtful.act)
    outcome, cuts = cut_off(
        tmp_path / "sagas.db",
        lambda: {"before": Quiet(), "act": Doubtful()},
        lambda runner: runner.execute("d-1", saga, style=style),
    )

    assert cuts > 2
    assert (outcome.state, outcome.in_doubt_steps) == (State.COMPENSATED, ("act",))
    assert outcome.defect == "RuntimeError: no answer"


@both_styles
def test_what_needs_a_clock_is_refused_by_name(style: str, tmp_path: Path) -> None:
    saga = Saga("slow", Step("a", timeout_ms=50))

    with pytest.raises(NotObeyed, match=r"step\[0\]\.timeout_ms: expected none, because this runner has no clock"):
        InProcessRunner(catalogue_of({"a": Quiet()})).execute("s", saga, style=style)
    with durably(tmp_path / "sagas.db", {"a": Quiet()}) as runner, pytest.raises(NotObeyed, match="timeout_ms"):
        runner.execute("s", saga, style=style)


def test_a_run_keeps_the_saga_that_it_was_begun_with(tmp_path: Path) -> None:
    """A later version of the saga changes new runs only."""
    path = tmp_path / "sagas.db"
    with pytest.raises(Cut), durably(path, {"a": Quiet(), "b": Quiet()}, commits=3) as runner:
        runner.execute("old", Saga("order", "a", "b"))

    services = {"a": Quiet(), "b": Quiet(), "c": Quiet()}
    with durably(path, services) as runner:
        old = runner.execute("old", Saga("order", "a", "b", "c"))
        new = runner.execute("new", Saga("order", "a", "b", "c"))

    assert (old.completed_steps, new.completed_steps) == (2, 3)


class Quiet:
    """Does nothing, and says so."""

    def execute(self, call: Call) -> None: ...

    def compensate(self, call: Call) -> None: ...


class Cut(Exception):
    """The process ends here."""


class Cutting(Journal):
    """A journal whose process ends after so many commits."""

    left = -1

    def commit(self, *rows: Any) -> None:
        super().commit(*rows)
        self.left -= 1
        if not self.left:
            raise Cut


@contextmanager
def durably(path: Path, services: Any, commits: int = -1) -> Iterator[DurableRunner]:
    """A process with a journal, which ends after so many commits."""
    with closing(Cutting.open(str(path))) as journal:
        runner = DurableRunner(catalogue_of(services), journal, lambda: 0)
        journal.left = commits
        for _ in runner.recover():
            pass
        yield runner


def cut_off(path: Path, services: Callable[[], Any], run: Callable[[DurableRunner], Outcome]) -> tuple[Outcome, int]:
    """The outcome of a run whose process ends after one commit, the next one after two, and so on."""
    for cuts in range(100):
        try:
            with durably(path, services(), commits=cuts + 1) as runner:
                return run(runner), cuts
        except Cut:
            continue
    raise AssertionError("it never ends")


def outcome_of(runner: InProcessRunner | DurableRunner, style: str) -> Outcome:
    return runner.execute("o-1", ORDER, style=style, input={"total": 60})


@pytest.mark.parametrize(("bad", "undo_fails"), [(0, 0), (2, 0), (9, 0), (9, 1), (9, 9)])
@both_styles
def test_a_journal_of_retried_calls_holds(style: str, bad: int, undo_fails: int, tmp_path: Path) -> None:
    """Attempts are deliveries of their own: heard several times, and no violation of any rule."""

    class Failing:
        def __init__(self) -> None:
            self.tries = self.undone = 0

        def execute(self, call: Call) -> None:
            self.tries += 1
            if self.tries <= bad:
                raise RuntimeError("no answer")

        def compensate(self, call: Call) -> None:
            self.undone += 1
            if self.undone <= undo_fails:
                raise RuntimeError("not now")

    services = {"a": Quiet(), "p": Quiet(), "m": Failing(), "d": Failing()}
    path = tmp_path / "sagas.db"
    with durably(path, services) as runner:
        forward = runner.execute("1", Saga("forward", "a", pivot("p"), retriable("m")), style=style)
        backward = runner.execute("2", Saga("backward", "a", Step("d", compensation_fails=1)), style=style)

    assert str(forward.state) == ("completed" if bad < 3 else "stuck")
    assert str(backward.state) == ("completed" if not bad else "compensated" if undo_fails < 3 else "stuck")
    with closing(Journal.open_to_read(str(path))) as journal:
        report = check_runs(journal)
    assert report.violations == ()


def test_equal_inputs_are_the_same_request(tmp_path: Path) -> None:
    """Whatever the order of their keys; another input is another request."""
    with durably(tmp_path / "sagas.db", {"a": Quiet()}) as runner:
        first = runner.execute("o", ("a",), input={"x": 1, "y": [2]})

        assert runner.execute("o", ("a",), input={"y": [2], "x": 1}) == first
        with pytest.raises(Conflict, match=r"with input .one that is not shown.; expected the same, got input another"):
            runner.execute("o", ("a",), input={"x": 2})


@both_styles
def test_an_answer_that_cannot_be_kept_has_the_same_reason_with_a_journal(style: str, tmp_path: Path) -> None:
    class Odd(Quiet):
        def execute(self, call: Call) -> Any:
            return object()

    services = {"a": Quiet(), "b": Odd()}

    in_memory = InProcessRunner(catalogue_of(services)).execute("s", ("a", "b"), style=style)
    with durably(tmp_path / "sagas.db", services) as runner:
        assert runner.execute("s", ("a", "b"), style=style) == in_memory


def test_an_answer_that_cannot_be_kept_is_in_doubt_in_a_trace_of_calls(tmp_path: Path) -> None:
    """So the undo of it is no violation."""

    class Odd(Quiet):
        def execute(self, call: Call) -> Any:
            return object()

    path = tmp_path / "trace.jsonl"
    with path.open("wb") as file:
        tracer = Tracer(Sink(file.fileno(), lambda error: None))
        compose(catalogue_of({"a": Quiet(), "b": Odd()}), tracer, debug=True).execute("s", ("a", "b"))
        tracer.sink.flush()

    calls = [record for record in map(json.loads, path.read_text().splitlines()) if record["action"] == "execute"]
    assert [record.get("in_doubt", False) for record in calls] == [False, True]

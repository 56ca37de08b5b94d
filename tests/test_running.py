"""`choreo.run`, `choreo.compare` and `choreo.testing.given`: sagas from Python, as a reader of the README uses them."""

from typing import Any

import pytest

import choreo
from choreo import Call, Refused, Saga, parallel, pivot, retriable, step
from choreo.saga.calls.lookup import UnknownService
from choreo.testing import given


class Orders:
    def __init__(self) -> None:
        self.placed = 0

    @step
    def place(self, call: Call) -> str:
        self.placed += 1
        return f"order {call.saga_id}"

    @place.compensation
    def withdraw(self, call: Call) -> None:
        self.placed -= 1


class Payments:
    def __init__(self, limit: int = 200) -> None:
        self.limit, self.charged = limit, 0

    @step
    def charge(self, call: Call) -> int:
        total: int = call.input["total"]
        if self.charged + total > self.limit:
            raise Refused("declined")
        self.charged += total
        return total

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.charged -= call.result or 0


class Stock:
    def __init__(self) -> None:
        self.free = 1

    @step
    def reserve(self, call: Call) -> None:
        self.free -= 1

    @reserve.compensation
    def release(self, call: Call) -> None:
        self.free += 1


class Courier:
    @step("ship")
    def book(self, call: Call) -> None: ...


ORDER = Saga("order", Orders.place, parallel(Payments.charge, Stock.reserve), pivot(Courier.book))


def make_services(limit: int = 200) -> list[Any]:
    return [Orders(), Payments(limit), Stock(), Courier()]


# --- given, expect ----------------------------------------------------------------------------------------------------


def test_an_order_is_placed() -> None:
    (
        given(ORDER, {"total": 60}, services=make_services)
        .expect("place succeeded", "charge succeeded", "reserve succeeded", "ship succeeded")
        .outcome("completed")
        .result(charge=60)
        .state(Orders, placed=1)
        .state("charge", charged=60)
    )


def test_a_declined_card() -> None:
    (
        given(ORDER, {"total": 300}, services=make_services)
        .outcome("compensated", compensated=["reserve", "place"], reason="declined")
        .state(Orders, placed=0)
        .state(Payments, charged=0)
        .state(Stock, free=1)
    )


def test_steps_in_parallel_may_come_in_any_order() -> None:
    given(ORDER, {"total": 60}, services=make_services).expect(
        "place succeeded", "reserve succeeded", "charge succeeded", "ship succeeded"
    )


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (["place succeeded"], "not expected: charge succeeded, reserve succeeded, ship succeeded"),
        (["place failed"], "missing: place failed"),
        (
            ["ship succeeded", "place succeeded", "charge succeeded", "reserve succeeded"],
            "expected 'ship succeeded' before 'place succeeded', got them the other way round",
        ),
    ],
)
def test_other_events_than_expected_are_shown_with_the_diagram(events: list[str], message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        given(ORDER, {"total": 60}, services=make_services).expect(*events)

    assert message in str(caught.value)
    assert str(caught.value).startswith("choreography: ")
    assert "coordinator" in str(caught.value), "the diagram"


def test_another_outcome_or_state_than_expected_is_told() -> None:
    story = given(ORDER, {"total": 60}, services=make_services, style="orchestration")

    with pytest.raises(AssertionError, match="orchestration: outcome: expected 'stuck', got 'completed'"):
        story.outcome("stuck")
    with pytest.raises(AssertionError, match=r"orchestration: Payments\.charged: expected 1, got 60"):
        story.state(Payments, charged=1)
    with pytest.raises(AttributeError, match="did you mean 'charged'"):
        story.state(Payments, charge_d=1)
    with pytest.raises(LookupError, match="expected one Lessons among Courier, Orders, Payments, Stock, got 0"):
        story.state(type("Lessons", (), {}), x=1)


# --- run and compare --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_a_run_has_its_outcome_its_results_and_its_trace(style: str) -> None:
    run = choreo.run(ORDER, {"total": 60}, services=make_services, style=style)

    assert (run.style, str(run.outcome.state)) == (style, "completed")
    assert run.result == {"place": "order saga-1", "charge": 60}
    assert [record.seq for record in run.trace] == list(range(1, len(run.trace) + 1))
    assert (run.trace[-1].event, run.trace[-1].action) == ("saga.completed", "reply")
    assert "succeeded" in run.diagram()


def test_objects_are_copied_for_each_run() -> None:
    """The author's own are as before."""
    services = make_services()

    run = choreo.run(ORDER, {"total": 60}, services=services)

    assert (services[0].placed, run.service(Orders).placed) == (0, 1)


def test_both_styles_are_compared() -> None:
    assert choreo.compare(ORDER, {"total": 60}, services=make_services).is_same
    assert choreo.compare(ORDER, {"total": 300}, services=make_services).is_same


def test_a_fault_may_be_asked_for() -> None:
    run = choreo.run(ORDER, {"total": 60}, services=make_services, fail="reserve", fail_compensation="charge")

    assert (str(run.outcome.state), run.outcome.stuck_step) == ("stuck", "charge")


def test_a_list_of_names_is_a_saga_too() -> None:
    class Willing:
        def execute(self, call: Call) -> None: ...

        def compensate(self, call: Call) -> None: ...

    assert choreo.run(["a", ["b", "c"]], services=lambda step: Willing()).outcome.completed_steps == 3


# --- what is refused when things are put together ---------------------------------------------------------------------


def test_a_step_that_nobody_serves_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownService, match="no service serves step 'chagre'; did you mean 'charge'"):
        choreo.run(Saga("order", "chagre"), services=make_services)


def test_two_services_for_one_step_are_refused() -> None:
    with pytest.raises(choreo.NoServices, match=r"step 'charge': expected one service, got .*Payments and .*Payments"):
        choreo.run(ORDER, services=[Payments(), Payments()])


def test_an_object_that_is_no_service_is_refused() -> None:
    with pytest.raises(choreo.NoServices, match="expected objects with steps, by @step or steps = "):
        choreo.run(ORDER, services=[object()])


def test_an_async_step_is_refused_where_nobody_awaits_it() -> None:
    class Slow:
        @step
        async def charge(self, call: Call) -> None: ...

        @charge.compensation
        async def refund(self, call: Call) -> None: ...

    with pytest.raises(choreo.NoServices, match="expected a plain function, got async def"):
        choreo.run(Saga("slow", Slow.charge), services=[Slow()])


def test_a_step_that_may_have_to_be_undone_needs_a_compensation() -> None:
    class Bare:
        @step
        def charge(self, call: Call) -> None: ...

    with pytest.raises(ValueError, match=r"step 'charge': expected a compensation, .* @charge\.compensation"):
        choreo.run(Saga("bare", Bare.charge), services=[Bare()])
    assert choreo.run(Saga("bare", pivot(Bare.charge)), services=[Bare()]).outcome.completed_steps == 1


def test_a_step_has_only_the_keys_of_a_step() -> None:
    class Odd:
        @step(atempts=3)
        def charge(self, call: Call) -> None: ...

    with pytest.raises(TypeError, match=r"@step of charge: .*atempts"):
        Saga("odd", Odd.charge)


@pytest.mark.parametrize(("given_style", "message"), [("choregraphy", "did you mean 'choreography'"), (7, "got 7")])
def test_an_unknown_style_is_refused(given_style: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choreo.run(ORDER, services=make_services, style=given_style)


class Silent:
    def execute(self, call: Call) -> None: ...

    def compensate(self, call: Call) -> None: ...


# --- found by attacks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud83d\ude00", "\ud800", [1, (2,)], b"x"])
@pytest.mark.parametrize("name", ["a", "$tuple", 'quo"te\n'])
def test_any_result_comes_back_as_it_was(value: Any, name: str) -> None:
    """Results are decoded step by step, whatever a step is called."""

    class Telling:
        def execute(self, call: Call) -> Any:
            return value

        def compensate(self, call: Call) -> None: ...

    run = choreo.run(Saga("s", name), services={name: Telling()})

    assert list(run.result) == [name]
    assert run.result[name] == value or value != value  # not a number equals nothing


def test_a_very_long_number_comes_back_as_it_was() -> None:
    """Longer than Python converts to decimal text."""

    class Long(Silent):
        def execute(self, call: Call) -> Any:
            return 10**5000

    result = choreo.run(["a"], services={"a": Long()}).result

    assert (result["a"] == 10**5000) is True


def test_a_kind_is_checked_and_may_be_a_word() -> None:
    saga = Saga("s", "a", choreo.Step("b", kind="pivot"))  # type: ignore[arg-type]

    stuck = choreo.run([*saga.steps, retriable("c")], services=lambda step: Silent(), fail="c")

    assert str(stuck.outcome.state) == "stuck"
    with pytest.raises(ValueError, match=r'step\[0\]\.kind: expected "compensatable", "pivot" or "retriable", got .zz'):
        choreo.run(Saga("s", choreo.Step("b", kind="zz")), services=lambda step: Silent())  # type: ignore[arg-type]


def test_an_overridden_compensation_is_the_one_that_is_called() -> None:
    class Base:
        undone = ""

        @step
        def act(self, call: Call) -> None: ...

        @act.compensation
        def undo(self, call: Call) -> None:
            self.undone = "base"

    class Special(Base):
        def undo(self, call: Call) -> None:
            self.undone = "special"

    given([Base.act, "then"], services={"act": Special(), "then": Silent()}, fail="then").state("act", undone="special")
    with pytest.raises(TypeError, match="expected one compensation"):
        Base.act.compensation(Special.undo)


def test_two_methods_for_one_step_are_refused() -> None:
    class Twice:
        @step("act")
        def one(self, call: Call) -> None: ...

        @step("act")
        def other(self, call: Call) -> None: ...

    with pytest.raises(choreo.NoServices, match="step 'act': expected one method, got several"):
        choreo.run(["act"], services=[Twice()])


@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_a_stuck_step_may_block_several_whose_end_was_due(style: str) -> None:
    """Beside the pivot's other successor, which is tried again and then cannot be undone."""

    class Failing(Silent):
        def __init__(self, failures: int, error: Exception) -> None:
            self.failures, self.error = failures, error

        def execute(self, call: Call) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise self.error

    graph = Saga(
        "graph",
        pivot("p"),
        retriable(choreo.Step("a", after=("p",))),
        retriable(choreo.Step("b", after=("p", "a"), attempts=2)),
        retriable(choreo.Step("z", after=("p",), attempts=2)),
    )

    services = {
        "p": Silent(),
        "a": Silent(),
        "b": Failing(1, Refused("not now")),
        "z": Failing(9, RuntimeError("no answer")),
    }

    run = choreo.run(graph, services=services, style=style)

    assert str(run.outcome.state) == "stuck"

"""Data of a run: input and results, in every runner and in both styles, for services of every form."""

from collections.abc import Callable
from typing import Any

import pytest

from choreo import Call, Refused, Saga, parallel, pivot, step
from choreo.compile import STYLES
from choreo.laboratory import explore, simulate
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.catalogue import catalogue_of
from choreo.saga.outcome import State

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
    def note_it(self, call: Call) -> None:
        assert dict(call.results) == {"place": {"order": call.saga_id, "total": call.input["total"]}}
        self.noted += 1

    @note_it.compensation
    def forget(self, call: Call) -> None:
        assert call.result is None
        self.noted -= 1


class Courier:
    """The lowest form, with a call."""

    def __init__(self) -> None:
        self.booked: list[str] = []

    def execute(self, call: Call) -> str:
        assert list(call.results) == ["place", "charge", "note"]
        assert call.results["charge"] == call.input["total"]
        assert call.results["note"] is None
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
    assert outcome.result == '{"place": {"order": "o-1", "total": 60}, "charge": 60, "ship": "parcel of o-1"}'
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

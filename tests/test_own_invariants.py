"""Invariants of one's own: `choreo.always`, `choreo.sometimes`, `choreo.eventually`, explored and simulated."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import choreo
from choreo import Call, Findings, NotSafe, Refused, Saga, parallel, pivot, step
from choreo.invariants.own import InvariantError, OwnInvariant
from choreo.lab.options import with_guarantees, with_services
from choreo.lab.simulate.campaign import Lab
from choreo.lab.simulate.faults import Verdict
from choreo.saga.calls.catalogue import catalogue_of
from choreo.saga.definition import CrashPoint, FaultKind
from choreo.saga.file import WrongDefinition
from choreo.trace.vocabulary import INVARIANT

both_styles = pytest.mark.parametrize("style", ["choreography", "orchestration"])


class Orders:
    def __init__(self) -> None:
        self.placed = 0

    @step
    def place(self, call: Call) -> None:
        self.placed += 1

    @place.compensation
    def withdraw(self, call: Call) -> None:
        self.placed -= 1


class Payments:
    def __init__(self, limit: int = 200, kept: int = 0) -> None:
        self.limit, self.kept, self.charged = limit, kept, 0

    @step
    def charge(self, call: Call) -> int:
        total: int = call.input["total"]
        if total > self.limit:
            raise Refused("declined")
        self.charged += total
        return total

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.charged -= 0 if call.result is None else call.result - self.kept


class Courier:
    """Books a parcel, or refuses."""

    def __init__(self, is_full: bool = False) -> None:
        self.is_full, self.booked = is_full, 0

    @step
    def book(self, call: Call) -> None:
        if self.is_full:
            raise Refused("full")
        self.booked += 1


ORDER = Saga("order", Orders.place, Payments.charge, pivot(Courier.book))


def services(limit: int = 200, kept: int = 0, is_full: bool = False) -> Callable[[], list[Any]]:
    return lambda: [Orders(), Payments(limit, kept), Courier(is_full)]


@choreo.always("no payment without an order")
def paid(state: Any) -> bool:
    return bool(state[Payments].charged <= 60 * state[Orders].placed)


@choreo.eventually("all is paid or nothing")
def settled(state: Any) -> bool:
    return bool(state["charge"].charged == 60 * state["book"].booked)


@choreo.sometimes("a parcel is booked")
def booked(state: Any) -> bool:
    return bool(state[Courier].booked)


def explored(style: str, own: Sequence[OwnInvariant], make: Any, **options: Any) -> Findings:
    options = {"faults": ["drop", "duplicate", "crash"], "max_faults": 1, **options}
    return choreo.explore(ORDER, {"total": 60}, services=make, style=style, invariants=own, **options)


def simulated(style: str, own: Sequence[OwnInvariant], make: Any, **options: Any) -> Findings:
    faults = {"drop": 0.1, "duplicate": 0.2, "crash": 0.2}
    return choreo.simulate(
        ORDER, {"total": 60}, services=make, style=style, invariants=own, seeds=100, faults=faults, **options
    )


in_both_ways = pytest.mark.parametrize("look", [explored, simulated])


@both_styles
@in_both_ways
@pytest.mark.parametrize("make", [services(), services(limit=50), services(is_full=True)])
def test_a_saga_that_keeps_them_is_safe_and_lists_them(look: Any, make: Any, style: str) -> None:
    """By title, in the report and its JSON, whatever faults occur."""
    found = look(style, [paid, settled], make)

    found.assert_safe()
    assert found.reports[0].own == ("no payment without an order", "all is paid or nothing")
    assert found.reports[0].as_json()["invariants"]["checked"][-2:] == found.reports[0].own


@both_styles
@in_both_ways
def test_always_is_checked_after_every_delivery(look: Any, style: str) -> None:
    """Between the payment and the parcel there is a state that lasts for no more than one delivery."""

    @choreo.always("no payment without a parcel")
    def early(state: Any) -> bool:
        return bool(state[Payments].charged == 60 * state[Courier].booked)

    found = look(style, [early], services())

    (report,) = found.reports
    (violation,) = report.violations
    assert (violation.code, violation.title) == ("own", "no payment without a parcel")
    assert violation.sentence.startswith("it is false after charge handled run-1/step/")
    assert report.counterexample.faults == ()
    assert "no payment without a parcel" in [record.reason for record in report.counterexample.records]
    with pytest.raises(NotSafe, match="own no payment without a parcel: it is false after charge"):
        found.assert_safe()
    assert "violates: no payment without a parcel" in found.text()


@both_styles
@in_both_ways
def test_a_guarantee_that_is_switched_off_breaks_always(look: Any, style: str) -> None:
    """Without the inbox a duplicate charges twice; the built-in invariants break at the same delivery."""

    @choreo.always("at most one payment")
    def once(state: Any) -> bool:
        return bool(state[Payments].charged <= 60)

    options: dict[str, Any] = {"faults": ["duplicate"]} if look is explored else {}
    found = look(style, [once, paid], services(), without=["inbox"], **options)
    look(style, [once, paid], services(), **options).assert_safe()

    (report,) = found.reports
    assert report.violations
    titles = {violation.title for violation in report.violations}
    assert titles & {"at most one payment", "at most once"}, report.violations


@both_styles
def test_a_violation_is_told_beside_the_built_in_one(style: str) -> None:
    """A duplicate, and no inbox: both are broken by the same delivery."""
    saga = Saga("order", Payments.charge)

    @choreo.always("at most one payment")
    def once(state: Any) -> bool:
        return bool(state[Payments].charged <= 60)

    found = choreo.explore(
        saga,
        {"total": 60},
        services=lambda: Payments(),
        faults=["duplicate"],
        max_faults=1,
        without=["inbox"],
        style=style,
        invariants=[once],
    )

    assert [each.code for each in found.reports[0].violations] == ["S2", "own"]


@both_styles
@in_both_ways
def test_eventually_is_checked_at_rest_and_only_there(look: Any, style: str) -> None:
    """It is false between payment and parcel; a compensation that keeps a fee leaves it false."""
    look(style, [settled], services()).assert_safe()
    found = look(style, [settled], services(kept=5, is_full=True))

    (report,) = found.reports
    (violation,) = report.violations
    assert (violation.code, violation.title) == ("own", "all is paid or nothing")
    assert violation.sentence == "it is false at rest, with nothing in flight"
    assert report.counterexample.records[-1].action in ("reply", "deliver")


@both_styles
@in_both_ways
def test_sometimes_that_is_never_true_is_a_finding_that_names_it(look: Any, style: str) -> None:
    look(style, [booked], services()).assert_safe()
    found = look(style, [booked, paid], services(is_full=True))

    (report,) = found.reports
    assert not report.violations
    assert report.never_held == ("a parcel is booked",)
    assert report.as_json()["never_held"] == ("a parcel is booked",)
    with pytest.raises(NotSafe, match="never true: a parcel is booked"):
        found.assert_safe()


@pytest.mark.parametrize("point", [CrashPoint.UNCOMMITTED, CrashPoint.AFTER])
def test_a_reaction_that_a_crash_rolls_back_counts_for_nothing(point: CrashPoint) -> None:
    """Published and not committed, and not delivered again; where it is committed, it counts."""

    @choreo.sometimes("a parcel was booked")
    def was_booked(state: Any) -> bool:
        return bool(state[Courier].booked)

    @choreo.always("no parcel is booked")
    def none_booked(state: Any) -> bool:
        return not state[Courier].booked

    saga = Saga("parcel", pivot(Courier.book))
    definition = with_guarantees(with_services(saga, Courier), None, ["outbox", "redelivery"])
    lab = Lab(definition, "choreography", catalogue_of(Courier()), {}, [was_booked, none_booked])
    history = lab.play(1, [Verdict(FaultKind.CRASH, "run-1/saga/started>book", 0, point)])

    is_committed = point is CrashPoint.AFTER
    assert [each.verdict.point for each in history.fired] == [point]
    assert (INVARIANT in [record.action for record in history.records]) is is_committed
    assert lab.world.checks.held == ({"a parcel was booked"} if is_committed else set())


@in_both_ways
def test_always_is_checked_before_the_first_delivery(look: Any) -> None:
    @choreo.always("an order is there")
    def there(state: Any) -> bool:
        return bool(state[Orders].placed)

    (report,) = look("choreography", [there], services()).reports

    assert [each.sentence for each in report.violations] == ["it is false at the start"]


@both_styles
def test_the_explored_states_are_the_same(style: str) -> None:
    """With invariants of one's own as without, also of a group in parallel."""
    saga = Saga("order", Orders.place, parallel(Payments.charge, "note"), pivot(Courier.book))
    make = lambda: {"place": Orders(), "charge": Payments(), "book": Courier(), "note": Quiet()}  # noqa: E731

    def states(own: Sequence[OwnInvariant]) -> int | None:
        found = choreo.explore(
            saga, {"total": 60}, services=make, faults=["duplicate"], max_faults=1, style=style, invariants=own
        )
        found.assert_safe()
        return found.reports[0].states

    assert states([]) == states([paid, settled, booked])


class Quiet:
    def execute(self, call: Call) -> None: ...

    def compensate(self, call: Call) -> None: ...


@in_both_ways
@pytest.mark.parametrize("decorate", [choreo.always, choreo.sometimes, choreo.eventually])
def test_a_predicate_that_raises_is_named(look: Any, decorate: Any) -> None:
    """With its title and its function; the exception itself is the cause."""

    def ratio(state: Any) -> bool:
        return bool(1 / state[Orders].placed)

    with pytest.raises(InvariantError, match=r"invariant 'a ratio' \(ratio\): .*got ZeroDivisionError") as raised:
        look("choreography", [decorate("a ratio")(ratio)], services(limit=50))

    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("predicate", "why"),
    [
        (lambda state: None, "expected True or False, got None"),
        (lambda state: state["chrage"], "a step with a service .*did you mean 'charge'"),
        (lambda state: state[Quiet], "expected the class of a service .Orders, Payments, Courier., got Quiet"),
    ],
)
def test_a_predicate_that_is_wrong_says_what_was_expected(predicate: Any, why: str) -> None:
    with pytest.raises(InvariantError, match=why):
        explored("choreography", [choreo.always("wrong")(predicate)], services())


def test_two_services_of_one_class_are_found_by_step() -> None:
    @choreo.always("either")
    def either(state: Any) -> bool:
        return bool(state[Quiet])

    with pytest.raises(InvariantError, match="expected one service of class Quiet, got 2; use the name of a step"):
        choreo.explore(["a", "b"], services={"a": Quiet(), "b": Quiet()}, invariants=[either])


@pytest.mark.parametrize("look", [choreo.explore, choreo.simulate])
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([lambda state: True], r"invariants\[0\]: expected a function decorated with @choreo.always\(...\)"),
        ([paid, "paid"], r"invariants\[1\]: expected a function decorated .*got 'paid'"),
        (paid, "invariants: expected a list of functions decorated"),
        ([paid, paid], r"invariants\[1\]: expected titles that differ, got 'no payment without an order' twice"),
    ],
)
def test_what_is_no_invariant_is_refused(look: Any, given: Any, why: str) -> None:
    with pytest.raises(WrongDefinition, match=why):
        look(ORDER, {"total": 60}, services=services(), invariants=given)


@pytest.mark.parametrize("decorate", [choreo.always, choreo.sometimes, choreo.eventually])
def test_a_decorator_without_a_title_is_refused(decorate: Any) -> None:
    with pytest.raises(TypeError, match=r'expected a title, as in @choreo.*"no payment without an order"'):
        decorate(lambda state: True)


def test_a_decorated_function_can_still_be_called() -> None:
    assert paid({Payments: Payments(), Orders: Orders()}) is True  # type: ignore[arg-type]  # any mapping will do

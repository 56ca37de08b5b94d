"""Sagas as stories: given a saga, its input and its services, expect these events, this outcome, this state.

    given(order, {"total": 300}, services=make_services)
        .expect("place succeeded", "charge failed", "place compensated")
        .outcome("compensated", compensated=["place"])
        .state(Orders, placed=0)

Laws: the saga runs in memory, in both styles unless one is named, each time with services of its own. An assertion that
fails names the style, what was expected and what came, and shows the diagram of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from choreo.running import SagaRun, run
from choreo.saga.spelling import suggestion

if TYPE_CHECKING:
    from choreo.saga.definition import Saga

STYLES = ("choreography", "orchestration")


class Given:
    """The runs of a saga, one for each style, and assertions about all of them."""

    def __init__(self, runs: Sequence[SagaRun]) -> None:
        self.runs = tuple(runs)

    def expect(self, *events: str) -> Given:
        """Assert that the steps published exactly these events, such as `charge failed`.

        A step's events, and those of steps that depend on each other, come in the given order; steps that run in
        parallel may come in any.
        """
        __tracebackhide__ = True
        for each in self.runs:
            _expect_same(each, events)
        return self

    def outcome(
        self,
        state: str,
        *,
        compensated: Sequence[str] | None = None,
        stuck: str | None = None,
        in_doubt: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Given:
        """Assert the outcome: `completed`, `compensated` or `stuck`; and what is given besides.

        `compensated`: the compensated steps in their order. `stuck`: the step whose compensation kept failing.
        `in_doubt`: the steps whose answer was unknown. `reason`: a part of the reason.
        """
        __tracebackhide__ = True
        for each in self.runs:
            found = each.outcome
            _expect(each, "outcome", state, str(found.state))
            if compensated is not None:
                _expect(each, "compensated steps", list(compensated), list(found.compensated_steps))
            if stuck is not None:
                _expect(each, "stuck step", stuck, found.stuck_step)
            if in_doubt is not None:
                _expect(each, "steps in doubt", list(in_doubt), list(found.in_doubt_steps))
            if reason is not None and reason not in (found.reason or ""):
                raise AssertionError(_text(each, f"expected a reason with {reason!r}, got {found.reason!r}"))
        return self

    def result(self, **results: Any) -> Given:
        """Assert the results of these steps, in a completed run."""
        __tracebackhide__ = True
        for each in self.runs:
            for step, expected in results.items():
                _expect(each, f"result of {step}", expected, each.result.get(step))
        return self

    def state(self, service: type | str, **fields: Any) -> Given:
        """Assert the fields of a service after the run: of the object of that class, or of the one of that step."""
        __tracebackhide__ = True
        for each in self.runs:
            found = each.service(service)
            name = service if isinstance(service, str) else service.__name__
            for field, expected in fields.items():
                if not hasattr(found, field):
                    near = suggestion(field, [one for one in dir(found) if not one.startswith("_")])
                    raise AttributeError(f"{name}: expected a field, got {field!r}{near}")
                _expect(each, f"{name}.{field}", expected, getattr(found, field))
        return self


def given(
    saga: Saga | Sequence[Any],
    input: Any = None,
    *,
    services: Any,
    style: str = "both",
    fail: str | None = None,
    fail_compensation: str | None = None,
) -> Given:
    """Run a saga in memory, in one style or in both, for assertions. The arguments are those of `choreo.run`."""
    styles = STYLES if style == "both" else (style,)
    return Given(
        [
            run(saga, input, services=services, style=each, fail=fail, fail_compensation=fail_compensation)
            for each in styles
        ]
    )


def _expect_same(each: SagaRun, events: Sequence[str]) -> None:
    __tracebackhide__ = True
    got = each.events
    if Counter(got) != Counter(events):
        missing, more = Counter(events) - Counter(got), Counter(got) - Counter(events)
        raise AssertionError(_text(each, f"expected {_listed(events)}\n{_difference(missing, more)}"))
    first, second = _out_of_order(each, events, got)
    if first:
        raise AssertionError(_text(each, f"expected {first!r} before {second!r}, got them the other way round"))


def _out_of_order(each: SagaRun, events: Sequence[str], got: Sequence[str]) -> tuple[str, str]:
    """Return two events of dependent steps that came in another order than expected, or two empty texts.

    Equal events are matched in their order.
    """
    place = {event: index for index, event in reversed(list(enumerate(got)))}
    for index, first in enumerate(events):
        for second in events[index + 1 :]:
            if place[first] > place[second] and each.are_ordered(_step(first), _step(second)):
                return first, second
    return "", ""


def _step(event: str) -> str:
    return event.rpartition(" ")[0]


def _expect(each: SagaRun, what: str, expected: Any, got: Any) -> None:
    __tracebackhide__ = True
    if got != expected:
        raise AssertionError(_text(each, f"{what}: expected {expected!r}, got {got!r}"))


def _text(each: SagaRun, why: str) -> str:
    return f"{each.style}: {why}\n\n{each.diagram()}"


def _listed(events: Sequence[str]) -> str:
    return ", ".join(events) or "no event"


def _difference(missing: Counter[str], more: Counter[str]) -> str:
    lines = [("missing", missing), ("not expected", more)]
    return "\n".join(f"{what}: {', '.join(counted.elements())}" for what, counted in lines if counted)

"""The types of the public names, checked by mypy (`test_public_names.py`); this file is never run."""

from typing import Any, assert_type

import choreo
from choreo import (
    Call,
    Findings,
    NotSafe,
    Outcome,
    Refused,
    Saga,
    SagaRun,
    State,
    Step,
    parallel,
    pivot,
    retriable,
    step,
)
from choreo.testing import Given, given


class Payments:
    charged: int = 0

    @step
    def charge(self, call: Call) -> int:
        assert_type(call.key, str)
        assert_type(call.saga_id, str | int)
        if call.input["total"] > 200:
            raise Refused("declined")
        return 60

    @charge.compensation
    def refund(self, call: Call) -> None:
        self.charged -= call.result or 0

    @step("book", attempts=3)
    def book_it(self, call: Call) -> str:
        return str(call.results["charge"])


order = Saga("order", "place", parallel(Payments.charge, Step("reserve")), pivot(Payments.book_it), retriable("mail"))
assert_type(order, Saga)
assert_type(order.steps, tuple[Step, ...])
assert_type(Saga.from_toml("order.toml"), Saga)

run = choreo.run(order, {"total": 60}, services=[Payments()], style="orchestration")
assert_type(run, SagaRun)
assert_type(run.outcome, Outcome)
assert_type(run.outcome.state, State)
assert_type(run.result, dict[str, Any])
assert_type(run.diagram(), str)
assert_type(choreo.compare(order, services=[Payments()]).is_same, bool)

found = choreo.explore(order, {"total": 60}, services=lambda: [Payments()], faults=["drop"], max_faults=1)
assert_type(found, Findings)
assert_type(found.is_safe, bool)
try:
    choreo.simulate(order, services=[Payments()], seeds=10, faults={"drop": 0.1}).assert_safe()
except NotSafe as error:
    print(error)

assert_type(choreo.check("trace.jsonl", order).holds, bool)
assert_type(given(order, services=[Payments()]).outcome("completed"), Given)
assert_type(choreo.__version__, str)

Saga()  # type: ignore[call-arg]
choreo.run(order)  # type: ignore[call-arg]
choreo.explore(order, fault=["drop"])  # type: ignore[call-arg]

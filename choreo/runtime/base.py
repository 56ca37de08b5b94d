"""Base of the runners: what is the same in memory and with a journal.

Laws: knows the sagas that it was given by name, and no run.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

from choreo.compile.obeyed import expect_obeyed
from choreo.saga.definition import Saga
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.raised import shown
from choreo.saga.request import Request, input_text


class BaseRunner(ABC):
    """Turns the arguments of a program into requests. A runner derives from it, and runs them."""

    def __init__(self, turn: AbstractContextManager[object]) -> None:
        """`turn` lets callers of `execute` in one after the other, or refuses them."""
        self._turn = turn
        self._sagas: dict[str, Saga] = {}

    def add(self, saga: Saga) -> str:
        """Make a saga known by its name, for requests that name it; return the name.

        Raises `NotObeyed` for a key that this runner cannot obey, and `ValueError` for another saga of that name.
        """
        expect_obeyed(saga)
        if self._sagas.setdefault(saga.name, saga) != saga:
            raise ValueError(f"saga: expected one saga of each name, got another {shown(saga.name)}")
        return saga.name

    def execute(
        self,
        saga_id: str | int,
        steps: Itinerary | Saga,
        fail_step: str | None = None,
        fail_compensation: str | None = None,
        style: str = "choreography",
        input: Any = None,
    ) -> Outcome:
        """Run a saga, or a list of steps, to its end. `input` is handed to every call.

        With a journal, the outcome of a saga that was run before is returned as recorded.

        `fail_step` names the step whose local transaction is to refuse, the first of that name; `fail_compensation` the
        name whose compensations are to keep failing. Raises `TypeError` for steps that are no itinerary, `ValueError`
        for an unknown style, `NotObeyed` for a key of the saga that this runner cannot obey, `PlanTooLarge` beyond the
        bounds, `Reentered` within a service that this runner has called, and `NoOutcome` or `UnheardEvent` if the
        wiring is wrong; with a journal also the exceptions of `begin`, and `RuntimeError` if a defect prevents an
        outcome.
        """
        with self._turn:
            saga = None
            if isinstance(steps, Saga):
                saga, steps = (None, steps.itinerary) if steps.itinerary is not None else (self.add(steps), ())
            text = None if input is None else input_text(input)
            return self._run(Request(saga_id, steps, fail_step, fail_compensation, style, saga, text))

    @abstractmethod
    def _run(self, request: Request) -> Outcome:
        """Run a request to its end."""

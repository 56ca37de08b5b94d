"""Call: one invocation of a service, with its idempotency key and its data.

Laws: a value for the service alone. Input and results are decoded at the first look, a copy for each call, so that
nothing a service changes in them is visible to another call.
"""

from collections.abc import Mapping
from typing import Any

from choreo.saga.data import Data, ancestors_of, restored, results_of
from choreo.saga.plan import Plan
from choreo.saga.raised import shown


class Call:
    """One invocation of a step's local transaction or of its compensation.

    `key`: the idempotency key, the same for every attempt of this call, also after a crash, and different for every
    other call, in any run, journal and process (`choreo/saga/keys.py`); pass it on to every external call. `saga_id`:
    the caller's name for the run. `run`: the run's correlation id. `step`: the name of the step.
    """

    __slots__ = (
        "_data",
        "_input",
        "_input_text",
        "_kept",
        "_plan",
        "_position",
        "_results",
        "key",
        "run",
        "saga_id",
        "step",
    )
    _input: Any
    _results: Mapping[str, Any]

    def __init__(
        self,
        key: str,
        saga_id: str | int,
        run: str,
        step: str,
        input_text: str | None = None,
        data: Data = None,
        kept: Any = None,
        plan: Plan | None = None,
        position: int = -1,
    ) -> None:
        self.key, self.saga_id, self.run, self.step = key, saga_id, run, step
        self._input_text, self._data, self._kept = input_text, data, kept
        self._plan, self._position = plan, position

    def __repr__(self) -> str:
        return f"Call(step={self.step!r}, saga_id={self.saga_id!r}, key={self.key!r}, input={shown(self.input)})"

    @property
    def position(self) -> int:
        """The position of the step in its saga."""
        return self._position

    @property
    def input(self) -> Any:
        """The input of the run, a JSON value; None if the request has none."""
        try:
            return self._input
        except AttributeError:
            self._input = None if self._input_text is None else _decoded(self._input_text)
            return self._input

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of all steps before this one, by step name; None for a step that returned nothing.

        A compensation has those that its local transaction had.
        """
        try:
            return self._results
        except AttributeError:
            names = [] if self._plan is None else ancestors_of(self._plan, self._position)
            found = {step: restored(result) for step, result in results_of(self._data).items()}
            self._results = dict.fromkeys(names) | found
            return self._results

    @property
    def result(self) -> Any:
        """In a compensation, what the local transaction returned; None where that is unknown."""
        return restored(self._kept)

    @property
    def kept(self) -> Any:
        """The result as it is kept, for wrappers of services."""
        return self._kept

    def with_kept(self, kept: Any) -> "Call":
        """Return the same call with another kept result, for wrappers of services."""
        return Call(
            self.key,
            self.saga_id,
            self.run,
            self.step,
            self._input_text,
            self._data,
            kept,
            self._plan,
            self._position,
        )


def _decoded(text: str) -> Any:
    from choreo.saga.codec import decode  # imported here because it is seldom needed

    return decode(text)

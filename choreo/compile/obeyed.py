"""Check of a saga before a run outside of the laboratory: which of its keys a runner cannot obey.

Laws: nothing is ignored in silence; a key that a runner cannot obey is refused by name, before the run.
"""

from collections.abc import Iterator

from choreo.saga.definition import Saga, Step, Wiring


class NotObeyed(ValueError):
    """A saga with a key that this runner cannot obey; the text names the key and the reason."""


def expect_obeyed(saga: Saga) -> None:
    """Check that a runner without a clock and without faults obeys all of a saga. Raises `NotObeyed`."""
    for complaint in _complaints(saga):
        raise NotObeyed(complaint)


def _complaints(saga: Saga) -> Iterator[str]:
    for index, step in enumerate(saga.steps):
        yield from _of_clock(f"step[{index}]", step)
    for name in saga.guarantees.off:
        yield f"guarantees.{name}: expected true, got false: only the laboratory plants a bug"
    if saga.wiring != Wiring():
        key = "deaf" if saga.wiring.deaf else "relays"
        yield f"wiring.{key}: expected none, got {len(getattr(saga.wiring, key))}: only the laboratory plants a bug"


def _of_clock(where: str, step: Step) -> Iterator[str]:
    for key in ("timeout_ms", "latency_ms"):
        value = getattr(step, key)
        if value is not None:
            yield f"{where}.{key}: expected none, because this runner has no clock, got {value} for {step.name!r}"

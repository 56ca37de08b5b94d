"""Causal chains of compensations: from each compensation back to the failure that caused it.

Laws: pure, and reads the trace alone. The cause of an event is the event whose id it names as its causation id; no
cause is guessed. A compensation whose chain does not end at a failure is a finding.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice

from msgspec import Struct

from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    OUTCOMES,
    SAGA_COMPLETED,
    STEP_COMPENSATED,
    STEP_COMPENSATION_FAILED,
    STEP_FAILED,
    STEP_SUCCEEDED,
)

COMPENSATIONS = (STEP_COMPENSATED, STEP_COMPENSATION_FAILED)
CAUSES_IN_JSON = 20
"""Number of nearest causes of an event in JSON output."""


class Origin(StrEnum):
    """End of a chain of causes: a failure, or the reason why no failure was reached."""

    FAILURE = "failure"
    NO_FAILURE = "no failure"
    MISSING = "missing"
    CIRCLE = "circle"


class Chain(Struct, frozen=True):
    """Chain of causes of one event.

    `nearest` holds the event itself, then its nearest causes. `hops` counts all causes. `last` is the failure, or the
    last event before the chain breaks off. `missing` is the id of the cause that is not in the trace.
    """

    nearest: tuple[Record, ...]
    origin: Origin
    last: Record
    hops: int
    missing: str | None = None

    @property
    def is_known(self) -> bool:
        return self.origin is Origin.FAILURE

    @property
    def is_stuck(self) -> bool:
        """Return whether the chain leads to a failed compensation."""
        return self.nearest[0].event == STEP_COMPENSATION_FAILED

    @property
    def is_in_doubt(self) -> bool:
        """Return whether the failed compensation is itself the failure: its step never succeeded and could not be
        undone.
        """
        return self.is_stuck and self.is_known and not self.hops


class Explanation(Struct, frozen=True):
    """Explanation of one run: its outcome, its failures, and the chain of causes of each compensation, failed ones
    included.

    `outcome_chain` is the chain of an outcome other than `completed`; None where the run has no such outcome.
    """

    run: str | None
    outcome: Record | None
    failures: tuple[Record, ...]
    compensations: tuple[Chain, ...]
    outcome_chain: Chain | None

    @property
    def is_explained(self) -> bool:
        """Return whether every chain of the run ends at a failure."""
        chains = (*self.compensations, *([self.outcome_chain] if self.outcome_chain else []))
        return all(chain.is_known for chain in chains)


def explain(events: Iterable[Record], nearest: int) -> list[Explanation]:
    """Explain each run of one saga, in the order in which the runs began. Each chain keeps `nearest` causes."""
    runs: dict[str | None, dict[str, Record]] = {}
    for event in events:
        runs.setdefault(event.run, {}).setdefault(str(event.id), event)
    return [_explain_run(run, events, nearest) for run, events in runs.items()]


def _explain_run(run: str | None, events: dict[str, Record], nearest: int) -> Explanation:
    trail = Trail(events)
    outcome = next((record for record in events.values() if record.event in OUTCOMES), None)
    went_backward = outcome is not None and outcome.event != SAGA_COMPLETED
    return Explanation(
        run,
        outcome,
        tuple(record for record in events.values() if record.event == STEP_FAILED),
        tuple(trail.chain(record, nearest) for record in events.values() if record.event in COMPENSATIONS),
        trail.chain(outcome, nearest) if outcome is not None and went_backward else None,
    )


class Trail:
    """Follows causation ids through the events of one run. Visits each event once, even if many chains share it."""

    def __init__(self, events: dict[str, Record]) -> None:
        self._events = events
        self._succeeded = {(each.step, each.position) for each in events.values() if each.event == STEP_SUCCEEDED}
        self._ends: dict[str | None, End] = {}

    def chain(self, record: Record, nearest: int) -> Chain:
        end = self._end(record)
        missing = end.last.causation_id if end.origin is Origin.MISSING else None
        causes = tuple(islice(self._back(record), min(nearest, end.hops) + 1))
        return Chain(causes, end.origin, end.last, end.hops, missing)

    def _end(self, record: Record) -> "End":
        """Return the end of the chain that starts here. Memoizes the end of every event on the way."""
        path: dict[str | None, None] = {}
        step = record
        while (end := self._end_at(step, path)) is None:
            path[step.id] = None
            step = self._events[str(step.causation_id)]
        self._ends[step.id] = end
        for distance, key in enumerate(reversed(path), start=1):
            self._ends[key] = End(end.origin, end.last, end.hops + distance)
        return self._ends[record.id]

    def _end_at(self, record: Record, path: dict[str | None, None]) -> "End | None":
        if record.id in self._ends:
            return self._ends[record.id]
        if record.id in path:
            return End(Origin.CIRCLE, record, 0)
        if record.event == STEP_FAILED or self._is_in_doubt(record):
            return End(Origin.FAILURE, record, 0)
        if record.causation_id is None:
            return End(Origin.NO_FAILURE, record, 0)
        return None if record.causation_id in self._events else End(Origin.MISSING, record, 0)

    def _is_in_doubt(self, record: Record) -> bool:
        """Return whether a compensation failed of a step that never succeeded: its answer was unknown, or came too
        late.
        """
        return record.event == STEP_COMPENSATION_FAILED and (record.step, record.position) not in self._succeeded

    def _back(self, record: Record) -> Iterator[Record]:
        """Yield the event, its cause, the cause of that, and so on. Endless where the causes form a circle."""
        cause: Record | None = record
        while cause is not None:
            yield cause
            cause = self._events.get(cause.causation_id or "")


class End(Struct, frozen=True):
    """End of a chain: its kind, its last event, and the distance in hops."""

    origin: Origin
    last: Record
    hops: int

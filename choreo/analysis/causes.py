"""Why each compensation ran: the chain of causes, from the compensation back to the failure.

Laws: pure, and reads the trace alone: an event's cause is the event whose id it names, and nothing is guessed. What the
trace does not lead back to a failure is a finding.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice

from msgspec import Struct

from choreo.trace.record import Record

FAILURE, SUCCESS, COMPENSATION_FAILED = "step.failed", "step.succeeded", "step.compensation_failed"
COMPENSATIONS = ("step.compensated", COMPENSATION_FAILED)
CAUSES_IN_JSON = 20
"""So many of the nearest causes of an event a program gets to see."""

OUTCOMES = ("saga.completed", "saga.compensated", "saga.stuck")


class Origin(StrEnum):
    """Where a chain of causes ends."""

    FAILURE = "failure"
    NO_FAILURE = "no failure"
    MISSING = "missing"
    CIRCLE = "circle"


class Chain(Struct, frozen=True):
    """From an event back to where its trail of causes ends.

    `nearest` has the event itself and its nearest causes; `hops` counts all causes. `last` is the failure, or the last
    event before the trail is lost; `missing` is the id of the cause that is not in the trace.
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
        """Whether it leads to a compensation that did not work."""
        return self.nearest[0].event == COMPENSATION_FAILED

    @property
    def is_in_doubt(self) -> bool:
        """Whether it is the failure itself: a step that had never succeeded, and could not be undone."""
        return self.is_stuck and self.is_known and not self.hops


class Explanation(Struct, frozen=True):
    """One run: how it ended, what failed, and for each compensation, worked or not, the chain that led to it.

    `outcome_chain` leads back from an outcome that is not `completed`; None where the run has no such outcome.
    """

    run: str | None
    outcome: Record | None
    failures: tuple[Record, ...]
    compensations: tuple[Chain, ...]
    outcome_chain: Chain | None

    @property
    def is_explained(self) -> bool:
        """Whether everything that went backward is led back to a failure."""
        chains = (*self.compensations, *([self.outcome_chain] if self.outcome_chain else []))
        return all(chain.is_known for chain in chains)


def explain(events: Iterable[Record], nearest: int) -> list[Explanation]:
    """Each run of one saga explained, in the order in which the runs began; chains with so many of their causes."""
    runs: dict[str | None, dict[str, Record]] = {}
    for event in events:
        runs.setdefault(event.run, {}).setdefault(str(event.id), event)
    return [_explain_run(run, events, nearest) for run, events in runs.items()]


def _explain_run(run: str | None, events: dict[str, Record], nearest: int) -> Explanation:
    trail = Trail(events)
    outcome = next((record for record in events.values() if record.event in OUTCOMES), None)
    went_backward = outcome is not None and outcome.event != OUTCOMES[0]
    return Explanation(
        run,
        outcome,
        tuple(record for record in events.values() if record.event == FAILURE),
        tuple(trail.chain(record, nearest) for record in events.values() if record.event in COMPENSATIONS),
        trail.chain(outcome, nearest) if outcome is not None and went_backward else None,
    )


class Trail:
    """Follows causes through the events of one run, and each of them once, however many chains it is part of."""

    def __init__(self, events: dict[str, Record]) -> None:
        self._events = events
        self._succeeded = {(each.step, each.position) for each in events.values() if each.event == SUCCESS}
        self._ends: dict[str | None, End] = {}

    def chain(self, record: Record, nearest: int) -> Chain:
        end = self._end(record)
        missing = end.last.causation_id if end.origin is Origin.MISSING else None
        causes = tuple(islice(self._back(record), min(nearest, end.hops) + 1))
        return Chain(causes, end.origin, end.last, end.hops, missing)

    def _end(self, record: Record) -> "End":
        """Where the trail from here ends. What is learnt on the way is remembered."""
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
        if record.event == FAILURE or self._is_in_doubt(record):
            return End(Origin.FAILURE, record, 0)
        if record.causation_id is None:
            return End(Origin.NO_FAILURE, record, 0)
        return None if record.causation_id in self._events else End(Origin.MISSING, record, 0)

    def _is_in_doubt(self, record: Record) -> bool:
        """Whether a step could not be undone that had never succeeded: its answer was unknown, or came too late."""
        return record.event == COMPENSATION_FAILED and (record.step, record.position) not in self._succeeded

    def _back(self, record: Record) -> Iterator[Record]:
        """The event, its cause, the cause of that, and so on; round and round in a circle."""
        cause: Record | None = record
        while cause is not None:
            yield cause
            cause = self._events.get(cause.causation_id or "")


class End(Struct, frozen=True):
    """Where a trail ends, at what, and how many hops away."""

    origin: Origin
    last: Record
    hops: int

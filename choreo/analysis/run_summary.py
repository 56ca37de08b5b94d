"""Summary of one run of a journal: the effects, the steps in force, the causes of compensation, the next events.

Laws: pure, from the rows alone. Reports the rows as they are, even where they contradict each other.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from choreo.analysis.causes import CAUSES_IN_JSON, Explanation, explain
from choreo.analysis.expecting import expected
from choreo.analysis.naming import numbered
from choreo.analysis.next_events import ENDED, NextEvents
from choreo.conformance.journal_records import RunHistory, replayer_of, run_history
from choreo.saga.plan import Plan
from choreo.storage.rows import RUNNING, DeliveryRow, RunRow
from choreo.trace.record import Record
from choreo.trace.vocabulary import COMPENSATE, EXECUTE, PUBLISH, RESUME, SAGA_STUCK, STEP_COMPENSATION_FAILED

WITHDRAWN = (STEP_COMPENSATION_FAILED, SAGA_STUCK)
"""Events that become void when a stuck run is resumed: no participant has received them."""


class RunSummary(Struct, frozen=True):
    """Summary of one run. Positions are in the order of the events. `not_compensated` has the reason of each failed
    compensation.

    `resumed` has the numbers of the deliveries after which an operator resumed the run.
    """

    row: RunRow
    plan: Plan
    history: RunHistory
    deliveries: Sequence[DeliveryRow]
    executed: tuple[int, ...]
    compensated: tuple[int, ...]
    in_doubt: tuple[int, ...]
    """Steps whose answer is unknown and that are not undone."""
    not_compensated: dict[int, str]
    resumed: tuple[int, ...]
    next_events: NextEvents
    explanation: Explanation | None

    @property
    def in_force(self) -> list[int]:
        undone = set(self.compensated)
        return [position for position in self.executed if position not in undone]

    def names(self, positions: Iterable[int]) -> list[str]:
        """Return the names of the steps; the second of two equal names has its number appended."""
        names = numbered(self.plan.steps)
        return [names[position] for position in positions]


def run_summary(row: RunRow, deliveries: Sequence[DeliveryRow]) -> RunSummary:
    """Build the summary of a run.

    Raises `Unreplayable`, or any exception that a request not written by a node causes.
    """
    replayer = replayer_of(row.request.style, row.key)
    history = run_history(row, deliveries, replayer)
    executed: list[int] = []
    compensated: list[int] = []
    in_doubt: dict[int, None] = {}
    not_compensated: dict[int, str] = {}
    for line in history.lines:
        record = line.record
        if record.action == EXECUTE and record.position is not None:
            if record.reason is None:
                executed.append(record.position)
            elif record.in_doubt:
                in_doubt[record.position] = None
        elif record.action == COMPENSATE and record.position is not None:
            not_compensated.pop(record.position, None)
            if record.reason is None:
                if record.position in in_doubt:
                    del in_doubt[record.position]
                else:
                    compensated.append(record.position)
            else:
                not_compensated[record.position] = record.reason
    next_events = ENDED
    if history.snapshot is None:
        next_events = NextEvents(unknown=history.error)
    elif row.state == RUNNING:
        next_events = NextEvents(tuple(expected(replayer, history.snapshot)))
    return RunSummary(
        row,
        replayer.table.plan,
        history,
        deliveries,
        tuple(executed),
        tuple(compensated),
        tuple(in_doubt),
        not_compensated,
        tuple(line.number for line in history.lines if line.record.action == RESUME),
        next_events,
        next(iter(explain(events_that_hold(history.records), CAUSES_IN_JSON)), None),
    )


def events_that_hold(records: Iterable[Record]) -> list[Record]:
    """Return the published events, without those that became void when the run was resumed."""
    events: list[Record] = []
    for record in records:
        if record.action == RESUME:
            events = [event for event in events if event.event not in WITHDRAWN]
        elif record.action == PUBLISH:
            events.append(record)
    return events

"""An account of one run of a journal: what took effect, what is in force, why it went backward, what comes next.

Laws: pure, from the rows alone. Says what they say, also where they do not follow from each other.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from choreo.analysis.causes import CAUSES_IN_JSON, Explanation, explain
from choreo.analysis.expecting import expected
from choreo.analysis.naming import numbered
from choreo.analysis.next_events import ENDED, Prospect
from choreo.conformance.journal_records import RunTale, replayer_of, tell
from choreo.conformance.vocabulary import RESUME
from choreo.saga.plan import Plan
from choreo.storage.rows import RUNNING, DeliveryRow, RunRow
from choreo.trace.record import Record

WITHDRAWN = ("step.compensation_failed", "saga.stuck")
"""What is no longer so once a stuck run is resumed: nobody has heard of it."""


class Account(Struct, frozen=True):
    """One run. Positions are in the order of what happened; `refused` has the reason of each that did not happen.

    `resumed` has the numbers of the deliveries behind which an operator had it go on.
    """

    row: RunRow
    plan: Plan
    told: RunTale
    deliveries: Sequence[DeliveryRow]
    executed: tuple[int, ...]
    compensated: tuple[int, ...]
    in_doubt: tuple[int, ...]
    """The steps whose answer is unknown, and that are not undone."""
    not_compensated: dict[int, str]
    resumed: tuple[int, ...]
    prospect: Prospect
    explanation: Explanation | None

    @property
    def in_force(self) -> list[int]:
        undone = set(self.compensated)
        return [position for position in self.executed if position not in undone]

    def names(self, positions: Iterable[int]) -> list[str]:
        """Of steps; the second one of a name has its number behind it."""
        names = numbered(self.plan.steps)
        return [names[position] for position in positions]


def account_of(row: RunRow, deliveries: Sequence[DeliveryRow]) -> Account:
    """Raises `Unreplayable`, or whatever comes of a request that no node has written."""
    replayer = replayer_of(row.request.style, row.request.steps)
    told = tell(row, deliveries, replayer)
    executed: list[int] = []
    compensated: list[int] = []
    in_doubt: dict[int, None] = {}
    not_compensated: dict[int, str] = {}
    for line in told.lines:
        record = line.record
        if record.action == "execute" and record.position is not None:
            if record.reason is None:
                executed.append(record.position)
            elif record.in_doubt:
                in_doubt[record.position] = None
        elif record.action == "compensate" and record.position is not None:
            not_compensated.pop(record.position, None)
            if record.reason is None:
                if record.position in in_doubt:
                    del in_doubt[record.position]
                else:
                    compensated.append(record.position)
            else:
                not_compensated[record.position] = record.reason
    prospect = ENDED
    if told.stood is None:
        prospect = Prospect(unknown=told.wrong)
    elif row.state == RUNNING:
        prospect = Prospect(tuple(expected(replayer, told.stood)))
    return Account(
        row,
        replayer.table.plan,
        told,
        deliveries,
        tuple(executed),
        tuple(compensated),
        tuple(in_doubt),
        not_compensated,
        tuple(line.number for line in told.lines if line.record.action == RESUME),
        prospect,
        next(iter(explain(events_that_hold(told.records), CAUSES_IN_JSON)), None),
    )


def events_that_hold(records: Iterable[Record]) -> list[Record]:
    """What was published, without what was withdrawn when the run was resumed."""
    events: list[Record] = []
    for record in records:
        if record.action == RESUME:
            events = [event for event in events if event.event not in WITHDRAWN]
        elif record.action == "publish":
            events.append(record)
    return events

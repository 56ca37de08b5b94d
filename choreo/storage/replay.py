"""Replay: rebuild the state of a run from its rows: its cells, and its pending deliveries.

Laws: pure; no step is executed, and no service is called. Every reaction is repeated with the answer that the service
gave originally, and must publish the same events; rows that contradict the reaction are reported, not trusted.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.compile.table import STARTED, Table
from choreo.protocol.event import Event, Events, Fact, InDoubt, Run, Topic
from choreo.protocol.reaction import IN_DOUBT
from choreo.protocol.reaction import RESUMED as RESUMED_PHASE
from choreo.saga.calls.call import Call
from choreo.saga.codec import Undecodable
from choreo.saga.plan import Itinerary, Plan
from choreo.saga.raised import Defect
from choreo.saga.request import Request
from choreo.saga.service import Refused
from choreo.storage import values
from choreo.storage.errors import JournalError
from choreo.storage.rows import DeliveryRow, RunRow
from choreo.storage.sagas import saga_of_key
from choreo.storage.values import Kept


class Unreplayable(JournalError):
    """The rows of a run are inconsistent: another protocol has written them, or the file is damaged."""


RESUMED = "resumed"
"""The word for an operator's request to resume a stuck run."""

Unkeep = Callable[[Kept], Any]


class RunSnapshot(Struct):
    """Snapshot of a run: its cells, its pending deliveries, and the number of handled deliveries.

    A delivery is an event and the index of the subscriber that has not received it yet.
    """

    run: Run
    cells: list[Any]
    pending: list[tuple[Event, int]]
    handled: int


def run_of(number: int, request: Request, plan: Plan, key_prefix: str) -> Run:
    """Build the run with that number of a journal; its id and its idempotency keys are the same in every process."""
    position = None if request.fail_step is None else plan.position_of(request.fail_step)
    has_result = request.input is not None or request.saga is not None
    return Run(
        f"run-{number}",
        request.saga_id,
        key_prefix,
        position,
        request.fail_compensation,
        request.input,
        has_result,
    )


def raised_by(event: Event) -> Defect | None:
    """Return the exception that put the event's publisher in doubt; None if it is not in doubt."""
    detail = event.detail
    return Defect(detail.summary, detail.traceback) if isinstance(detail, InDoubt) else None


def word_of(topic: Topic) -> str:
    """Encode a topic as in the journal."""
    return str(topic.fact) if topic.step is None else f"{topic.fact}:{topic.position}"


def words_of(events: Sequence[Event]) -> str:
    """Encode published events as in the journal."""
    return " ".join(word_of(event.topic) for event in events)


class Replayer:
    """Replays runs of one itinerary in one style. `unkeep` decodes a receipt; read-only callers need none."""

    def __init__(self, style: str, key: Itinerary | str, unkeep: Unkeep = values.unkeep) -> None:
        """Compile the saga of these step names, or of this definition. Raises `Unreplayable` for an unknown style."""
        if style not in STYLES:
            raise Unreplayable(f"style: expected {' or '.join(STYLES)}, got {style!r}")
        self.script, self.unkeep = ReplayedService(), unkeep
        self.table: Table = STYLES[style](saga_of_key(key), lambda step: self.script)
        self.rows = {(word_of(row.topic), row.seat): row for row in self.table.subscriptions}
        self.topics = {word_of(row.topic): row.topic for row in self.table.subscriptions}
        self.subscribers: dict[str, list[int]] = {}
        for row in self.table.subscriptions:
            if row.seat != self.table.client:
                self.subscribers.setdefault(row.topic.name, []).append(row.seat)

    def replay(self, row: RunRow, deliveries: Iterable[DeliveryRow]) -> RunSnapshot:
        """Replay all deliveries of a run. Raises `Unreplayable`."""
        tale = self.tale(row)
        for delivery in deliveries:
            tale.take(delivery)
        return tale.stood()

    def tale(self, row: RunRow) -> "RunReplay":
        """Return the run before its first delivery."""
        return RunReplay(self, run_of(row.number, row.request, self.table.plan, row.key_prefix))


class Unknown(Exception):
    """The answer of a local transaction was unknown."""


class ReplayedService:
    """Stub of every service: repeats the recorded answers."""

    def __init__(self) -> None:
        self.published = ""
        self.receipt: Any = None

    def execute(self, call: Call) -> Any:
        if self.published.startswith(("failed", "attempt")):
            raise Refused
        if self.published.startswith(("compensation_failed", "retry")):  # in doubt, and its undo failed as well
            raise Unknown
        return self.receipt

    def compensate(self, call: Call) -> None:
        if self.published.startswith(("compensation_failed", "retry")):
            raise Refused


class RunReplay:
    """Replay of one run, row by row. `pending` holds each pending delivery, by its word and its subscriber index."""

    def __init__(self, replayer: Replayer, run: Run) -> None:
        self.run = run
        self.cells: list[Any] = list(replayer.table.cells)
        self.pending: dict[tuple[str, int], Event] = {}
        self.handled = 0
        self._rows, self._subscribers, self._script = replayer.rows, replayer.subscribers, replayer.script
        self._unkeep = replayer.unkeep
        self._collector = replayer.table.client - 1
        self._first_collected = replayer.table.cells[self._collector]
        self._collected: list[Event] = []
        self._published: set[str] = set()
        self._stuck: dict[int, tuple[Any, Event, Defect | None]] = {}
        self._publish((Event(STARTED, run),))

    def stood(self) -> RunSnapshot:
        """Return a snapshot of the run."""
        pending = [(event, seat) for (_, seat), event in self.pending.items()]
        return RunSnapshot(self.run, self.cells, pending, self.handled)

    def take(self, row: DeliveryRow) -> Events:
        """Replay one more row, and return the events that it published. Raises `Unreplayable`."""
        self.handled += 1
        if row.heard == RESUMED:
            self._resume()
            return ()
        event = self.pending.pop((row.heard, row.seat), None)
        if event is None:
            raise self._unreplayable(row, f"the delivery of {row.heard} to seat {row.seat}, which is not due")
        before = self.cells[row.seat]
        self._script.published, self._script.receipt = row.published, self._decoded(row)
        self.cells[row.seat], events = self._rows[row.heard, row.seat].react(before, event)
        if words_of(events) != row.published:
            raise self._unreplayable(
                row, f"{row.published or 'nothing'} published, not {words_of(events) or 'nothing'}"
            )
        if self.cells[row.seat].phase is IN_DOUBT and row.detail is not None:  # its undo is tried again
            self.cells[row.seat] = replace(self.cells[row.seat], receipt=values.read_detail(row.detail))
        elif row.detail is not None:
            events = tuple(replace(each, detail=values.read_detail(row.detail)) for each in events)
        if row.seat == self._collector:
            self._collected.append(event)
        elif row.published.startswith("compensation_failed"):
            self._stuck[row.seat] = before, event, raised_by(events[0])
        self._publish(events)
        return events

    def _publish(self, events: Events) -> None:
        for event in events:
            published = word_of(event.topic)
            self._published.add(published)
            for seat in self._subscribers.get(event.topic.name, ()):
                self.pending[published, seat] = event

    def _resume(self) -> None:
        """Deliver again the deliveries that got stuck: they were never acknowledged, and `stuck` was never received.

        A failure that the caller had injected is over. A step in doubt is not executed again; its undo is.
        """
        self.run = replace(self.run, fail_compensation=None)
        withdrawn = {(Fact.COMPENSATION_FAILED, seat) for seat in self._stuck}
        for seat, (before, event, raised) in self._stuck.items():
            self.cells[seat] = before if raised is None else replace(before, phase=RESUMED_PHASE, receipt=raised)
            self.pending[word_of(event.topic), seat] = replace(event, run=self.run)
        self._stuck.clear()
        collected = [e for e in self._collected if (e.topic.fact, e.topic.position) not in withdrawn]
        cell, self._collected = self._first_collected, collected
        for event in collected:
            cell, events = self._rows[word_of(event.topic), self._collector].react(cell, event)
            if any(word_of(each.topic) not in self._published for each in events):
                raise Unreplayable(f"{self.run.id}: expected that nothing new follows from what was collected")
        self.cells[self._collector] = cell

    def _decoded(self, row: DeliveryRow) -> Any:
        try:
            return self._unkeep(row.receipt)
        except Undecodable as error:
            raise Unreplayable(f"{self.run.id}, delivery {row.number}: receipt: {error}") from error

    def _unreplayable(self, row: DeliveryRow, got: str) -> Unreplayable:
        return Unreplayable(
            f"{self.run.id}, delivery {row.number}: expected what follows from the rows before, got {got}; "
            "another version of the protocol has written them, or the journal is damaged"
        )

"""Rounds of the durable runner: publish the committed events, let subscribers react, commit their reactions.

Laws: a delivery is one local transaction, with its inbox mark, its subscriber's cell, the records of the service and
the events to publish. No service is called, and no client answered, because of an event that is not on disk; the
coordinator and the orchestrator, which only listen and call no service, receive an event in the transaction that
publishes it. Pending deliveries are handled and committed together, a round at a time: no service call of a round is
caused by another delivery of the same round.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from choreo.protocol.delivery import after_crash
from choreo.protocol.event import Event, Events, InDoubt
from choreo.protocol.reaction import IN_DOUBT
from choreo.runtime.bus import UnheardEvent
from choreo.runtime.durable.holding import Holding
from choreo.runtime.durable.wiring import Address, DurableWiring, address_of
from choreo.runtime.entry import Entry
from choreo.runtime.in_memory import NoOutcome
from choreo.runtime.runner import RunHandle
from choreo.saga.definition import CrashPoint
from choreo.saga.guarantees import Guarantees
from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect, defect
from choreo.saga.request import Request
from choreo.saga.service import NotSnapshotable
from choreo.storage.calls import RUN, SEAT, Calls
from choreo.storage.errors import JournalError
from choreo.storage.replay import words_of
from choreo.storage.rows import BegunRow, EndedRow, HandledRow
from choreo.storage.service_records import ServiceRecords
from choreo.storage.sqlite.journal import Journal
from choreo.storage.values import Kept, detail_text, keep, outcome_text


class Live(Struct, eq=False, gc=False):
    """A run that has not ended. `key` is its saga's id as in the journal; `handled` counts its deliveries."""

    number: int
    key: str
    request: Request
    wiring: DurableWiring
    cells: list[Any]
    under_way: RunHandle
    handled: int = 0


class Rounds:
    """The runs that have not ended, and the deliveries and rows of the round.

    The arguments are those of the runner.
    """

    def __init__(
        self,
        journal: Journal,
        records: ServiceRecords,
        holding: Holding,
        entry: Entry,
        now_ms: Callable[[], int],
        observe: Callable[[Event], None] | None,
        guarantees: Guarantees,
        calls: Calls | None,
    ) -> None:
        self._journal = journal
        self._records = records
        self._holding = holding
        self._entry = entry
        self._now_ms = now_ms
        self._observe = observe
        self._commits_first = not after_crash(guarantees, CrashPoint.UNCOMMITTED).is_published
        self._calls = calls
        self._marks = None if calls is None else calls.marks
        self.live: dict[str, Live] = {}
        """By the saga's id, as in the journal."""
        self._published: list[Event] = []
        self.collect: Callable[[Events], None] = self._published.extend
        """Takes the events of a reaction from the bus."""
        self._outbox: list[tuple[Live, Event]] = []
        self._due: list[tuple[Live, Event, Address]] = []
        self._begun: list[BegunRow] = []
        self._handled: list[HandledRow] = []
        self._ended: list[EndedRow] = []

    def begin(self, live: Live, row: BegunRow, event: Event) -> None:
        """Take a new run, its row, and its first event."""
        self.live[live.key] = live
        self._begun.append(row)
        self._put_out(live, event, self._now_ms())

    def resume(self, live: Live, pending: Iterable[tuple[Event, int]]) -> None:
        """Take a run of an earlier process with its pending deliveries: each an event and the subscriber's index."""
        self.live[live.key] = live
        for event, seat in pending:
            self._due.append((live, event, (address_of(seat, event.topic.name), seat)))

    def run_until_idle(self) -> None:
        """Run until idle, round by round. Raises `JournalError` and `Reentered`."""
        self._entry.expect_outside()
        self.commit()
        with self._entry:
            while self._outbox or self._due:
                self.publish()
                if self._commits_first:  # without an outbox the next call commits this call's events
                    self.commit()
        if self.live:
            self._put_aside_unended()

    def commit(self) -> None:
        """Commit all handled deliveries in one transaction."""
        begun, handled, ended = self._begun, self._handled, self._ended
        self._begun, self._handled, self._ended = [], [], []
        if self._holding.deadly:
            self._holding.forget(handled)
        self._journal.commit(begun, handled, ended, self._records.changed())

    def publish(self) -> None:
        """Deliver every due event to all its subscribers."""
        due, outbox = self._due, self._outbox
        self._due, self._outbox = [], []
        at_ms = self._now_ms()
        for live, event, (address, seat) in due:
            if self._observe is not None:
                self._observe(event)
            self._deliver(live, event, address, seat, at_ms)
        for live, event in outbox:
            for address, seat in live.wiring.addresses[event.topic.name]:
                if seat == live.wiring.client:
                    self._answer(live, event, address)
                else:
                    self._deliver(live, event, address, seat, at_ms)

    def _deliver(self, live: Live, event: Event, address: str, seat: int, at_ms: int) -> None:
        """Run one local transaction: the subscriber's reaction, and the row that records it."""
        under_way, wiring, cells = live.under_way, live.wiring, live.cells
        if under_way.defect is not None:
            return
        marks = self._marks
        if marks is not None and seat < wiring.client - 1:  # the collector calls no service
            marks[RUN], marks[SEAT] = live.number, seat
        before = cells[seat]
        try:
            wiring.bus.emit(address, event, cells)
        except Exception as error:  # neither a refusal nor a defect of a service: the call will be repeated
            under_way.defect = defect(error)
            self._clear_marks()
            return
        published, words = self._taken(wiring)
        last = published[-1].detail if published else None
        if last.__class__ is Outcome:
            self._ended.append((last.state, at_ms, outcome_text(last), live.number))
        after = cells[seat]
        is_in_doubt = after.phase is IN_DOUBT  # its undo has failed, and is tried again
        detail, receipt = after.receipt if is_in_doubt else published[0].detail if published else None, None
        if seat < wiring.client - 1 and not is_in_doubt and after.receipt is not before.receipt:
            receipt = self._kept(after.receipt, wiring.table.subscribers[seat])
        live.handled += 1
        heard, text = wiring.words[event.topic.name], None if detail is None else detail_text(detail)
        self._handled.append((live.number, live.handled, at_ms, seat, heard, words, text, receipt))
        for each in published:
            self._put_out(live, each, at_ms)
        if text is not None and (is_in_doubt or was_in_doubt(published[0])):
            self._commit_at_once()

    def _taken(self, wiring: DurableWiring) -> tuple[Events, str]:
        """Return the events that the reaction has published, and their words in the journal."""
        if not self._published:
            return (), ""
        published = tuple(self._published)
        self._published.clear()
        known = wiring.words.get(published[0].topic.name) if len(published) == 1 else None
        return published, known or words_of(published)

    def _commit_at_once(self) -> None:
        """Commit the undo of a step in doubt; until it is on disk, the call's mark tells the next process of it."""
        self.commit()
        self._clear_marks()

    def _clear_marks(self) -> None:
        if self._calls is not None:
            self._calls.clear()

    def _kept(self, receipt: object, step: str) -> Kept:
        try:
            return keep(receipt, f"the receipt of {step}")
        except NotSnapshotable as error:  # the earlier copy succeeded
            raise JournalError(str(error)) from None

    def _put_out(self, live: Live, event: Event, at_ms: int) -> None:
        """Put an event into the outbox; deliver it at once to the collector.

        The outbox is for participants, which call services, and for the client. The collector only listens.
        """
        if self._observe is not None:
            self._observe(event)
        wiring, name = live.wiring, event.topic.name
        address = wiring.collected.get(name)
        if address is not None:
            self._deliver(live, event, address, wiring.client - 1, at_ms)
        if name in wiring.addresses:
            self._outbox.append((live, event))
        elif address is None:
            live.under_way.defect = defect(UnheardEvent(f"nobody has subscribed to {name!r}"))

    def _answer(self, live: Live, event: Event, address: str) -> None:
        """Answer the client with an outcome that is on disk."""
        live.wiring.bus.emit(address, event, live.cells)
        live.under_way.outcome, live.under_way.event = live.cells[-1].receipt, event
        self.live.pop(live.key, None)

    def _put_aside_unended(self) -> None:
        """Park runs that stopped without an outcome; recovery or a retry picks them up."""
        for live in self.live.values():
            if live.under_way.defect is None:
                live.under_way.defect = defect(NoOutcome(f"run-{live.number} came to rest without an outcome"))
        self.live.clear()


def was_in_doubt(event: Event) -> bool:
    """Return whether an event tells of a step that was in doubt, undone or not."""
    detail = event.detail
    return isinstance(detail, InDoubt) or (isinstance(detail, Defect) and detail.is_undone)

"""The durable runner: write-ahead; an event is committed to the journal before any service or client sees it.

Laws: a delivery is one local transaction, with its inbox mark, its subscriber's cell, the records of the service and
the events to publish. No service is called, and no client answered, because of an event that is not on disk; the
coordinator and the orchestrator, which only listen and call no service, receive an event in the transaction that
publishes it. Pending deliveries are handled and committed together, a round at a time: no service call of a round is
caused by another delivery of the same round. The fate of an interrupted delivery, and of a repeated request, is looked
up in `protocol/delivery.py` and `protocol/idempotent_receiver.py`, as in the lab.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.compile import STYLES, Style
from choreo.compile.cache import Wirings, compiled
from choreo.compile.obeyed import expect_obeyed
from choreo.compile.table import STARTED, Table
from choreo.protocol.delivery import after_crash, is_resent
from choreo.protocol.event import Event, Events, InDoubt, Run
from choreo.protocol.idempotent_receiver import REQUESTED, IdempotentReceiver
from choreo.protocol.reaction import IN_DOUBT, SUCCEEDED, Cell
from choreo.runtime.bus import Bus, UnheardEvent
from choreo.runtime.durable.conflict import difference
from choreo.runtime.durable.holding import Holding
from choreo.runtime.entry import Entry
from choreo.runtime.in_memory import NoOutcome
from choreo.runtime.origins import new_origin
from choreo.runtime.runner import Conflict, Held, Known, RunHandle
from choreo.saga.definition import CrashPoint, Saga
from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.keys import checked_origin, key_prefix
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary
from choreo.saga.raised import Defect, defect, shown
from choreo.saga.request import NOBODY, Request, Sender, input_text
from choreo.saga.service import NotSnapshotable, ServiceOf
from choreo.storage.calls import CALL, DOUBT, RUN, SEAT, Calls
from choreo.storage.errors import JournalError, UnreadableRow
from choreo.storage.replay import RESUMED, Replayer, RunSnapshot, Unreplayable, run_of, word_of, words_of
from choreo.storage.rows import RUNNING, UNFINISHED, BegunRow, EndedRow, HandledRow, RunRow, begun_row, saga_text
from choreo.storage.sagas import definition_text, digest_of, saga_of_key, shown_steps
from choreo.storage.service_records import ServiceRecords
from choreo.storage.sqlite.journal import Journal
from choreo.storage.values import Kept, detail_text, keep, outcome_text, steps_text

RECOVERED_TOGETHER, RECOVERED_CELLS_MAX = 1000, 200_000
"""Limits on the unfinished runs that are resumed side by side, and on their steps in all; they bound the memory."""

ROW_BYTES_DURABLE, NAME_COPIES = 1_200, 3
"""Size of a subscription here, in bytes: it has its own address on the bus, stored once as a key there and once for
look-up."""

OPERATOR = -1
"""The subscriber index of an operator who resumes a stuck run: none of the table's."""

Address = tuple[str, int]
"""Address of a delivery on the bus, and the index of its subscriber."""


class DurableWiring(Struct, frozen=True, eq=False):
    """An itinerary in one style, compiled and wired to its bus; every delivery has its own address.

    `addresses` has the addresses of each topic, except that of the collector (the coordinator or the orchestrator),
    which is in `collected`; `words` has the journal's word for each topic. `steps` is the itinerary as text, `client`
    the subscriber index of the client; the collector's index is one less.
    """

    table: Table
    client: int
    bus: Bus
    addresses: Mapping[str, tuple[Address, ...]]
    collected: Mapping[str, str]
    words: Mapping[str, str]
    steps: str


class Live(Struct, eq=False, gc=False):
    """A run that has not ended. `key` is its saga's id as in the journal; `handled` counts its deliveries."""

    number: int
    key: str
    request: Request
    wiring: DurableWiring
    cells: list[Any]
    under_way: RunHandle
    handled: int = 0


class DurableRunner:
    """Executes sagas with a journal; a sibling of the in-process runner. Services see no difference.

    `observe` is called with every event when it is decided upon; the event is committed before any subscriber but the
    collector receives it. `now_ms` is the clock, in milliseconds since 1970; it gives the times in the journal, and no
    decision depends on them. `around` wraps every service, for example in a tracer that only observes. `origin` is that
    of the idempotency keys of all runs that are begun here, drawn by default: two processes never have the same one,
    even after a copy or a restore (docs/decisions/021-an-origin-for-each-process.md). A run that was begun by another
    process keeps the origin that the journal has for it. With `calls` a call that ends the process is detected by the
    next process; without, it is repeated at every start. `notice` takes a line for people about a run that is held, or
    that ended the process. `are_same_services` says that the catalogue is the one that the journal has had so far: then
    a service without state may have another class, or be gone.
    """

    def __init__(
        self,
        service_of: ServiceOf,
        journal: Journal,
        now_ms: Callable[[], int],
        styles: Mapping[str, Style] = STYLES,
        observe: Callable[[Event], None] | None = None,
        guarantees: Guarantees = ALL_ON,
        around: Callable[[ServiceOf], ServiceOf] = lambda service_of: service_of,
        resumed: Callable[[Run], None] | None = None,
        origin: str | None = None,
        calls: Calls | None = None,
        notice: Callable[[str], None] = lambda text: None,
        are_same_services: bool = False,
    ) -> None:
        """Restore the services from the journal.

        Raises `JournalError`, and `ValueError` for an origin that is unfit for keys.
        """
        self._journal = journal
        self._now_ms = now_ms
        self._styles = styles
        self._observe = observe
        self._resumed = resumed
        self._guarantees = guarantees
        self._commits_first = not after_crash(guarantees, CrashPoint.UNCOMMITTED).is_published
        self._notice = notice
        self._calls = calls
        self._marks = None if calls is None else calls.marks
        self._holding = Holding(journal, service_of, now_ms)
        self._count_death()
        self._records = ServiceRecords(service_of, journal.records(), calls, are_same_services)
        self._service_of = around(self._records.service)
        self._wirings = Wirings(self._wire, ROW_BYTES_DURABLE, NAME_COPIES)
        self._replayers: Wirings[Replayer] = Wirings(Replayer)
        self._runs = journal.last_run()
        self._sagas: dict[str, Saga] = {}
        self._definitions: dict[str, str] = {}
        """By the name of a saga: its definition, as in the journal."""
        self._origin = new_origin() if origin is None else checked_origin(origin)
        self._has_begun = False
        self._kept_sagas: set[str] = set()
        self._live: dict[str, Live] = {}
        """By the saga's id, as in the journal."""
        self._published: list[Event] = []
        self._outbox: list[tuple[Live, Event]] = []
        self._due: list[tuple[Live, Event, Address]] = []
        self._begun: list[BegunRow] = []
        self._handled: list[HandledRow] = []
        self._ended: list[EndedRow] = []
        self._entry = Entry()

    def add(self, saga: Saga) -> str:
        """Make a saga known by its name, for requests that name it; return the name.

        Raises `NotObeyed` for a key that this runner cannot obey, and `ValueError` for another saga of that name.
        """
        expect_obeyed(saga)
        if self._sagas.setdefault(saga.name, saga) != saga:
            raise ValueError(f"saga: expected one saga of each name, got another {shown(saga.name)}")
        self._definitions[saga.name] = definition_text(saga)
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
        """Run one saga to its end, or return the recorded outcome of a saga that was run before.

        `input` is handed to every call.

        Raises the exceptions of `begin`, and `RuntimeError` if a defect prevents an outcome.
        """
        self._entry.expect_outside()
        saga = None
        if isinstance(steps, Saga):
            saga, steps = (None, steps.itinerary) if steps.itinerary is not None else (self.add(steps), ())
        text = None if input is None else input_text(input)
        try:
            answer = self.begin(Request(saga_id, steps, fail_step, fail_compensation, style, saga, text))
        finally:
            self.run_until_idle()
        outcome = answer if isinstance(answer, Outcome) else answer.outcome
        if outcome is None and isinstance(answer, RunHandle) and answer.held is not None:
            raise RuntimeError(answer.held.text)
        if outcome is None:
            raise RuntimeError(f"saga {shown(saga_id)} came to rest without an outcome: {answer}")
        return outcome

    def begin(self, request: Request, sender: Sender = NOBODY) -> Outcome | RunHandle:
        """Take a request; a repeated request is answered from the journal, and executes no step.

        Raises `TypeError`, `ValueError` and `PlanTooLarge` as the in-process runner does, `Conflict` if the saga is
        recorded with other content, `NotSnapshotable` for a service that the journal cannot store, `JournalError`, and
        `Reentered` within a service that this runner has called, or in another thread than the one that made it.
        """
        self._entry.expect_outside()
        self._journal.begin()
        live = self._live.get(saga_text(request.saga_id))
        if live is not None:
            return self._asked_again(request, sender, live.request, live, None)
        row = self._journal.find(request.saga_id)
        if row is not None:
            return self._asked_again(request, sender, row.request, None, row)
        return self._begin(request, sender)

    def run_until_idle(self) -> None:
        """Run until idle, round by round: publish the committed events, let subscribers react, commit their reactions.

        Raises `JournalError`; then no further event is published, and the next process continues from the data on disk.
        """
        self._entry.expect_outside()
        self.commit()
        with self._entry:
            while self._outbox or self._due:
                self._publish()
                if self._commits_first:  # without an outbox the next call commits this call's events
                    self.commit()
        if self._live:
            self._put_aside_unended()

    def commit(self) -> None:
        """Commit all handled deliveries in one transaction."""
        begun, handled, ended = self._begun, self._handled, self._ended
        self._begun, self._handled, self._ended = [], [], []
        if self._holding.deadly:
            self._holding.forget(handled)
        self._journal.commit(begun, handled, ended, self._records.changed())

    def status(self, saga_id: str | int) -> Known | RunHandle | None:
        """Return the status of a saga; a run without an outcome is shown as it stands once all begun runs are idle."""
        live = self._live.get(saga_text(saga_id))
        if live is not None:
            return live.under_way
        row = self._journal.find(saga_id)
        return None if row is None else Known(row.latest_outcome, self._holding.held(row))

    # After a restart

    def _count_death(self) -> None:
        """Count the call in which the previous process ended, if there was one."""
        mark = None if self._calls is None else self._calls.left
        told = None if mark is None else self._holding.count(mark)
        self._journal.commit([], [], [], [])
        self._clear_marks()
        if told is not None:
            self._notice(told)

    def recover(self) -> Iterator[list[tuple[Request, Sender, RunHandle]]]:
        """Bring every unfinished run to its end, the oldest first; yield those whose client is still waiting.

        A run that has ended the process twice in one call comes last and alone: if it ends this process too, no other
        run is interrupted.
        """
        after = 0
        suspects: list[RunRow] = []
        while rows := self._journal.run_rows(after, RECOVERED_TOGETHER, UNFINISHED):
            resumed: list[tuple[RunRow, RunHandle]] = []
            cells = 0
            for columns in rows:
                after = columns[0]
                row = self._read(columns)
                if row is None:
                    continue
                if self._holding.is_suspect(row.number):
                    suspects.append(row)
                    continue
                resumed.append((row, self._noticed(self._revived(row))))
                live = self._live.get(saga_text(row.request.saga_id))
                cells += 0 if live is None else len(live.cells)
                if cells > RECOVERED_CELLS_MAX:
                    break
            yield self._settled(resumed)
        for row in suspects:
            yield self._settled([(row, self._noticed(self._revived(row)))])

    def _read(self, columns: Sequence[Any]) -> RunRow | None:
        """Decode a run that has not ended; log an unreadable one, and return None."""
        try:
            return self._journal.read(columns)
        except UnreadableRow as error:
            self._notice(str(error))
            return None

    def _settled(self, resumed: list[tuple[RunRow, RunHandle]]) -> list[tuple[Request, Sender, RunHandle]]:
        """Bring these runs to their ends; return those whose client is still waiting."""
        self.run_until_idle()
        return [(row.request, row.sender, under_way) for row, under_way in resumed if row.outcome is None]

    def _noticed(self, under_way: RunHandle) -> RunHandle:
        if under_way.held is not None:
            self._notice(under_way.held.text)
        return under_way

    def resume(self, row: RunRow) -> RunHandle:
        """Bring to its end a run that is stuck, held or interrupted.

        The deliveries that got stuck are repeated, as if they had never been acknowledged; a call that has ended the
        process too often is repeated once. Raises `ValueError` for a run that has completed or was compensated.
        """
        if row.state not in (State.STUCK, RUNNING):
            raise ValueError(f"expected a run that is stuck, got {row.number}, which is {row.state}")
        self.commit()  # deliveries without events may wait to be written, and have numbers all the same
        if row.state == State.STUCK:
            try:
                stood = self._stood(row)
                held = self._why_held(row, stood)
                if held is None:
                    self._wirings.of(row.request.style, row.key)
            except Exception as error:  # the run stays as it is
                return RunHandle(defect=defect(error))
            if held is not None:
                return RunHandle(held=held)
            marker = (row.number, stood.handled + 1, self._now_ms(), OPERATOR, RESUMED, "", None, None)
            self._journal.commit([], [marker], [(RUNNING, None, None, row.number)], [])
            if self._resumed is not None:
                self._resumed(stood.run)
        self._holding.forgive(row.number)
        under_way = self._noticed(self._revived(row))
        self.run_until_idle()
        return under_way

    def poll_operator(self) -> None:
        """Poll the journal: resume the runs that an operator has asked for since the last call.

        Raises `JournalError`, also if another file has taken the journal's place meanwhile.
        """
        if not self._journal.has_changed():
            return
        self._expect_my_runs()
        for question, number in self._journal.asked_to_resume():
            row, failure = self._journal.run(number), None
            if row is not None and (row.state == State.STUCK or self._holding.is_held(number)):
                failure = why_not(self.resume(row))
            self._journal.answer(question, self._now_ms(), failure)

    def _expect_my_runs(self) -> None:
        """Check that the newest run is still there: no legal operation of other programs removes it (see `prune`)."""
        newest = self._journal.last_run()
        if newest != self._runs:
            raise JournalError(
                f"expected {self._journal.path!r} to have run-{self._runs}, which was committed, as the newest, got "
                f"run-{newest}: a copy was put back while a node has the journal. Stop the node before that"
            )

    def _revived(self, row: RunRow) -> RunHandle:
        """Restore the run with its pending deliveries."""
        if not is_resent(self._guarantees):
            return RunHandle()
        under_way, request = RunHandle(), row.request
        try:
            stood = self._stood(row)
            under_way.held = self._why_held(row, stood)
            self._holding.note(row, under_way.held)
            if under_way.held is not None:
                return under_way
            self._holding.go_on_undoing(row.number, stood)
            wiring = self._wirings[request.style, row.key]
        except Exception as error:  # this run cannot continue; others can
            if isinstance(error, JournalError) and not isinstance(error, Unreplayable | UnreadableRow):
                raise
            under_way.defect = defect(error)
            return under_way
        live = Live(row.number, saga_text(request.saga_id), request, wiring, stood.cells, under_way, stood.handled)
        self._live[live.key] = live
        for event, seat in stood.pending:
            self._due.append((live, event, (address_of(seat, event.topic.name), seat)))
        return under_way

    def _stood(self, row: RunRow) -> RunSnapshot:
        """Replay the run from its rows. Raises `Unreplayable`."""
        replayer = self._replayers[row.request.style, row.key]
        return replayer.replay(row, self._journal.deliveries(row.number))

    def _why_held(self, row: RunRow, stood: RunSnapshot) -> Held | None:
        return self._holding.why(row, stood, self._replayers[row.request.style, row.key].table.plan)

    # Requests

    def _begin(self, request: Request, sender: Sender) -> RunHandle:
        definition = None if request.saga is None else self._definition(request.saga)
        wiring = self._wirings.of(request.style, request.steps if definition is None else definition)
        self._runs += 1
        if not self._has_begun:
            self._journal.keep_origin(self._runs, self._origin)
            self._has_begun = True
        run = run_of(self._runs, request, wiring.table.plan, key_prefix(self._origin, self._runs))
        live = Live(self._runs, saga_text(request.saga_id), request, wiring, list(wiring.table.cells), RunHandle())
        self._live[live.key] = live
        digest = None if definition is None else digest_of(definition)
        if digest is not None and digest not in self._kept_sagas:
            self._kept_sagas.add(digest)
            self._journal.keep_saga(digest, str(definition))
        self._begun.append(begun_row(self._runs, live.key, request, wiring.steps, sender, self._now_ms(), digest))
        self._put_out(live, Event(STARTED, run), self._now_ms())
        return live.under_way

    def _asked_again(
        self, request: Request, sender: Sender, recorded: Request, live: Live | None, row: RunRow | None
    ) -> Outcome | RunHandle:
        """Apply the idempotent receiver to a request whose saga is recorded."""
        if not is_same(recorded, request):
            raise Conflict(difference(recorded, request))
        outcome = None if row is None else row.outcome
        run = Run("again", request.saga_id, "")  # it calls no service
        cell = Cell() if outcome is None else Cell(SUCCEEDED, 0, outcome)
        reaction = IdempotentReceiver(self._guarantees, STARTED, run).heard_request[cell.phase]
        events = () if reaction is None else reaction(cell, Event(REQUESTED, run))[1]
        if events and events[0].topic is STARTED:
            return self._begin(request, sender)
        if events and isinstance(recorded_outcome := events[0].detail, Outcome):
            return recorded_outcome
        if live is not None:
            return live.under_way
        return RunHandle() if row is None or outcome is not None else self._revived(row)

    # A round

    def _publish(self) -> None:
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
        if self._marks is not None:
            self._marks[CALL] = self._marks[DOUBT] = 0

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
        self._live.pop(live.key, None)

    def _put_aside_unended(self) -> None:
        """Park runs that stopped without an outcome; recovery or a retry picks them up."""
        for live in self._live.values():
            if live.under_way.defect is None:
                live.under_way.defect = defect(NoOutcome(f"run-{live.number} came to rest without an outcome"))
        self._live.clear()

    def _definition(self, saga: str) -> str:
        """Return the definition of a saga by its name. Raises `ValueError` for an unknown one."""
        if saga not in self._definitions:
            raise ValueError(f"saga: expected a saga that this runner was given, got {shown(saga)}")
        return self._definitions[saga]

    def _wire(self, style: str, key: Itinerary | str) -> DurableWiring:
        saga = saga_of_key(key)
        table = compiled(self._styles, style, saga, self._service_of)
        self._holding.note_served(table.plan.steps, self._records.service, self._runs + 1)
        bus = Bus(table, self._published.extend, lambda row: address_of(row.seat, row.topic.name))
        addresses: dict[str, list[Address]] = {}
        collected: dict[str, str] = {}
        for row in table.subscriptions:
            address = address_of(row.seat, row.topic.name)
            if row.seat == table.client - 1:
                collected[row.topic.name] = address
            else:
                addresses.setdefault(row.topic.name, []).append((address, row.seat))
        return DurableWiring(
            table,
            table.client,
            bus,
            {name: tuple(each) for name, each in addresses.items()},
            collected,
            {row.topic.name: word_of(row.topic) for row in table.subscriptions},
            steps_text(key if isinstance(key, tuple) else shown_steps(saga)),
        )


def why_not(under_way: RunHandle) -> str | None:
    """Return why a resumed run cannot continue, or None if it can."""
    if under_way.held is not None:
        return under_way.held.reason
    return None if under_way.defect is None else under_way.defect.summary


def is_same(recorded: Request, request: Request) -> bool:
    """Return whether a request repeats the recorded one. A saga may have other steps by now; its name counts."""
    if request.saga is not None:
        recorded = replace(recorded, steps=request.steps)
    return recorded == request


def was_in_doubt(event: Event) -> bool:
    """Return whether an event tells of a step that was in doubt, undone or not."""
    detail = event.detail
    return isinstance(detail, InDoubt) or (isinstance(detail, Defect) and detail.is_undone)


def address_of(seat: int, topic: str) -> str:
    """Return the bus address of a topic's delivery to one subscriber."""
    return f"{seat}<{topic}"

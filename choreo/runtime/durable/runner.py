"""The durable runner: write-ahead; an event is committed to the journal before any service or client sees it.

Laws: the fate of a repeated request is looked up in `protocol/idempotent_receiver.py`, as in the lab. The runner takes
requests; `rounds.py` carries them out, `recovery.py` continues the runs of an earlier process, and `wiring.py` connects
what the styles compile.
"""

from collections.abc import Callable, Iterator, Mapping

from choreo.compile import STYLES, Style
from choreo.compile.cache import Wirings, compiled
from choreo.compile.table import STARTED
from choreo.protocol.event import Event, Run
from choreo.protocol.idempotent_receiver import REQUESTED, IdempotentReceiver
from choreo.protocol.reaction import SUCCEEDED, Cell
from choreo.runtime.base import BaseRunner
from choreo.runtime.durable.conflict import difference, is_same
from choreo.runtime.durable.holding import Holding
from choreo.runtime.durable.recovery import Recovery, count_death
from choreo.runtime.durable.rounds import Live, Rounds
from choreo.runtime.durable.wiring import NAME_COPIES, ROW_BYTES_DURABLE, DurableWiring, wired
from choreo.runtime.entry import Entry, Outside
from choreo.runtime.origins import new_origin
from choreo.runtime.runner import Conflict, Known, RunHandle
from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.keys import checked_origin, key_prefix
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.raised import shown
from choreo.saga.request import NOBODY, Request, Sender
from choreo.saga.service import ServiceOf
from choreo.storage.calls import Calls
from choreo.storage.errors import JournalError
from choreo.storage.replay import run_of
from choreo.storage.rows import RunRow, begun_row, saga_text
from choreo.storage.sagas import definition_text, digest_of, saga_of_key, shown_steps
from choreo.storage.service_records import ServiceRecords
from choreo.storage.sqlite.journal import Journal
from choreo.storage.values import steps_text


class DurableRunner(BaseRunner):
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
        self._entry = Entry()
        super().__init__(Outside(self._entry))
        self._journal = journal
        self._now_ms = now_ms
        self._styles = styles
        self._guarantees = guarantees
        self._holding = Holding(journal, service_of, now_ms)
        count_death(self._holding, journal, calls, notice)
        self._records = ServiceRecords(service_of, journal.records(), calls, are_same_services)
        self._service_of = around(self._records.service)
        self._wirings = Wirings(self._wire, ROW_BYTES_DURABLE, NAME_COPIES)
        rounds = Rounds(journal, self._records, self._holding, self._entry, now_ms, observe, guarantees, calls)
        self._rounds, self._live = rounds, rounds.live
        self._recovery = Recovery(journal, self._holding, rounds, self._wirings, now_ms, guarantees, resumed, notice)
        self._runs = journal.last_run()
        self._definitions: dict[str, str] = {}
        """By the name of a saga: its definition, as in the journal."""
        self._origin = new_origin() if origin is None else checked_origin(origin)
        self._has_begun = False
        self._kept_sagas: set[str] = set()

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
        self._rounds.run_until_idle()

    def commit(self) -> None:
        """Commit all handled deliveries in one transaction."""
        self._rounds.commit()

    def status(self, saga_id: str | int) -> Known | RunHandle | None:
        """Return the status of a saga; a run without an outcome is shown as it stands once all begun runs are idle."""
        live = self._live.get(saga_text(saga_id))
        if live is not None:
            return live.under_way
        row = self._journal.find(saga_id)
        return None if row is None else Known(row.latest_outcome, self._holding.held(row))

    def recover(self) -> Iterator[list[tuple[Request, Sender, RunHandle]]]:
        """Bring every unfinished run to its end, the oldest first; yield those whose client is still waiting.

        A run that has ended the process twice in one call comes last and alone: if it ends this process too, no other
        run is interrupted.
        """
        return self._recovery.recover()

    def resume(self, row: RunRow) -> RunHandle:
        """Bring to its end a run that is stuck, held or interrupted.

        The deliveries that got stuck are repeated, as if they had never been acknowledged; a call that has ended the
        process too often is repeated once. Raises `ValueError` for a run that has completed or was compensated.
        """
        return self._recovery.resume(row)

    def poll_operator(self) -> None:
        """Poll the journal: resume the runs that an operator has asked for since the last call.

        Raises `JournalError`, also if another file has taken the journal's place meanwhile.
        """
        if self._journal.has_changed():
            self._expect_my_runs()
            self._recovery.answer_operator()

    def _expect_my_runs(self) -> None:
        """Check that the newest run is still there: no legal operation of other programs removes it (see `prune`)."""
        newest = self._journal.last_run()
        if newest != self._runs:
            raise JournalError(
                f"expected {self._journal.path!r} to have run-{self._runs}, which was committed, as the newest, got "
                f"run-{newest}: a copy was put back while a node has the journal. Stop the node before that"
            )

    def _run(self, request: Request) -> Outcome:
        try:
            answer = self.begin(request)
        finally:
            self.run_until_idle()
        outcome = answer if isinstance(answer, Outcome) else answer.outcome
        if outcome is None and isinstance(answer, RunHandle) and answer.held is not None:
            raise RuntimeError(answer.held.text)
        if outcome is None:
            raise RuntimeError(f"saga {shown(request.saga_id)} came to rest without an outcome: {answer}")
        return outcome

    def _begin(self, request: Request, sender: Sender) -> RunHandle:
        definition = None if request.saga is None else self._definition(request.saga)
        wiring = self._wirings.of(request.style, request.steps if definition is None else definition)
        self._runs += 1
        if not self._has_begun:
            self._journal.keep_origin(self._runs, self._origin)
            self._has_begun = True
        run = run_of(self._runs, request, wiring.table.plan, key_prefix(self._origin, self._runs))
        live = Live(self._runs, saga_text(request.saga_id), request, wiring, list(wiring.table.cells), RunHandle())
        digest = None if definition is None else digest_of(definition)
        if digest is not None and digest not in self._kept_sagas:
            self._kept_sagas.add(digest)
            self._journal.keep_saga(digest, str(definition))
        row = begun_row(self._runs, live.key, request, wiring.steps, sender, self._now_ms(), digest)
        self._rounds.begin(live, row, Event(STARTED, run))
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
        return RunHandle() if row is None or outcome is not None else self._recovery.revived(row)

    def _definition(self, saga: str) -> str:
        """Return the definition of a saga by its name. Raises `ValueError` for an unknown one."""
        definition = self._definitions.get(saga)
        if definition is None:
            if saga not in self._sagas:
                raise ValueError(f"saga: expected a saga that this runner was given, got {shown(saga)}")
            definition = self._definitions[saga] = definition_text(self._sagas[saga])
        return definition

    def _wire(self, style: str, key: Itinerary | str) -> DurableWiring:
        saga = saga_of_key(key)
        table = compiled(self._styles, style, saga, self._service_of)
        self._holding.note_served(table.plan.steps, self._records.service, self._runs + 1)
        return wired(table, steps_text(key if isinstance(key, tuple) else shown_steps(saga)), self._rounds.collect)

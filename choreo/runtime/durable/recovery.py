"""Recovery of the durable runner: the runs of an earlier process, and the requests of operators.

Laws: the fate of an interrupted delivery is looked up in `protocol/delivery.py`, as in the lab. A run that cannot
continue harms no other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from choreo.compile.cache import Wirings
from choreo.protocol.delivery import is_resent
from choreo.protocol.event import Run
from choreo.runtime.durable.holding import Holding
from choreo.runtime.durable.rounds import Live, Rounds
from choreo.runtime.durable.wiring import DurableWiring
from choreo.runtime.runner import Held, RunHandle
from choreo.saga.guarantees import Guarantees
from choreo.saga.outcome import State
from choreo.saga.raised import defect
from choreo.saga.request import Request, Sender
from choreo.storage.calls import Calls
from choreo.storage.errors import JournalError, UnreadableRow
from choreo.storage.replay import RESUMED, Replayer, RunSnapshot, Unreplayable
from choreo.storage.rows import RUNNING, UNFINISHED, RunRow, saga_text
from choreo.storage.sqlite import resumptions
from choreo.storage.sqlite.journal import Journal

RECOVERED_TOGETHER, RECOVERED_CELLS_MAX = 1000, 200_000
"""Limits on the unfinished runs that are resumed side by side, and on their steps in all; they bound the memory."""

OPERATOR = -1
"""The subscriber index of an operator who resumes a stuck run: none of the table's."""


class Recovery:
    """Restores runs from the journal, and brings them to their ends.

    The arguments are those of the runner.
    """

    def __init__(
        self,
        journal: Journal,
        holding: Holding,
        rounds: Rounds,
        wirings: Wirings[DurableWiring],
        now_ms: Callable[[], int],
        guarantees: Guarantees,
        resumed: Callable[[Run], None] | None,
        notice: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._holding = holding
        self._rounds = rounds
        self._wirings = wirings
        self._replayers: Wirings[Replayer] = Wirings(Replayer)
        self._now_ms = now_ms
        self._guarantees = guarantees
        self._resumed = resumed
        self._notice = notice

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
                resumed.append((row, self._noticed(self.revived(row))))
                live = self._rounds.live.get(saga_text(row.request.saga_id))
                cells += 0 if live is None else len(live.cells)
                if cells > RECOVERED_CELLS_MAX:
                    break
            yield self._settled(resumed)
        for row in suspects:
            yield self._settled([(row, self._noticed(self.revived(row)))])

    def _read(self, columns: Sequence[Any]) -> RunRow | None:
        """Decode a run that has not ended; log an unreadable one, and return None."""
        try:
            return self._journal.read(columns)
        except UnreadableRow as error:
            self._notice(str(error))
            return None

    def _settled(self, resumed: list[tuple[RunRow, RunHandle]]) -> list[tuple[Request, Sender, RunHandle]]:
        """Bring these runs to their ends; return those whose client is still waiting."""
        self._rounds.run_until_idle()
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
        self._rounds.commit()  # deliveries without events may wait to be written, and have numbers all the same
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
        under_way = self._noticed(self.revived(row))
        self._rounds.run_until_idle()
        return under_way

    def answer_operator(self) -> None:
        """Resume the runs that an operator has asked for, and answer. Raises `JournalError`."""
        for question, number in resumptions.asked_to_resume(self._journal):
            row, failure = self._journal.run(number), None
            if row is not None and (row.state == State.STUCK or self._holding.is_held(number)):
                failure = why_not(self.resume(row))
            resumptions.answer(self._journal, question, self._now_ms(), failure)

    def revived(self, row: RunRow) -> RunHandle:
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
        self._rounds.resume(live, stood.pending)
        return under_way

    def _stood(self, row: RunRow) -> RunSnapshot:
        """Replay the run from its rows. Raises `Unreplayable`."""
        replayer = self._replayers[row.request.style, row.key]
        return replayer.replay(row, self._journal.deliveries(row.number))

    def _why_held(self, row: RunRow, stood: RunSnapshot) -> Held | None:
        return self._holding.why(row, stood, self._replayers[row.request.style, row.key].table.plan)


def count_death(holding: Holding, journal: Journal, calls: Calls | None, notice: Callable[[str], None]) -> None:
    """Count the call in which the previous process ended, if there was one."""
    mark = None if calls is None else calls.left
    told = None if mark is None else holding.count(mark)
    journal.commit([], [], [], [])
    if calls is not None:
        calls.clear()
    if told is not None:
        notice(told)


def why_not(under_way: RunHandle) -> str | None:
    """Return why a resumed run cannot continue, or None if it can."""
    if under_way.held is not None:
        return under_way.held.reason
    return None if under_way.defect is None else under_way.defect.summary

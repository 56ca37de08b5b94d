"""Held runs: set aside, because no service serves a step any more, or because a call ends the process.

Laws: a held run has not failed, and its client gets no reply. The service that served a step when a run began is
recorded in the journal, once for each change; a run that began with a stand-in continues with a stand-in.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from choreo.protocol.reaction import CANCELLED, COMPENSATED, FAILED, RESUMED, STUCK, WAITING
from choreo.runtime.runner import Held, named, shown
from choreo.saga.calls.calling import fit
from choreo.saga.plan import Plan
from choreo.saga.raised import Defect, expect_no_ctrl_c, in_a_line
from choreo.saga.service import Service, ServiceOf, stand_in_of
from choreo.storage.calls import COMPENSATE, NAMES, Mark
from choreo.storage.recorded_service import RecordedCalls, kind_of
from choreo.storage.replay import RunSnapshot
from choreo.storage.rows import HandledRow, RunRow
from choreo.storage.sagas import saga_of_key
from choreo.storage.sqlite import holds, resumptions
from choreo.storage.sqlite.holds import DeadlyRow, HeldRow
from choreo.storage.sqlite.journal import Journal

DEATHS_MAX = 3
"""A run is held once the same call has ended this many processes in a row."""

ENDED_IN_DOUBT = Defect("the process ended while the step was in doubt and was undone; its exception is not known", "")

ENDED_BACKWARD = (FAILED, CANCELLED, COMPENSATED, STUCK)


class Holding:
    """Decides which runs are held, and maintains the journal's tables about them."""

    def __init__(self, journal: Journal, service_of: ServiceOf, now_ms: Callable[[], int]) -> None:
        """Read the tables about held runs. Raises `JournalError`."""
        self._journal = journal
        self._service_of = service_of
        self._now_ms = now_ms
        self._stand_in = stand_in_of(service_of)
        self._held = holds.held_among(journal, 0)
        self.deadly = {(row.run, row.seat): row for row in holds.deadly_calls(journal)}

    # The services at the beginning of a run

    def note_served(self, steps: Iterable[str], service_of: Callable[[str], RecordedCalls], run: int) -> None:
        """Record the service of each of these steps from that run on, if it has changed."""
        for step in dict.fromkeys(steps):
            service = service_of(step)
            kind = None if service.recorded.inner is self._stand_in else service.recorded.kind
            if holds.served_by(self._journal, step, run) != kind:
                holds.note_served(self._journal, step, run, kind)

    # Calls that ended the process

    def count(self, mark: Mark) -> str | None:
        """Count the call that the previous process died in; return a sentence about it if it concerns a run."""
        row = self._journal.run(mark.run) if holds.is_unfinished(self._journal, mark.run) else None
        if row is None:
            return None
        before = self.deadly.get((mark.run, mark.seat))
        deaths = before.deaths + 1 if before is not None and before.call == mark.call else 1
        deadly = DeadlyRow(mark.run, mark.seat, mark.call, deaths)
        holds.count_death(self._journal, deadly)
        self.deadly[mark.run, mark.seat] = deadly
        itinerary, times = saga_of_key(row.key).plan, "once" if deaths == 1 else f"{deaths} times in a row"
        held = self._deadly_of(row, itinerary)
        if held is not None:
            self.note(row, held)
            resumptions.answer_all(self._journal, mark.run, self._now_ms(), held.reason)
        return f"{named(row.number, row.request.saga_id)} has ended the process {times}, in {_call(deadly, itinerary)}"

    def is_suspect(self, run: int) -> bool:
        """Return whether a call of that run has ended the process more than once."""
        return any(run == each and deadly.deaths > 1 for (each, _), deadly in self.deadly.items())

    def go_on_undoing(self, run: int, stood: RunSnapshot) -> None:
        """Continue the undo of a step in doubt that the end of the process interrupted.

        The step is not executed again: a participant that the first undo has reached may take a second execution for
        the first one, which it believes to be in force.
        """
        steps = range(len(stood.cells) - 2)  # the last two are the collector and the client
        for (each, seat), deadly in self.deadly.items():
            is_undo = each == run and deadly.call == NAMES[COMPENSATE] and seat in steps
            if is_undo and stood.cells[seat].phase == WAITING:
                stood.cells[seat] = replace(stood.cells[seat], phase=RESUMED, receipt=ENDED_IN_DOUBT)

    def forget(self, handled: Sequence[HandledRow]) -> None:
        """Reset the counts of the calls that were handled now: they have not ended the process."""
        over = {(row[0], row[3]) for row in handled if row[5]} & self.deadly.keys()
        if over:
            holds.forget_deaths(self._journal, over)
            for call in over:
                del self.deadly[call]

    def forgive(self, run: int) -> None:
        """Allow one more attempt, at an operator's request."""
        for call, deadly in self.deadly.items():
            if call[0] == run and deadly.deaths >= DEATHS_MAX:
                self.deadly[call] = replace(deadly, deaths=DEATHS_MAX - 1)
                holds.count_death(self._journal, self.deadly[call])

    # Which runs are held

    def is_held(self, run: int) -> bool:
        return run in self._held

    def held(self, row: RunRow) -> Held | None:
        """Return the recorded reason why a run is held."""
        held = self._held.get(row.number)
        return None if held is None else Held(row.number, row.request.saga_id, held.step, held.reason)

    def why(self, row: RunRow, stood: RunSnapshot, plan: Plan) -> Held | None:
        """Return why the run cannot continue from its present state, or None if it can."""
        return self._deadly_of(row, plan) or self._unserved_of(row, stood, plan)

    def note(self, row: RunRow, held: Held | None) -> None:
        """Record that the run is held, or that it no longer is."""
        before = self._held.get(row.number)
        if held is None:
            if before is not None:
                holds.release(self._journal, row.number)
                del self._held[row.number]
        elif before is None or (before.step, before.reason) != (held.step, held.reason):
            self._held[row.number] = HeldRow(row.number, self._now_ms(), held.step, held.reason)
            holds.hold(self._journal, self._held[row.number])

    def _deadly_of(self, row: RunRow, plan: Plan) -> Held | None:
        for (run, _), deadly in self.deadly.items():
            if run == row.number and deadly.deaths >= DEATHS_MAX:
                why = f"{_call(deadly, plan)} has ended the process {deadly.deaths} times in a row"
                reason = f"{why}; mend the service, and then resume the run"
                return Held(run, row.request.saga_id, _step(deadly, plan), reason)
        return None

    def _unserved_of(self, row: RunRow, stood: RunSnapshot, plan: Plan) -> Held | None:
        for step in dict.fromkeys(steps_to_call(plan, stood)):
            why = self._unserved(step, row.number)
            if why is not None:
                return Held(row.number, row.request.saga_id, step, why)
        return None

    def _unserved(self, step: str, run: int) -> str | None:
        """Return why no service serves that step as it was served when the run began, or None if one does."""
        nobody = f"no service serves step {shown(step)} any more"
        try:
            service = fit(self._service_of(step), step)
        except BaseException as error:  # the author's catalogue may raise any exception
            expect_no_ctrl_c(error)
            return f"{nobody} ({in_a_line(error)})"
        before = holds.served_by(self._journal, step, run)
        if before is None or not self._is_stand_in(service, before):
            return None
        return f"{nobody}: {before} served it when the run began, and now only a stand-in would"

    def _is_stand_in(self, service: Service, before: str) -> bool:
        """Return whether a service is a stand-in; a catalogue may make a new one, of one kind, for each step."""
        if self._stand_in is None:
            return False
        return service is self._stand_in or before != kind_of(service) == kind_of(self._stand_in)


def steps_to_call(plan: Plan, stood: RunSnapshot) -> list[str]:
    """Return the steps whose services may still be called, to execute or to compensate."""
    steps: list[str] = []
    over: set[int] = set()
    for position, step in enumerate(plan.steps):
        phase = stood.cells[position].phase
        is_never_reached = phase == WAITING and not over.isdisjoint(plan.predecessors[position])
        if phase in ENDED_BACKWARD or is_never_reached or position == stood.run.fail_position:
            over.add(position)
        if phase == STUCK or position not in over:
            steps.append(step)
    return steps


def _call(deadly: DeadlyRow, plan: Plan) -> str:
    step = _step(deadly, plan)
    return f"{deadly.call}() of step {shown(step)}" if step is not None else f"a call of seat {deadly.seat}"


def _step(deadly: DeadlyRow, plan: Plan) -> str | None:
    return plan.steps[deadly.seat] if 0 <= deadly.seat < len(plan.steps) else None

"""`choreo resume`: an operator's word that a stuck run is to go on.

Laws: only who has the journal's lock drives a run. If that is a node, it is asked, through the journal; if there is
none, the run is driven here; if the node dies before it has answered, too. What is not stuck stays as it is.
"""

import time
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from choreo.composition import NoServices, compose_durable
from choreo.domain.outcome import State
from choreo.journal.errors import JournalInUse
from choreo.journal.journal import Journal
from choreo.journal.opening import Lock
from choreo.journal.rows import RUNNING, RunRow
from choreo.runners.durable import DurableRunner
from choreo.terminal.ages import now_ms
from choreo.terminal.arguments import WrongUse
from choreo.terminal.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.journal_file import JournalFile, OfRun, SagaId, find_run, journal_errors, journal_to_read
from choreo.terminal.names import enumerated
from choreo.terminal.sagas_command import STATES
from choreo.terminal.screen import TITLE, Screen
from choreo.terminal.trace_file import text_of

RESUME_HELP = (
    "Have a stuck saga go on: what could not be compensated is tried again. If a node has the journal, it is asked to; "
    "if none has, the saga is driven here, and so is one that a dead node has left unfinished."
)
RESUME_EPILOG = """[bold]Examples[/]
  choreo resume order-2 --journal sagas.db
  choreo resume order-2 --journal sagas.db --timeout 300
  choreo resume order-2 --journal sagas.db --services my_services --json""" + STATUS.format(
    "it has come to its end, or there was nothing to resume", "it is stuck again, or not at its end within the time"
)

TIMEOUT_S, POLL_S = 30.0, 0.05


class Done(Struct):
    """What came of it: `by` is who drove the run, if anybody did; `failure` says why it could not go on."""

    row: RunRow
    by: str | None = None
    failure: str | None = None
    is_answered: bool = True


def register(app: typer.Typer) -> None:
    app.command("resume", cls=Command, help=RESUME_HELP, epilog=RESUME_EPILOG)(_resume)


def _resume(
    saga_id: SagaId,
    journal: JournalFile,
    run: OfRun = None,
    services: Annotated[
        str | None,
        typer.Option(
            "--services",
            metavar="MODULE",
            help="A module with catalogue(), where it is driven here; else the one of the node that had the journal.",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0, help="Wait so many seconds for a node that is asked.")
    ] = TIMEOUT_S,
    json: Json = False,
) -> None:
    screen = Screen()
    with wrong_use():
        with journal_to_read(journal) as opened:
            before = find_run(opened, saga_id, run)
        done = Done(before)
        if before.state in (RUNNING, State.STUCK):
            with journal_errors():
                done = Resumption(journal, before, services, timeout_s).make()
    if json:
        screen.json(_plain(before, done))
    else:
        _show(screen, before, done)
    finish(is_finding=_is_finding(before, done))


class Resumption:
    """Has one run go on, by whoever may drive it."""

    def __init__(self, path: str, row: RunRow, services: str | None, timeout_s: float) -> None:
        self._path = path
        self._row = row
        self._services = services
        self._timeout_s = timeout_s

    def make(self) -> Done:
        """Raises `JournalError`, and `WrongUse` where the services cannot be opened."""
        lock = self._lock()
        if lock is not None:
            return self._drive(lock)
        if self._row.state == RUNNING:
            return Done(self._row)  # whoever has the journal sees to it
        return self._ask()

    def _lock(self) -> Lock | None:
        """The right to drive runs; None where a node has it."""
        try:
            return Lock(self._path)
        except JournalInUse:
            return None

    def _drive(self, lock: Lock, question: int | None = None) -> Done:
        try:
            journal = Journal.open(self._path)
            try:
                lock.watch_log()
                done = self._driven(journal, question)
                lock.expect_held()
                return done
            finally:
                journal.close()
        finally:
            lock.release()

    def _driven(self, journal: Journal, question: int | None) -> Done:
        row = _again(journal, self._row)
        if row.state not in (RUNNING, State.STUCK):
            return Done(row, "another process")
        runner = self._runner(journal)
        under_way = runner.resume(row)
        runner.commit()
        failure = None if under_way.defect is None else under_way.defect.summary
        if question is not None:
            journal.answer(question, now_ms(), failure)
        return Done(_again(journal, row), "this command", failure)

    def _runner(self, journal: Journal) -> DurableRunner:
        try:
            return compose_durable(self._services, journal)
        except NoServices as error:
            raise WrongUse("--services", str(error).removeprefix("services: ")) from None

    def _ask(self) -> Done:
        """The node that has the journal; and go on in its place, should it die over it."""
        journal = Journal.open(self._path)
        try:
            question = journal.ask_to_resume(self._row.number, now_ms())
            until = time.monotonic() + self._timeout_s
            while time.monotonic() < until:
                is_answered, failure = journal.answered(question)
                if is_answered:
                    return Done(_again(journal, self._row), "the node", failure)
                lock = self._lock()
                if lock is not None:
                    return self._drive(lock, question)
                time.sleep(POLL_S)
            return Done(_again(journal, self._row), is_answered=False)
        except KeyboardInterrupt:  # the question stays
            return Done(_again(journal, self._row), is_answered=False)
        finally:
            journal.close()


def _again(journal: Journal, row: RunRow) -> RunRow:
    """The run as it is now. Raises `WrongUse` where it was pruned meanwhile."""
    found = journal.run(row.number)
    if found is None:
        raise WrongUse("SAGA_ID", f"run-{row.number} was there a moment ago, and is gone")
    return found


def _is_finding(before: RunRow, done: Done) -> bool:
    """Whether it was to go on, and has not come to its end."""
    if done.by is None and done.is_answered:
        return False
    return done.row.state in (RUNNING, State.STUCK)


# For people


def _show(screen: Screen, before: RunRow, done: Done) -> None:
    row = done.row
    name = f"saga {screen.name(str(text_of(row.request.saga_id)))}, run-{row.number}"
    screen.sentence((name, TITLE), ": ", (screen.prose(row.state), STATES.get(row.state, "")), indent=2)
    for sentence in _sentences(screen, before, done):
        screen.sentence(f"  {sentence}", indent=2)


def _sentences(screen: Screen, before: RunRow, done: Done) -> list[str]:
    row = done.row
    if not done.is_answered:
        return ["The node has not seen to it in time. It still may: what it was asked stays in the journal."]
    if done.by is None:
        if row.state == RUNNING:
            return ["It is under way. Another process has the journal: a node, which sees to it, or one more command."]
        return ["It is not stuck: there is nothing to resume."]
    told = [f"It {'was stuck' if before.state == State.STUCK else 'was cut off'}, and {done.by} had it go on."]
    outcome = row.latest_outcome
    if done.failure is not None:
        told.append(f"It cannot go on: {screen.prose(done.failure)}")
    elif outcome is not None and row.state == State.STUCK:
        reason = f": {screen.prose(outcome.reason)}" if outcome.reason else ""
        told.append(f"It is stuck again, {screen.name(str(outcome.stuck_step))} could not be compensated{reason}.")
    elif outcome is not None and row.state == State.COMPENSATED:
        undone = [screen.name(step) for step in outcome.compensated_steps]
        told.append(f"Compensated, in this order: {enumerated(undone) or 'nothing'}.")
    return told


# For programs


def _plain(before: RunRow, done: Done) -> dict[str, Any]:
    row = done.row
    return {
        "run": f"run-{row.number}",
        "saga_id": row.request.saga_id,
        "was": before.state,
        "state": row.state,
        "by": done.by,
        "answered": done.is_answered,
        "failure": done.failure,
        "outcome": msgspec.to_builtins(row.latest_outcome),
    }

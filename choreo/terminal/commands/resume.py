"""`choreo resume`: resumes a stuck run on an operator's request.

Laws: only the holder of the journal's lock drives a run. If a node holds it, the request goes to the node through the
journal. If no process holds it, or the node dies before it has answered, the command drives the run itself. A run that
is not stuck stays as it is.
"""

import time
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from choreo.analysis.naming import enumerated
from choreo.api import NoServices, compose_durable
from choreo.render.screen import TITLE, Screen
from choreo.runtime.durable.recovery import why_not
from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.outcome import State
from choreo.saga.usage import UsageError
from choreo.storage.errors import JournalInUse
from choreo.storage.rows import HELD, RUNNING, RunRow
from choreo.storage.sqlite import resumptions
from choreo.storage.sqlite.holds import held_run
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.lock import Lock
from choreo.terminal.commands.sagas import STATES
from choreo.terminal.options.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.options.journal_file import JournalFile, OfRun, SagaId, find_run, journal_errors, journal_to_read
from choreo.terminal.options.panels import OPERATE
from choreo.terminal.options.trace_file import text_of
from choreo.terminal.views.durations import now_ms

RESUME_HELP = (
    "Resume a stuck or held saga: the compensation that failed, or the call that ended the process, is tried again.\n\n"
    "A running node resumes the saga on request. Without a node, this command runs it to its end, "
    "also if a dead node has left it unfinished."
)
RESUME_EPILOG = """[bold]Examples[/]
  choreo resume order-2 --journal sagas.db
  choreo resume order-2 --journal sagas.db --timeout 300
  choreo resume order-2 --journal sagas.db --services my_services --json""" + STATUS.format(
    "the saga has ended, now or before",
    "stuck again, held or unfinished, or the journal could not be written",
)

WAS = {State.STUCK: "was stuck", HELD: "was held"}
TIMEOUT_S, POLL_S = 30.0, 0.05


class Done(Struct):
    """Result of a resumption: `by` is the process that drove the run, if any; `failure` is the error."""

    row: RunRow
    by: str | None = None
    failure: str | None = None
    is_answered: bool = True
    is_held: bool = False


def register(app: typer.Typer) -> None:
    app.command("resume", cls=Command, rich_help_panel=OPERATE, help=RESUME_HELP, epilog=RESUME_EPILOG)(_resume)


def _resume(
    saga_id: SagaId,
    journal: JournalFile,
    run: OfRun = None,
    services: Annotated[
        str | None,
        typer.Option(
            "--services",
            metavar="MODULE",
            help="Module with catalogue(), for a saga that runs here (default: that of the journal).",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0, help="Seconds to wait for a running node.")
    ] = TIMEOUT_S,
    json: Json = False,
) -> None:
    screen = Screen()
    with wrong_use():
        with journal_to_read(journal, writes=True) as opened:
            before = find_run(opened, saga_id, run)
            was = _state(opened, before)
        done = Done(before)
        if before.state in (RUNNING, State.STUCK):
            with journal_errors(writes=True):
                done = Resumption(journal, before, services, timeout_s, was == HELD).make()
    if json:
        screen.json(_plain(was, done))
    else:
        _show(screen, was, done)
    finish(is_finding=done.row.state in (RUNNING, State.STUCK))


class Resumption:
    """Resumes one run, in this process or in the node that holds the journal."""

    def __init__(self, path: str, row: RunRow, services: str | None, timeout_s: float, is_held: bool) -> None:
        self._path = path
        self._row = row
        self._services = services
        self._timeout_s = timeout_s
        self._is_held = is_held

    def make(self) -> Done:
        """Resume the run. Raises `JournalError`, and `UsageError` where the services cannot be opened."""
        lock = self._lock()
        if lock is not None:
            return self._drive(lock)
        if self._row.state == RUNNING and not self._is_held:
            return Done(self._row)  # the holder of the journal drives it
        return self._ask()

    def _lock(self) -> Lock | None:
        """Acquire the lock that permits driving runs; None where a node holds it."""
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
        if question is not None and (failure := resumptions.answered(journal, question)[1]) is not None:
            return _done(journal, row, "the node", failure)  # the node crashed over it too often
        failure = why_not(runner.resume(row))
        runner.commit()
        if question is not None:
            resumptions.answer(journal, question, now_ms(), failure)
        return _done(journal, row, "this command", failure)

    def _runner(self, journal: Journal) -> DurableRunner:
        try:
            return compose_durable(self._services, journal)
        except NoServices as error:
            raise UsageError("--services", str(error).removeprefix("services: ")) from None

    def _ask(self) -> Done:
        """Ask the node that holds the journal; if the node dies over the run, drive it here."""
        journal = Journal.open(self._path)
        try:
            question = resumptions.ask_to_resume(journal, self._row.number, now_ms())
            until = time.monotonic() + self._timeout_s
            while time.monotonic() < until:
                is_answered, failure = resumptions.answered(journal, question)
                if is_answered:
                    return _done(journal, self._row, "the node", failure)
                lock = self._lock()
                if lock is not None:
                    return self._drive(lock, question)
                time.sleep(POLL_S)
            return Done(_again(journal, self._row), is_answered=False, is_held=self._is_held)
        except KeyboardInterrupt:  # the request stays in the journal
            return Done(_again(journal, self._row), is_answered=False, is_held=self._is_held)
        finally:
            journal.close()


def _again(journal: Journal, row: RunRow) -> RunRow:
    """Read the run again. Raises `UsageError` where it was pruned meanwhile."""
    found = journal.run(row.number)
    if found is None:
        raise UsageError("SAGA_ID", f"run-{row.number} was there a moment ago, and is gone")
    return found


def _done(journal: Journal, row: RunRow, by: str, failure: str | None) -> Done:
    row = _again(journal, row)
    return Done(row, by, failure, is_held=_state(journal, row) == HELD)


def _state(journal: Journal, row: RunRow) -> str:
    """Return the state of a run as `choreo sagas` lists it."""
    return HELD if row.state == RUNNING and held_run(journal, row.number) is not None else row.state


# Text


def _show(screen: Screen, was: str, done: Done) -> None:
    row, state = done.row, HELD if done.is_held else done.row.state
    name = f"saga {screen.name(str(text_of(row.request.saga_id)))}, run-{row.number}"
    screen.sentence((name, TITLE), ": ", (screen.prose(state), STATES.get(state, "")), indent=2)
    for sentence in _sentences(screen, was, done):
        screen.sentence(f"  {sentence}", indent=2)


def _sentences(screen: Screen, was: str, done: Done) -> list[str]:
    row = done.row
    if not done.is_answered:
        return ["The node has not seen to it in time. It still may: what it was asked stays in the journal."]
    if done.by is None:
        if row.state == RUNNING:
            return ["It is under way. Another process has the journal: a node, which sees to it, or one more command."]
        return ["It is not stuck: there is nothing to resume."]
    told = [f"It {WAS.get(was, 'was cut off')}, and {done.by} had it go on."]
    outcome = row.latest_outcome
    if done.is_held and done.failure is not None:
        return [
            f"It {WAS.get(was, 'was cut off')}, and {done.by} could not have it go on: {screen.prose(done.failure)}."
        ]
    if done.failure is not None:
        told.append(f"It cannot go on: {screen.prose(done.failure)}")
    elif outcome is not None and row.state == State.STUCK:
        reason = f": {screen.prose(outcome.reason)}" if outcome.reason else ""
        told.append(f"It is stuck again, {screen.name(str(outcome.stuck_step))} could not be compensated{reason}.")
    elif outcome is not None and row.state == State.COMPENSATED:
        undone = [screen.name(step) for step in outcome.compensated_steps]
        told.append(f"Compensated, in this order: {enumerated(undone) or 'nothing'}.")
    return told


# JSON


def _plain(was: str, done: Done) -> dict[str, Any]:
    row = done.row
    return {
        "run": f"run-{row.number}",
        "saga_id": row.request.saga_id,
        "was": was,
        "state": HELD if done.is_held else row.state,
        "by": done.by,
        "answered": done.is_answered,
        "failure": done.failure,
        "outcome": msgspec.to_builtins(row.latest_outcome),
    }

"""`choreo show`: one run of a journal, drawn.

Laws: read-only, also while a node runs.
"""

import json as json_module
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from choreo.analysis.next_events import as_json
from choreo.analysis.run_summary import RunSummary, run_summary
from choreo.render.mermaid import history_mermaid
from choreo.render.screen import Screen
from choreo.saga.usage import UsageError
from choreo.storage.errors import JournalError
from choreo.storage.rows import HELD, RUNNING, DeliveryRow, RunRow
from choreo.storage.sqlite import resumptions
from choreo.storage.sqlite.holds import HeldRow, held_run
from choreo.terminal.commands.sagas import held_as_json
from choreo.terminal.options.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.options.journal_file import JournalFile, OfRun, SagaId, find_run, journal_errors, journal_to_read
from choreo.terminal.options.panels import OPERATE
from choreo.terminal.views.explain import explanation_as_json
from choreo.terminal.views.show import picture_records, show_summary
from choreo.trace.record import time_text

SHOW_HELP = (
    "Draw one saga of a journal: its deliveries with their times, the effects, the steps in force, the reason of a "
    "failure, and the next events."
)
SHOW_EPILOG = """[bold]Examples[/]
  choreo show order-2 --journal sagas.db
  choreo show order-2 --journal sagas.db --mermaid > order-2.mmd
  choreo show order-2 --journal sagas.db --json""" + STATUS.format(
    "shown", "shown, but its rows do not follow from each other"
)


def register(app: typer.Typer) -> None:
    app.command("show", cls=Command, rich_help_panel=OPERATE, help=SHOW_HELP, epilog=SHOW_EPILOG)(_show)


def _show(
    saga_id: SagaId,
    journal: JournalFile,
    run: OfRun = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", metavar="", help="Print a Mermaid sequence diagram and nothing else.")
    ] = False,
    json: Json = False,
    show_all: Annotated[
        bool, typer.Option("--all", metavar="", help="Also show deliveries that changed nothing.")
    ] = False,
) -> None:
    screen = Screen()
    with wrong_use():
        if mermaid and json:
            raise UsageError("--mermaid", "expected one form of output, got --json as well")
        with journal_to_read(journal) as opened, opened.at_one_moment():
            row = find_run(opened, saga_id, run)
            deliveries = opened.deliveries(row.number)
            is_asked = row.number in [number for _, number in resumptions.asked_to_resume(opened)]
            held = held_run(opened, row.number) if row.state == RUNNING else None
        with journal_errors():
            summary = _summary(row, deliveries, journal)
    if json:
        screen.json(_plain(journal, summary, is_asked, held))
    elif mermaid:
        screen.plain(history_mermaid(picture_records(summary), show_all))
    else:
        show_summary(screen, summary, journal, is_asked, show_all, held)
    finish(is_finding=summary.history.error is not None)


def _summary(row: RunRow, deliveries: Sequence[DeliveryRow], path: str) -> RunSummary:
    try:
        return run_summary(row, deliveries)
    except JournalError:
        raise
    except Exception as error:  # a request not written by a node may fail in any way
        why = f"run {row.number} cannot be told ({type(error).__name__}: {error})"
        raise JournalError(f"expected a journal that is sound, got {path!r}: {why}") from error


def _plain(path: str, summary: RunSummary, is_asked: bool, held: HeldRow | None) -> dict[str, Any]:
    row, request = summary.row, summary.row.request
    return {
        "journal": path,
        "run": f"run-{row.number}",
        "saga_id": request.saga_id,
        "state": row.state if held is None else HELD,
        "held": held_as_json(held),
        "style": request.style,
        "steps": request.steps,
        "fail_step": request.fail_step,
        "fail_compensation": request.fail_compensation,
        "key_prefix": row.key_prefix,
        "sender": msgspec.to_builtins(row.sender),
        "begun": time_text(row.begun_ms),
        "ended": None if row.ended_ms is None else time_text(row.ended_ms),
        "reply": _reply(row),
        "outcome": msgspec.to_builtins(row.outcome),
        "resolution": msgspec.to_builtins(row.resolution),
        "took_effect": summary.names(summary.executed),
        "compensated": summary.names(summary.compensated),
        "in_force": summary.names(summary.in_force),
        "in_doubt": summary.names(summary.in_doubt),
        "not_compensated": dict(
            zip(summary.names(summary.not_compensated), summary.not_compensated.values(), strict=True)
        ),
        "next": as_json(summary.next_events),
        "resumed": len(summary.resumed),
        "asked_to_resume": is_asked,
        "wrong": summary.history.error,
        "explanation": None if summary.explanation is None else explanation_as_json(summary.explanation),
        "records": [msgspec.to_builtins(record) for record in summary.history.records],
    }


def _reply(row: RunRow) -> Any:
    """Return the body of the reply to the client, which a retry receives again."""
    from choreo.node.replies import reply_text

    if row.outcome is None:
        return None
    return json_module.loads(reply_text(row.request.saga_id, row.sender.msg_id, row.outcome))

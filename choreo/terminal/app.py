"""Commands of the command line.

Laws: a command reads its arguments, delegates the work, prints the result, and exits with a status; all other work is
done elsewhere. Exit status: 0 fine; 1 a finding; 2 wrong use.
"""

import sys
from enum import Enum
from typing import Annotated

import typer

from choreo.analysis.causes import CAUSES_IN_JSON
from choreo.analysis.causes import explain as explain_saga
from choreo.analysis.recording import Recording
from choreo.comparison import compare as compare_styles
from choreo.compile import STYLES
from choreo.recorder import Scenario, record
from choreo.render.mermaid import mermaid as mermaid_of
from choreo.render.screen import Screen, fall_silent
from choreo.saga.service import ServiceOf
from choreo.saga.usage import UsageError
from choreo.terminal.commands.check import register as register_check
from choreo.terminal.commands.lab import register as register_lab
from choreo.terminal.commands.lesson import register as register_lessons
from choreo.terminal.commands.lint import register as register_lint
from choreo.terminal.commands.prune import register as register_prune
from choreo.terminal.commands.resume import register as register_resume
from choreo.terminal.commands.sagas import register as register_sagas
from choreo.terminal.commands.show import register as register_show
from choreo.terminal.options.arguments import open_separately
from choreo.terminal.options.command import (
    CANNOT_WRITE,
    HELP,
    STATUS,
    Command,
    Commands,
    Json,
    NodeCommand,
    OfStyle,
    Shown,
    finish,
    wrong_use,
)
from choreo.terminal.options.definition_arguments import read_steps
from choreo.terminal.options.panels import RUN_AND_COMPARE
from choreo.terminal.options.services import Services
from choreo.terminal.options.trace_file import events_of_saga
from choreo.terminal.views.as_json import comparison_as_json, run_as_json
from choreo.terminal.views.compare import show_comparison
from choreo.terminal.views.explain import explanation_as_json, show_explanations
from choreo.terminal.views.run import is_same, show_end, show_picture, show_sameness, telling
from choreo.version import __version__

app = typer.Typer(
    name="choreo",
    cls=Commands,
    help="Sagas by choreography and by orchestration: run them, see every event, compare the styles.",
    epilog="""[bold]Examples[/]
  choreo run book_flight book_hotel book_car --fail book_car
  choreo compare place_order charge+reserve ship --fail ship

Every command has its own help: choreo run --help""",
    no_args_is_help=True,
    context_settings={"help_option_names": HELP},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

STEP_HELP = (
    "STEP is the name of a step; steps run one after the other. a+b is a group that runs in parallel. "
    """A JSON array is a group too, and takes any name: '\\["a+b", "c"]'. """
    "A single STEP may name a definition instead: order.toml, services.sagas:order, lesson-5."
)
RUN_HELP = "Run one saga; print its events as they happen, the sequence diagram and the outcome."
RUN_EPILOG = """[bold]Examples[/]
  choreo run book_flight book_hotel book_car --fail book_car
  choreo run place_order charge+reserve ship --fail ship --style both
  choreo run a b c --fail c --mermaid > saga.mmd""" + STATUS.format(
    "completed, or compensated", "stuck, a defect of a service, or a difference between the styles"
)
COMPARE_HELP = "Run one saga in both styles; compare outcomes and records, and count the differences."
COMPARE_EPILOG = """[bold]Examples[/]
  choreo compare book_flight book_hotel book_car --fail book_car
  choreo compare a b+c d --fail d --json""" + STATUS.format(
    "same outcome and same records in both styles", "a difference in outcome or records"
)

EXPLAIN_EPILOG = """[bold]Examples[/]
  choreo node --trace trace.jsonl < sagas.jsonl
  choreo explain trace.jsonl booking-124
  choreo explain - order-1 --run run-3 --json < trace.jsonl""" + STATUS.format(
    "explained, or no step was compensated", "a compensation that the trace does not lead back to a failure"
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"choreo {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", metavar="", help="Print the version and exit.", is_eager=True, callback=_print_version),
]


@app.callback()
def _options(version: Version = False) -> None: ...


class Form(Enum):
    """Output format of a run."""

    PEOPLE = "people"
    JSON = "json"
    MERMAID = "mermaid"


Steps = Annotated[list[str], typer.Argument(metavar="STEP", hidden=True)]
Fail = Annotated[
    list[str] | None,
    typer.Option("--fail", metavar="STEP", help="Step whose local transaction refuses; the first of that name."),
]
FailCompensation = Annotated[
    list[str] | None,
    typer.Option("--fail-compensation", metavar="STEP", help="Step whose compensation keeps failing."),
]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="JSON", help="""The input of every call, a JSON value: '{"total": 60}'."""),
]
All = Annotated[bool, typer.Option("--all", metavar="", help="Also draw deliveries that changed nothing.")]


@app.command("run", cls=Command, rich_help_panel=RUN_AND_COMPARE, help=f"{RUN_HELP}\n\n{STEP_HELP}", epilog=RUN_EPILOG)
def run(
    steps: Steps,
    fail: Fail = None,
    fail_compensation: FailCompensation = None,
    style: OfStyle = Shown.CHOREOGRAPHY,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", metavar="", help="Print a Mermaid sequence diagram and nothing else.")
    ] = False,
    json: Json = False,
    show_all: All = False,
    services: Services = None,
    input: Input = None,
) -> None:
    screen = Screen()
    with wrong_use():
        saga = read_steps(steps, fail or (), fail_compensation or (), services, input)
        form = _form(mermaid, json, style)
        sets = open_separately(services, saga.plan.steps, len(style.styles), saga.service_names)
    recordings = [
        _run(screen, saga, name, service_of, form, show_all)
        for name, service_of in zip(style.styles, sets, strict=True)
    ]
    if style is Shown.BOTH and form is Form.PEOPLE:
        show_sameness(screen, recordings)
    finish(is_finding=any(recording.is_finding for recording in recordings) or not is_same(recordings))


def _run(screen: Screen, saga: Scenario, style: str, service_of: ServiceOf, form: Form, show_all: bool) -> Recording:
    if form is Form.PEOPLE:
        recording = record(saga, style, service_of, seen=telling(screen, saga, style))
        show_picture(screen, recording, show_all)
        show_end(screen, saga, recording)
        return recording
    recording = record(saga, style, service_of)
    if form is Form.JSON:
        screen.json(run_as_json(saga, recording))
    else:
        screen.plain(mermaid_of(recording, show_all))
    return recording


@app.command(
    "compare",
    cls=Command,
    rich_help_panel=RUN_AND_COMPARE,
    help=f"{COMPARE_HELP}\n\n{STEP_HELP}",
    epilog=COMPARE_EPILOG,
)
def compare(
    steps: Steps,
    fail: Fail = None,
    fail_compensation: FailCompensation = None,
    json: Json = False,
    show_all: All = False,
    services: Services = None,
    input: Input = None,
) -> None:
    screen = Screen()
    with wrong_use():
        saga = read_steps(steps, fail or (), fail_compensation or (), services, input)
        sets = open_separately(services, saga.plan.steps, 2 * len(STYLES), saga.service_names)
        comparison = compare_styles(saga, sets)
    if json:
        screen.json(comparison_as_json(saga, comparison))
    else:
        show_comparison(screen, saga, comparison, show_all)
    finish(is_finding=not comparison.is_same)


register_lint(app)
register_lab(app)
register_check(app)
register_sagas(app)
register_show(app)
register_resume(app)
register_prune(app)
register_lessons(app)


@app.command("explain", cls=Command, rich_help_panel=RUN_AND_COMPARE, epilog=EXPLAIN_EPILOG)
def explain(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="A trace in JSON lines; - reads stdin.")],
    saga_id: Annotated[str, typer.Argument(metavar="SAGA_ID", help="The caller's name for the saga.")],
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Explain only this run of the saga.")] = None,
    json: Json = False,
) -> None:
    """Explain from a trace why each compensation ran: the chain of causes back to the failure."""
    screen = Screen()
    with wrong_use():
        events = events_of_saga(trace, saga_id, run)
    explanations = explain_saga(events, CAUSES_IN_JSON)
    if json:
        screen.json({"trace": trace, "saga_id": saga_id, "runs": [explanation_as_json(e) for e in explanations]})
    else:
        show_explanations(screen, saga_id, explanations)
    finish(is_finding=not all(explanation.is_explained for explanation in explanations))


@app.command(
    "node",
    cls=NodeCommand,
    rich_help_panel=RUN_AND_COMPARE,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def node(context: typer.Context) -> None:
    """Execute sagas from stdin: JSON messages in, one JSON line for each reply out."""
    from choreo.node.command import main as node_main

    raise typer.Exit(node_main(context.args))


def main() -> None:
    """Run the command that the command line names, and exit with its status."""
    try:
        app(prog_name="choreo")
    except OSError as error:
        fall_silent()
        print(f"choreo: cannot write: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_WRITE)


def _form(mermaid: bool, json: bool, style: Shown) -> Form:
    if mermaid and json:
        raise UsageError("--mermaid", "expected one form of output, got --json as well")
    if mermaid and style is Shown.BOTH:
        raise UsageError("--mermaid", "expected one style, got both: a file has one diagram")
    return Form.MERMAID if mermaid else Form.JSON if json else Form.PEOPLE

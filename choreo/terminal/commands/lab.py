"""`choreo explore` and `choreo simulate`: the laboratory from the command line.

Laws: reads the arguments, delegates the work, prints the result. Ctrl-C stops the work cleanly and keeps the results so
far.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from choreo.api import open_services
from choreo.lab.explore.explorer import Explorer
from choreo.lab.explore.limits import MEMORY_MB_MAX, SECONDS_MAX, STATES_MAX, Limits
from choreo.lab.options import rates, with_faults, with_guarantees, with_services
from choreo.lab.report import Counterexample, Report
from choreo.lab.simulate.campaign import Lab, simulate
from choreo.render.diagram import history_diagram
from choreo.render.mermaid import history_mermaid
from choreo.render.report import any_finding, show_report
from choreo.render.screen import Screen
from choreo.saga.calls.modules import SERVICES
from choreo.saga.definition import Saga
from choreo.saga.service import NotSnapshotable
from choreo.saga.usage import UsageError
from choreo.terminal.options.command import STATUS, Command, DefinitionSource, Json, OfStyle, Shown, finish, wrong_use
from choreo.terminal.options.definition_arguments import open_definition
from choreo.terminal.options.lab import WithOption, WithoutOption, progress_bar, state_counter
from choreo.terminal.options.panels import BREAK_AND_PROVE
from choreo.terminal.options.services import Services, check_services
from choreo.trace.record import encode_record

EXPLORE_HELP = (
    "Explore every reachable state of a definition; print a proof that it is safe, or the shortest counterexample."
)
EXPLORE_EPILOG = """[bold]Examples[/]
  choreo explore services.sagas:order --max-faults 1
  choreo explore order.toml --style both --without inbox
  choreo explore lesson-5""" + STATUS.format("safe: every state was explored", "a violation, or stopped before the end")
SIMULATE_HELP = (
    "Play seeded random histories with faults; print the first violation with the fewest faults that cause it."
)
SIMULATE_EPILOG = """[bold]Examples[/]
  choreo simulate services.sagas:order --seeds 1000
  choreo simulate order.toml --seeds 1000 --faults drop=0.1,crash=0.02
  choreo simulate lesson-5 --seed 7""" + STATUS.format("nothing found", "a violation, or a fault that never fired")

SEEDS = 1000
SEEDS_MAX = 10_000_000

Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--faults", metavar="KIND,…", help="Kinds of faults: drop, duplicate, delay, crash, partition, poison."
    ),
]
Rates = Annotated[
    list[str] | None,
    typer.Option("--faults", metavar="KIND=RATE,…", help="Rate of each kind of fault, such as drop=0.05."),
]
MermaidOption = Annotated[
    bool, typer.Option("--mermaid", metavar="", help="Print only the counterexample, as a Mermaid diagram.")
]


def register(app: typer.Typer) -> None:
    app.command("explore", cls=Command, rich_help_panel=BREAK_AND_PROVE, help=EXPLORE_HELP, epilog=EXPLORE_EPILOG)(
        _explore
    )
    app.command("simulate", cls=Command, rich_help_panel=BREAK_AND_PROVE, help=SIMULATE_HELP, epilog=SIMULATE_EPILOG)(
        _simulate
    )


def _explore(
    definition: DefinitionSource,
    style: OfStyle = Shown.CHOREOGRAPHY,
    max_faults: Annotated[
        int | None, typer.Option("--max-faults", metavar="K", help="Maximum number of faults in one history.")
    ] = None,
    faults: Kinds = None,
    without: WithoutOption = None,
    with_: WithOption = None,
    no_reduction: Annotated[
        bool,
        typer.Option("--no-reduction", metavar="", help="Also explore orders that the partial-order reduction skips."),
    ] = False,
    states: Annotated[
        int, typer.Option("--states", metavar="N", help="Stop after this number of states.")
    ] = STATES_MAX,
    memory_mb: Annotated[
        int, typer.Option("--memory", metavar="MB", help="Stop at this amount of memory.")
    ] = MEMORY_MB_MAX,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Stop after this time.")] = SECONDS_MAX,
    services: Services = None,
    json: Json = False,
    mermaid: MermaidOption = False,
) -> None:
    screen = Screen()
    with wrong_use():
        read = with_services(open_definition(definition), services)
        read = with_faults(with_guarantees(read, with_, without), faults, max_faults)
        check_services(read, services)
        _one_form(json, mermaid)
    limits, module = Limits(states, memory_mb, seconds), SERVICES if services is None else services
    reports = []
    switched = ("--without", without), ("--with", with_)
    for name in style.styles:
        with state_counter(f"exploring, {name}") as counter:
            explorer = Explorer(read, name, open_services(module), not no_reduction, limits, progress=counter)
            with wrong_use(), _copied():
                reports.append(explorer.explore())
        more = ("--max-faults", max_faults), ("--faults", faults), ("--no-reduction", no_reduction)
        again = _again("explore", definition, name, *more, *switched, ("--services", services))
        _show(screen, read, reports[-1], read.faults.budget if read.faults.kinds else 0, again, json, mermaid)
        if reports[-1].stopped is not None and "interrupted" in reports[-1].stopped:
            break
    finish(is_finding=any_finding(reports))


def _simulate(
    definition: DefinitionSource,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help=f"Play the seeds from 1 to N (default: {SEEDS}).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="S", help="Play only this seed.")] = None,
    style: OfStyle = Shown.CHOREOGRAPHY,
    faults: Rates = None,
    without: WithoutOption = None,
    with_: WithOption = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", help="Number of processes (default: all cores).", min=1)
    ] = None,
    services: Services = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="With --seed: write the trace to FILE, as JSON lines."),
    ] = None,
    json: Json = False,
    mermaid: MermaidOption = False,
) -> None:
    screen = Screen()
    with wrong_use():
        read = with_guarantees(with_services(open_definition(definition), services), with_, without)
        wanted = rates(read, faults)
        check_services(read, services)
        _one_form(json, mermaid)
        chosen = _seeds(seeds, seed)
        if trace is not None:
            _check_trace(trace, seed, style)
    module = SERVICES if services is None else services
    reports = []
    switched = ("--without", without), ("--with", with_)
    for name in style.styles:
        with progress_bar(f"simulating, {name}") as bar:
            open_services_here = partial(open_services, module)
            with wrong_use(), _copied():
                report = simulate(read, name, open_services_here, chosen, wanted, processes, bar.move)
        reports.append(report)
        found = report.counterexample
        chosen_seed = ("--seed", seed if found is None else found.seed)
        options = ("--faults", faults), *switched, ("--services", services), chosen_seed
        again = _again("simulate", definition, name, *options)
        history = None if seed is None else Lab(read, name, open_services(module), wanted).play(seed)
        if history is not None:
            report = replace(report, never_fired=())  # the one requested history is shown
            reports[-1] = report
            if trace is not None:
                trace.write_bytes(b"".join(encode_record(record) + b"\n" for record in history.records))
        _show(screen, read, report, None, again, json, mermaid)
        if history is not None and found is None and not json:
            whole = Counterexample(tuple(fired.words for fired in history.fired), history.records, seed)
            _show_history(screen, whole, mermaid)
        if report.stopped is not None:
            break
    finish(is_finding=any_finding(reports))


def _check_trace(trace: Path, seed: int | None, style: Shown) -> None:
    if seed is None or len(style.styles) > 1:
        raise UsageError("--trace", "expected --seed S and one style as well: a trace is that of one history")
    try:
        trace.write_bytes(b"")
    except OSError as error:
        raise UsageError(
            "--trace", f"expected a file that can be written, got {str(trace)!r} ({error.strerror})"
        ) from None


def _show(
    screen: Screen, read: Saga, report: Report, budget: int | None, again: str, json: bool, mermaid: bool
) -> None:
    if json:
        screen.json(report.as_json())
    elif mermaid:
        if report.counterexample is not None:
            screen.plain(history_mermaid(report.counterexample.records))
    else:
        show_report(screen, read.name, report, budget, again)


def _show_history(screen: Screen, history: Counterexample, mermaid: bool) -> None:
    if mermaid:
        screen.plain(history_mermaid(history.records))
        return
    for words in history.faults:
        screen.sentence("  fault: ", screen.prose(words), indent=4)
    screen.one_line()
    screen.lines(history_diagram(history.records, screen, screen.width))


@contextmanager
def _copied() -> Iterator[None]:
    """Report a receipt that cannot be copied as wrong use; it is discovered only when a call returns it."""
    try:
        yield
    except NotSnapshotable as error:
        raise UsageError("--services", str(error)) from None


def _one_form(json: bool, mermaid: bool) -> None:
    if json and mermaid:
        raise UsageError("--mermaid", "expected one form of output, got --json as well")


def _seeds(seeds: int | None, seed: int | None) -> range:
    if seed is not None and seeds is not None:
        raise UsageError("--seed", "expected either --seed or --seeds, got both")
    if seed is not None:
        if seed < 0:
            raise UsageError("--seed", f"expected a number from 0, got {seed}")
        return range(seed, seed + 1)
    count = SEEDS if seeds is None else seeds
    if not 1 <= count <= SEEDS_MAX:
        raise UsageError("--seeds", f"expected a number from 1 to {SEEDS_MAX:,}, got {count}")
    return range(1, count + 1)


def _again(command: str, definition: str, style: str, *options: tuple[str, object]) -> str:
    """Return the command that reproduces the result: only options that differ from their defaults are included."""
    words = ["choreo", command, definition]
    for name, value in (("--style", style), *options):
        if value is True:
            words.append(name)
        elif value not in (None, False, BY_DEFAULT.get(name)):
            words += [word for each in (value if isinstance(value, list) else [value]) for word in (name, str(each))]
    return shlex.join(words)


BY_DEFAULT = {"--style": Shown.CHOREOGRAPHY.value}

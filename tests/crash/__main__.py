"""`python -m tests.crash`: besiege one journal with the given number of deaths, and print the result."""

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from tests.crash.siege import Death, Report, Siege, Way
from tests.crash.workload import STYLES
from tests.crash.wreck import Where

KILLS = 400
SHOWN_MAX = 20
WIDTH = 110  # of the tables, where stdout is no terminal with a width


def main() -> int:
    """Return 0 where every check passed, 1 otherwise."""
    options = parse()
    directory = Path(options.directory or mkdtemp(prefix="choreo-crash-"))
    report = besiege(directory, options)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for table in (deaths_table(report), figures_table(report), sagas_table(report)):
        console.print(table)
    for finding in report.findings[:SHOWN_MAX]:
        console.print(f"[red]finding:[/] {escape(finding)}", soft_wrap=True)
    if report.findings or options.directory:
        console.print(f"the journal: {directory / 'journal.db'}", soft_wrap=True)
    else:
        rmtree(directory)
    return 1 if report.findings else 0


def besiege(directory: Path, options: Namespace) -> Report:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"seed {options.seed}", total=options.kills)

        def tell(death: Death) -> None:
            progress.update(task, advance=1, description=f"seed {options.seed}: {death.where}")

        return Siege(directory, options.seed, options.sagas).run(options.kills, tell)


def deaths_table(report: Report) -> Table:
    """Table of the deaths: state of the journal by way of dying."""
    table = Table(title=f"{len(report.deaths)} deaths by SIGKILL, seed {report.seed}")
    for name in ("what the journal shows", "deaths", "runs cut", "their deliveries on disk", "asked, not answered"):
        table.add_column(name, justify="left" if not table.columns else "right")
    for where in Where:
        hits = [death for death in report.deaths if death.where is where]
        table.add_row(where, *_figures(hits))
    table.add_section()
    for way in Way:
        table.add_row(f"killed {way}", *_figures([death for death in report.deaths if death.way is way]), style="dim")
    table.add_section()
    table.add_row("all", *_figures(report.deaths))
    return table


def _figures(deaths: Iterable[Death]) -> list[str]:
    deaths = list(deaths)
    sums = (sum(d.unfinished for d in deaths), sum(d.deliveries for d in deaths), sum(d.unheard for d in deaths))
    return [f"{number:,}" for number in (len(deaths), *sums)]


def figures_table(report: Report) -> Table:
    table = Table(title="what the client asked, and was told")
    table.add_column("")
    table.add_column("", justify="right")
    client = report.client
    rows = {
        "sagas": len(client.sagas),
        "requests sent": client.sent,
        "of them repeated": client.repeated,
        "replies read": client.heard,
        "of them compared with an earlier one, byte for byte": client.compared,
        "requests never answered": len(client.unanswered),
        "effects that the services hold record of": report.judgement.effects,
        "violations of S1–S12, L1–L5 and the rows' own rules": report.judgement.violations,
        "findings in all": len(report.findings),
    }
    for name, number in rows.items():
        table.add_row(name, f"{number:,}")
    return table


def sagas_table(report: Report) -> Table:
    """Table of the sagas: requested ways, and outcomes of their runs in the journal."""
    table = Table(title="sagas by how they went, and runs by how they ended")
    for name in ("", *STYLES):
        table.add_column(name, justify="right" if name else "left")
    ways = Counter((saga.how, saga.style) for saga in report.client.sagas)
    for how in sorted({how for how, _ in ways}):
        table.add_row(how, *(f"{ways[how, style]:,}" for style in STYLES))
    table.add_section()
    runs = report.judgement.runs
    for state in sorted({state for state, _ in runs}):
        table.add_row(state, *(f"{runs[state, style]:,}" for style in STYLES), style="bold")
    return table


def parse() -> Namespace:
    parser = ArgumentParser(
        prog="python -m tests.crash",
        description="Kill the durable node again and again under load, and hold its journal against what it promised.",
        epilog="exit status: 0 where everything held; 1 where something was found; 2 for wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N", help=f"how many deaths (default: {KILLS})")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="what is asked, and how nodes die (default: 1)"
    )
    parser.add_argument("--sagas", type=int, default=12, metavar="N", help="new ones in each life (default: 12)")
    parser.add_argument("--directory", metavar="DIR", help="where the journal is to lie (default: a new one)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

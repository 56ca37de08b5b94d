"""`python -m benchmarks`: measure, compare with the targets, and say so."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks import (
    campaign,
    durable,
    explorer,
    long_saga,
    memory,
    recovery,
    simulator,
    start,
    styles,
    throughput,
    trace,
)
from benchmarks.measure import Failed, Figure, Tell
from benchmarks.report import as_json, print_table

RESULTS = Path(__file__).with_name("results.json")
INTERRUPTED = 130
WIDTH = 120  # of the table, where there is no terminal that has one

BENCHMARKS: dict[str, Callable[[bool, Tell], list[Figure]]] = {
    "throughput": throughput.measure,
    "trace": trace.measure,
    "long-saga": long_saga.measure,
    "start": start.measure,
    "memory": memory.measure,
    "styles": styles.measure,
    "simulator": simulator.measure,
    "explorer": explorer.measure,
    "campaign": campaign.measure,
    "durable": durable.measure,
    "recovery": recovery.measure,
}


def main() -> int:
    options = parse()
    names = options.only or list(BENCHMARKS)
    results: dict[str, list[Figure]] = {}
    progress = Console(stderr=True)
    status = 0
    try:
        for name in BENCHMARKS:
            if name in names:
                results[name] = run(name, options.quick, progress)
    except KeyboardInterrupt:
        progress.print("stopped; the results so far:" if results else "stopped")
        status = INTERRUPTED
    except Failed as failure:
        progress.print(f"[red]failed:[/] {escape(str(failure))}")
        status = 1
    is_whole = not options.quick and len(results) == len(BENCHMARKS)
    report(results, options, progress if is_whole else None)
    return status


def run(name: str, quick: bool, console: Console) -> list[Figure]:
    with console.status(name) as line:
        figures = BENCHMARKS[name](quick, lambda how_far: line.update(f"{name}: {how_far}"))
    if not console.is_terminal:
        console.print(f"{name}: done")
    return figures


def report(results: dict[str, list[Figure]], options: Namespace, saved: Console | None) -> None:
    """Print what was found; keep it, where it is everything that there is to find."""
    text = as_json(results, options.quick)
    if options.json:
        print(text)
    elif results:
        print_table(results, Console() if sys.stdout.isatty() else Console(width=WIDTH))
    if saved is not None:
        RESULTS.write_text(text + "\n", encoding="utf-8")
        saved.print(f"every sample: {RESULTS.relative_to(RESULTS.parents[1])}")


def parse() -> Namespace:
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description="Measure choreo against its targets: in pairs, A B A B, and by the median of the ratios.",
        epilog="""example:
  python -m benchmarks --only throughput --only start

A whole run writes benchmarks/results.json; one with --quick or --only, or one that was stopped, does not.

exit status: 0 also where a target is missed; 1 where a benchmark could not measure; 2 for wrong use""",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it works, and measures nothing")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(BENCHMARKS),
        metavar="NAME",
        help=f"one of {', '.join(BENCHMARKS)}; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print JSON with every sample instead of the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

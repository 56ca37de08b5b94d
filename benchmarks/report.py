"""What the benchmarks found, as a table for people and as JSON."""

import json
import os
import platform
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

Results = Mapping[str, list[Figure]]
"""The figures by the name of the benchmark."""


def as_json(results: Results, quick: bool) -> str:
    """Everything measured, with every sample, and what a reader needs to judge it by."""
    document: dict[str, Any] = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu_count": os.cpu_count(),
        "quick": quick,
        "benchmarks": {name: [figure.as_json() for figure in figures] for name, figures in results.items()},
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def print_table(results: Results, console: Console) -> None:
    table = Table("benchmark", "figure", "median", "min to max", "target", "", box=SIMPLE)
    for name, figures in results.items():
        for index, figure in enumerate(figures):
            last = index == len(figures) - 1
            table.add_row("" if index else name, figure.name, *shown(figure), *verdict(figure), end_section=last)
    console.print(table)


def shown(figure: Figure) -> tuple[str, str]:
    samples, median = figure.samples, f"{number(figure.median)} {figure.unit}"
    return median, "" if len(samples) == 1 else f"{number(min(samples))} to {number(max(samples))}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def verdict(figure: Figure) -> tuple[str, str]:
    if figure.target is None:
        return "", ""
    missed_by = figure.target.missed_by(figure.median)
    return str(figure.target), f"[red]missed by {number(missed_by)}[/]" if missed_by else "[green]met[/]"

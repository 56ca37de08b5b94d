"""Violations of the invariants as text: the first, then run by run, then their number.

Laws: shows the verdict on any kind of input; `Places` names the lines of that input.
"""

from msgspec import Struct

from choreo.analysis.naming import enumerated
from choreo.conformance import CheckReport
from choreo.invariants.violation import Violation
from choreo.render.screen import TITLE, Screen

RUNS_SHOWN, OF_A_RUN_SHOWN = 10, 6
CODES = "S1-S12 and L1-L5"


class Places(Struct, frozen=True):
    """Name of a numbered place in the input, and of its end; `first` is the place before number 1."""

    word: str
    end: str
    first: str = ""

    def of(self, number: int) -> str:
        return f"{self.word} {number}" if number or not self.first else self.first


def show_violations(screen: Screen, verdict: CheckReport, places: Places) -> None:
    _show_first(screen, verdict.violations[0], places)
    _show_runs(screen, verdict, places)
    _show_count(screen, verdict)


def _show_first(screen: Screen, first: Violation, places: Places) -> None:
    where = places.end if first.line is None else places.of(first.line)
    screen.one_line()
    screen.sentence(("first violation", TITLE), f": {where}, {_which(screen, first)}", indent=2)
    title = (f"{first.code} {first.title}", "bold red")
    screen.sentence("  ", title, f": {screen.prose(first.sentence)}", indent=5)


def _which(screen: Screen, violation: Violation) -> str:
    which = _run(screen, violation)
    if violation.step:
        which += f", step {screen.name(violation.step)}"
    return which if violation.event is None else f"{which}, {screen.name(violation.event)}"


def _run(screen: Screen, violation: Violation) -> str:
    saga_id, run = str(violation.saga_id), str(violation.run)
    return f"run {screen.name(run)}" if saga_id == run else f"saga {screen.name(saga_id)}, {screen.name(run)}"


def _show_runs(screen: Screen, verdict: CheckReport, places: Places) -> None:
    """Print the violations, run by run."""
    due = {each.run: each for each in verdict.due}
    runs: dict[str, list[Violation]] = {}
    for violation in verdict.violations:
        runs.setdefault(str(violation.run), []).append(violation)
    for name in list(runs)[:RUNS_SHOWN]:
        screen.one_line()
        screen.one_line((_run(screen, runs[name][0]), TITLE))
        for violation in runs[name][:OF_A_RUN_SHOWN]:
            where = "at the end" if violation.line is None else places.of(violation.line)
            text = f" {where}: {screen.prose(violation.sentence)}"
            screen.sentence("  ", (f"{violation.code:>3}", "bold red"), text, indent=6)
        if len(runs[name]) > OF_A_RUN_SHOWN:
            screen.one_line(f"      and {len(runs[name]) - OF_A_RUN_SHOWN:,} more")
        if name in due:
            expected = enumerated([screen.prose(each) for each in due[name].expected])
            screen.sentence("  ", ("never came", "bold yellow"), f": {expected}", indent=6)
    if verdict.violated_runs > RUNS_SHOWN:
        which = "which --json lists" if verdict.unlisted == 0 else f"of which --json lists {len(runs) - RUNS_SHOWN:,}"
        screen.one_line()
        screen.one_line(f"and {verdict.violated_runs - RUNS_SHOWN:,} more runs, {which}")


def _show_count(screen: Screen, verdict: CheckReport) -> None:
    count, runs = len(verdict.violations) + verdict.unlisted, verdict.violated_runs
    codes = ", ".join(dict.fromkeys(violation.code for violation in verdict.violations))
    screen.one_line()
    violations = f"{count:,} {'violation' if count == 1 else 'violations'}"
    of = f" in {runs:,} of {verdict.runs:,} {'run' if verdict.runs == 1 else 'runs'}: {codes}"
    screen.one_line((violations, "bold red"), of)

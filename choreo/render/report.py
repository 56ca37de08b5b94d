"""Report of an exploration or a campaign, as text.

Laws: states what was examined and what was not. A violation comes with its diagram and with the command that reproduces
it.
"""

from collections.abc import Sequence

from choreo.analysis.naming import enumerated
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.render.diagram import history_diagram
from choreo.render.names import visible
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.render.served import simulated_text
from choreo.trace.vocabulary import CALLS

STYLES = {Conclusion.SAFE: "bold green", Conclusion.VIOLATED: "bold red", Conclusion.INCOMPLETE: "bold yellow"}
CODES = "S1-S12 and L1-L5"
TRACEBACKS = 2
"""Number of tracebacks shown: one for the local transaction and one for the compensation of a step in doubt."""
TRACEBACK_LINES = (4, 20)
"""Lines shown of a long traceback: from its beginning, and from its end."""


def show_report(screen: Screen, name: str, report: Report, budget: int | None, again: str | None) -> None:
    """Print the verdict, the violation if there is one, and the figures. `again` is the command that reproduces it."""
    screen.one_line(
        (f"{screen.name(name)}, {report.style}", TITLE), ": ", (str(report.verdict), STYLES[report.verdict])
    )
    screen.sentence(f"  {_claim(report, budget)}", indent=2)
    for violation in report.violations:
        screen.sentence(
            "  ", (f"{violation.code} {violation.title}", "bold red"), f": {screen.prose(violation.sentence)}", indent=5
        )
    if report.counterexample is not None:
        _show_tracebacks(screen, report.counterexample)
        show_counterexample(screen, report)
        if again is not None:
            screen.one_line(f"  again: {visible(again, characters_max=len(again))}")
    _show_counts(screen, report)


def _show_tracebacks(screen: Screen, found: Counterexample) -> None:
    """Print the tracebacks of the last exceptions that services raised, each once."""
    calls = (record for record in found.records if record.action in CALLS)
    texts = dict.fromkeys(record.traceback for record in calls if record.traceback is not None)
    for text in list(texts)[-TRACEBACKS:]:
        _show_traceback(screen, text)


def _show_traceback(screen: Screen, text: str) -> None:
    """Print a traceback; of a long one, the beginning and the end."""
    lines = text.splitlines()
    if len(lines) < TRACEBACK_LINES[0] + TRACEBACK_LINES[1]:
        first, last = lines, []
    else:
        first, last = lines[: TRACEBACK_LINES[0]], [screen.glyphs.ellipsis, *lines[-TRACEBACK_LINES[1] :]]
    for line in [*first, *last] if len(lines) > 1 else ():
        screen.one_line((f"     {screen.prose(line)}", FAINT))


def show_counterexample(screen: Screen, report: Report) -> None:
    """Print the faults and choices that lead to the violation, and the diagram."""
    found = report.counterexample
    if found is None:
        return
    if found.seed is not None:
        screen.one_line(f"  seed {found.seed}")
    decisive = [*found.faults, *(choice for choice in found.choices if choice.endswith("fails"))]
    for index, words in enumerate(decisive):
        screen.sentence("  " if index else "  because: ", screen.prose(words), indent=4)
    if not decisive:
        screen.one_line("  no fault is needed for it")
    screen.one_line()
    screen.lines(history_diagram(found.records, screen, screen.width))
    screen.one_line()


def _claim(report: Report, budget: int | None) -> str:
    if report.replay_of is not None:
        ends = "breaks an invariant" if report.violations else "nothing found"
        return f"the way saved in {report.replay_of}: {ends}"
    if report.states is not None:
        with_faults = "without faults" if not budget else f"with at most {budget} fault{'s' if budget > 1 else ''}"
        if report.verdict is Conclusion.SAFE:
            return f"all {report.states:,} reachable states {with_faults}: {CODES} hold"
        if report.verdict is Conclusion.INCOMPLETE:
            seen = f"{report.states:,} states {with_faults}"
            return f"stopped, {report.stopped}: nothing found in {seen}, and nothing proven"
        return f"found in {report.states:,} states {with_faults}; no counterexample has fewer transitions"
    histories = f"{report.histories:,} {'history' if report.histories == 1 else 'histories'}"
    if report.verdict is Conclusion.SAFE:
        return f"{histories}: nothing found"
    if report.verdict is Conclusion.INCOMPLETE:
        return f"stopped, {report.stopped}: nothing found in {histories}"
    return f"found in {histories}, shrunk to the fewest faults"


def _show_counts(screen: Screen, report: Report) -> None:
    took = f"{report.events:,} {'delivery' if report.events == 1 else 'deliveries'} in {report.elapsed_s:.1f} s"
    ends = {"without an outcome" if end == "none" else end: count for end, count in report.outcomes.items()}
    outcomes = _counts(ends) or "no run came to its end"
    screen.sentence((f"  {took}; outcomes: {outcomes}", FAINT), indent=4)
    simulated = simulated_text(report.simulated, screen.name)
    if simulated:
        screen.sentence((f"  {simulated}", FAINT), indent=4)
    if report.faults_fired:
        screen.sentence((f"  faults: {_counts(report.faults_fired)}", FAINT), indent=4)
    if report.never_fired:
        kinds = enumerated(list(report.never_fired))
        screen.sentence("  ", ("never fired", "bold yellow"), f": {kinds}; nothing was shown about them", indent=4)
    if report.own:
        screen.sentence((f"  of your own: {'; '.join(map(screen.prose, report.own))}", FAINT), indent=4)
    for title in report.never_held:
        screen.sentence("  ", ("never true", "bold yellow"), f": {screen.prose(title)}", indent=4)
    unseen = [state for state in ("completed", "compensated") if state not in report.outcomes]
    if report.verdict is Conclusion.SAFE and unseen and report.histories != 1:
        screen.sentence(f"  no run was {enumerated(unseen)}: nothing was shown about that", indent=4)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def any_finding(reports: Sequence[Report]) -> bool:
    return any(report.is_finding for report in reports)

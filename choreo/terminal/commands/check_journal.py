"""`choreo check --journal`: checks the whole journal of a node, its rows and the file itself, against the invariants.

Laws: read-only, also while a node runs. Memory is bounded by one batch of runs.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec

from choreo.analysis.naming import enumerated
from choreo.conformance import CheckReport
from choreo.conformance.journal import check_runs
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.storage.errors import DamagedJournal
from choreo.storage.sqlite import checks
from choreo.storage.sqlite.journal import Journal
from choreo.terminal.options.journal_file import expect_descriptors, journal_errors
from choreo.terminal.options.lab import progress_bar
from choreo.terminal.views.violations import CODES, Places, show_violations

OF_JOURNAL = Places("delivery", "the end of the run", "its request")
DAMAGE_SHOWN = 5
UNDER_WAY = "none"


def check_journal(screen: Screen, path: str, is_at_rest: bool, json: bool) -> bool:
    """Check the journal; return whether there is a finding. Raises `UsageError` for a journal that cannot be read."""
    damage: list[str] = []
    verdict = CheckReport(0, {}, (), ())
    expect_descriptors()
    with journal_errors(), progress_bar("judging") as bar:
        try:
            with closing(Journal.open_to_read(path)) as journal:
                damage += [*checks.damage(journal), *checks.wrong_cells(journal)]
                total = sum(journal.counts().values())
                verdict = check_runs(journal, is_at_rest, lambda judged: bar.move(judged, max(judged, total)))
        except DamagedJournal as error:  # the rest cannot be read
            damage.append(str(error))
    if json:
        screen.json(_plain(path, verdict, damage, is_at_rest))
    else:
        _show(screen, path, verdict, damage, is_at_rest)
    return not verdict.holds or bool(damage)


def _show(screen: Screen, path: str, verdict: CheckReport, damage: list[str], is_at_rest: bool) -> None:
    ended = enumerated([f"{count:,} {_ended(name)}" for name, count in verdict.outcomes.items()])
    runs = f"{verdict.runs:,} {'run' if verdict.runs == 1 else 'runs'}"
    screen.sentence((screen.name(path), TITLE), f": a journal, {runs}{': ' if ended else ''}{ended}", indent=2)
    if not verdict.runs and damage:
        screen.one_line(("nothing is claimed of its runs: they cannot all be read", "bold red"))
    elif verdict.holds:
        screen.one_line((f"{CODES} hold, and so do J1-J6 of the rows", "bold green"))
    else:
        show_violations(screen, verdict, OF_JOURNAL)
    for wrong in damage[:DAMAGE_SHOWN]:
        screen.sentence("  ", ("the file is damaged", "bold red"), f": {screen.prose(wrong)}", indent=4)
    for note in _notes(verdict, damage, is_at_rest):
        screen.sentence((f"  {note}", FAINT), indent=4)


def _ended(outcome: str) -> str:
    return "under way" if outcome == UNDER_WAY else outcome


def _notes(verdict: CheckReport, damage: list[str], is_at_rest: bool) -> Iterator[str]:
    """Yield the basis of the verdict, and the checks that were not made."""
    if not damage:
        yield "the file is sound"
    under_way = verdict.outcomes.get(UNDER_WAY, 0)
    if under_way and not is_at_rest:
        them = "it" if under_way == 1 else "them"
        are = "run is" if under_way == 1 else "runs are"
        yield f"{under_way:,} {are} under way: an outcome is expected of {them} with --at-rest only"
    if len(damage) > DAMAGE_SHOWN:
        yield f"and {len(damage) - DAMAGE_SHOWN:,} places more where the file is damaged, which --json lists"


def _plain(path: str, verdict: CheckReport, damage: list[str], is_at_rest: bool) -> dict[str, Any]:
    violations = [msgspec.to_builtins(violation) for violation in verdict.violations]
    return {
        "journal": path,
        "runs": verdict.runs,
        "outcomes": verdict.outcomes,
        "at_rest": is_at_rest,
        "holds": verdict.holds and not damage,
        "first": violations[0] if violations else None,
        "deviations": violations,
        "deviating": verdict.violated_runs,
        "unlisted": verdict.unlisted,
        "due": msgspec.to_builtins(verdict.due),
        "damage": damage,
    }

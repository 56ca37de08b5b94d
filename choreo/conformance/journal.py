"""The check of a journal: its runs against the invariants, and its rows against the row rules.

Laws: memory is bounded by a batch of runs, for a journal of any length; a limited number of violations is listed, and
the rest counted. A batch is read within one snapshot, so a node may write meanwhile. Runs with equivalent rows are
checked once. No receipt is decoded.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from choreo.compile.cache import Wirings
from choreo.compile.table import Table
from choreo.conformance.journal_records import RunHistory, replayer_of, run_history
from choreo.conformance.journal_rows import is_legible, row_violations, violation
from choreo.conformance.verdict import CheckReport, MissingEvents, check_run, missing_events
from choreo.invariants.known import Known, RunModel, ancestors_of, events_max_of, known_run_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.violation import Violation
from choreo.saga.definition import Kind, RunOf
from choreo.saga.plan import Itinerary
from choreo.storage.cells import wrong_cells
from choreo.storage.errors import UnreadableRow
from choreo.storage.replay import Replayer
from choreo.storage.rows import RUNNING, DeliveryRow, RunRow, read_run
from choreo.storage.sagas import saga_of_key
from choreo.storage.sqlite.checks import strays
from choreo.storage.sqlite.journal import Journal
from choreo.trace.vocabulary import fact_of

BATCH = 500
LISTED_MAX = 1000
ALIKE_MAX, ALIKE_DELIVERIES_MAX = 2000, 200
"""Limits on the remembered runs, to which later runs are compared, and on the deliveries of each."""

ENDS = ("completed", "compensated", "stuck", "none")

RunColumns = tuple[Any, ...]
Progress = Callable[[int], None]


def check_runs(journal: Journal, is_at_rest: bool = False, progress: Progress | None = None) -> CheckReport:
    """Check every run of a journal against S1-S12 and L1-L5, and its rows against J1-J6.

    An unfinished run with pending deliveries has no missing events yet; with `is_at_rest` it is checked as if no more
    events would come. `progress` is called with the number of runs checked so far. Raises `JournalError`.
    """
    checker = JournalChecker(is_at_rest)
    after = 0
    while batch := list(_batch(journal, after)):
        for row, deliveries in batch:
            if isinstance(deliveries, UnreadableRow):
                checker.note_unreadable(row, deliveries)
            else:
                checker.check(row, deliveries)
        after = batch[-1][0][0]
        if progress is not None:
            progress(checker.runs)
    checker.note_strays(strays(journal, LISTED_MAX))
    return checker.report()


def _batch(journal: Journal, after: int) -> Iterator[tuple[RunColumns, list[DeliveryRow] | UnreadableRow]]:
    with journal.at_one_moment():
        for row in journal.run_rows(after, BATCH):
            try:
                yield row, journal.deliveries(row[0])
            except UnreadableRow as error:
                yield row, error


class RunReport(Struct):
    """The check of one run: its outcome (`end`), its violations, and its missing events."""

    end: str = ENDS[-1]
    violations: list[Violation] = []
    due: MissingEvents | None = None

    @property
    def is_fine(self) -> bool:
        return not self.violations and self.due is None


class JournalChecker:
    """Checks run by run, and sums up."""

    def __init__(self, is_at_rest: bool = False) -> None:
        self.runs = 0
        self._is_at_rest = is_at_rest
        self._ends = dict.fromkeys(ENDS, 0)
        self._violations: list[Violation] = []
        self._missing: list[MissingEvents] = []
        self._violated_runs = self._unlisted = 0
        self._compiled: Wirings[CompiledRuns] = Wirings(_compile)
        self._alike: dict[RunColumns, str] = {}

    def check(self, columns: RunColumns, deliveries: Sequence[DeliveryRow]) -> None:
        """Check one run, given the values of its `RUN_COLUMNS`."""
        self.runs += 1
        shape = _shape(columns, deliveries)
        end = None if shape is None else self._alike.get(shape)
        if end is None:
            found = self._check(columns, deliveries)
            end = found.end
            self._violated_runs += bool(found.violations)
            self._add(found.violations, found.due)
            if shape is not None and found.is_fine:
                self._remember(shape, end)
        self._ends[end] += 1

    def note_unreadable(self, columns: RunColumns, error: UnreadableRow) -> None:
        """Record a run with an unreadable delivery."""
        self.runs += 1
        self._violated_runs += 1
        self._ends[ENDS[-1]] += 1
        self._add([violation("J5", str(error), columns[0])])

    def note_strays(self, runs: Sequence[int | str]) -> None:
        """Record deliveries that belong to no run."""
        for number in runs:
            self._add([violation("J6", "there are deliveries of it, and there is no such run", number)])

    def report(self) -> CheckReport:
        ends = {name: count for name, count in self._ends.items() if count}
        listed = tuple(self._violations), tuple(self._missing)
        return CheckReport(self.runs, ends, *listed, self._violated_runs, self._unlisted)

    def _check(self, columns: RunColumns, deliveries: Sequence[DeliveryRow]) -> RunReport:
        wrong = "; ".join(wrong_cells("runs", columns))
        if wrong:
            return RunReport(violations=[violation("J5", f"expected the row of a run, got {wrong}", columns[0])])
        row = read_run(columns)
        try:
            compiled = self._compiled[row.request.style, row.key]
        except Exception as error:  # steps that no node accepts
            sentence = f"expected the row of a run, got {type(error).__name__}: {error}"
            return RunReport(violations=[violation("J5", sentence, columns[0])])
        history = run_history(row, deliveries, compiled.replayer)
        found = RunReport(violations=list(row_violations(row, deliveries, history)))
        name = f"run-{row.number}"
        known = Known({name: replace(compiled.known, saga_id=row.request.saga_id)})
        is_at_rest = self._is_at_rest or not _goes_on(row, history)
        facts = check_run(Monitor(known), name, history.lines, found.violations, is_at_rest=is_at_rest)
        found.violations.sort(key=lambda each: (each.line is None, each.line or 0))
        due = missing_events(facts, name, known)
        if is_at_rest and due.expected:
            found.due = due
        if facts.outcome is not None:
            found.end = fact_of(facts.outcome)
        return found

    def _add(self, violations: Sequence[Violation], due: MissingEvents | None = None) -> None:
        room = LISTED_MAX - len(self._violations)
        self._violations += violations[:room]
        self._unlisted += len(violations[room:])
        if due is not None and len(self._missing) < LISTED_MAX:
            self._missing.append(due)

    def _remember(self, shape: RunColumns, end: str) -> None:
        if len(self._alike) >= ALIKE_MAX:
            del self._alike[next(iter(self._alike))]
        self._alike[shape] = end


class CompiledRuns(Struct, frozen=True, eq=False):
    """Compiled data to check the runs of one itinerary in one style; `known` is the model of any of them."""

    replayer: Replayer
    known: RunModel

    @property
    def table(self) -> Table:
        return self.replayer.table


def _compile(style: str, key: Itinerary | str) -> CompiledRuns:
    replayer = replayer_of(style, key)
    if isinstance(key, str):
        saga = saga_of_key(key)
        return CompiledRuns(replayer, known_run_of(saga, RunOf("")))
    plan = replayer.table.plan
    count = len(plan.steps)
    known = RunModel("", plan.steps, ancestors_of(plan), (Kind.COMPENSATABLE,) * count, events_max_of(count))
    return CompiledRuns(replayer, known)


def _goes_on(row: RunRow, history: RunHistory) -> bool:
    """Return whether the run has not ended and has pending deliveries, or its pending deliveries are unknown."""
    return row.state == RUNNING and (history.snapshot is None or bool(history.snapshot.pending))


def _shape(columns: RunColumns, deliveries: Sequence[DeliveryRow]) -> RunColumns | None:
    """Return all data that a report depends on; None for a run that is too long to compare, or has illegible cells."""
    _, saga_id, src, msg_id, reply_as, style, steps, *mishaps, _, saga, given = columns[:12]
    state, ended_ms, outcome, resolution, origin, _ = columns[12:]
    if len(deliveries) > ALIKE_DELIVERIES_MAX:
        return None
    if not all(map(is_legible, (saga_id, src, msg_id, reply_as))) or not all(is_legible(d.receipt) for d in deliveries):
        return None
    rows = tuple((each.number, each.seat, each.heard, each.published, each.detail) for each in deliveries)
    return (style, steps, *mishaps, saga, given, state, ended_ms is None, outcome, resolution, origin, rows)

"""Verdict on a journal without unfinished work: records of the services, recorded outcomes, and invariants.

Laws: the expected state follows from the requests alone. The services are restored from their records, as a node does.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from choreo.conformance.journal import check_runs
from choreo.saga.service import ServiceOf
from choreo.storage.errors import JournalError
from choreo.storage.service_records import TOGETHER, ServiceRecords
from choreo.storage.sqlite.journal import Journal
from tests.crash.services import SHELVES, SPECIAL, catalogue
from tests.crash.workload import REAL, Saga

MARKS = {"execute": "+", "compensate": "-"}

HELD: Mapping[str, Callable[[Any], int]] = {
    "book_flight": lambda flights: flights.booked,
    "book_hotel": lambda hotels: hotels.booked,
    "book_car": lambda cars: 3 - len(cars.lot) + cars.from_partner,
    "charge": lambda payments: payments.charged // payments.price,
    "notify": lambda notifications: notifications.sent - notifications.corrected,
    "place_order": lambda orders: orders.placed,
    "ship": lambda shipping: sum(shipping.parcels),
    "reserve": lambda stock: stock.reserved,
}
"""Functions that count the bookings of each real service."""


class CheckReport(NamedTuple):
    """`runs` counts the runs by outcome and style, `effects` the effects, `violations` those of invariants."""

    runs: Counter[tuple[str, str]]
    effects: int
    violations: int
    findings: list[str]


def judge(path: Path, sagas: Iterable[Saga]) -> CheckReport:
    """Check the journal against the requests."""
    sagas = list(sagas)
    with closing(sqlite3.connect(path)) as connection:
        damage = [told for (told,) in connection.execute("PRAGMA integrity_check") if told != "ok"]
        rows = list(connection.execute("SELECT run, saga_id, state, style FROM runs"))
    run_of: dict[str, list[int]] = {}
    for run, saga_id, _, _ in rows:
        run_of.setdefault(saga_id, []).append(run)
    effects, broken = Effects(path), broken_invariants(path)
    findings = [
        *damage,
        *_wrong_runs(sagas, run_of, {run: state for run, _, state, _ in rows}),
        *effects.wrong(sagas, run_of),
        *broken,
    ]
    counts = Counter((state, style) for _, _, state, style in rows)
    return CheckReport(counts, sum(map(len, effects.marks.values())), len(broken), findings)


def _wrong_runs(sagas: list[Saga], run_of: dict[str, list[int]], states: dict[int, str]) -> Iterator[str]:
    for saga in sagas:
        runs = run_of.get(json.dumps(saga.saga_id), [])
        if [states[run] for run in runs] != [saga.ending]:
            yield f"{saga.saga_id!r}: expected one run, {saga.ending}, got {[states[run] for run in runs]}"
    if len(run_of) > len(sagas):
        yield f"expected {len(sagas)} sagas on disk, got {len(run_of)}"


def broken_invariants(path: Path) -> list[str]:
    """Return violations of S1 to S12 and L1 to L5 in the rows of the journal, and notes about these rows."""
    with closing(Journal.open_to_read(str(path))) as journal:
        try:
            judgement = check_runs(journal, is_at_rest=True)
        except JournalError as error:
            return [str(error)]
    violations = [f"{each.code} {each.run}: {each.sentence}" for each in judgement.violations]
    return violations + [f"{each.run}: never came {', '.join(each.expected)}" for each in judgement.due]


class Effects:
    """Effects recorded by the services: `marks` by step and reference, `held` by the real services."""

    def __init__(self, path: Path, open_catalogue: Callable[[], ServiceOf] = catalogue) -> None:
        with closing(Journal.open_to_read(str(path))) as journal:
            rows = list(journal.records())
            self._prefixes = {row.number: row.key_prefix for row in journal.runs(limit=journal.last_run() + 1)}
        records = ServiceRecords(open_catalogue(), rows)
        steps = {step for name, _, _ in rows if name != TOGETHER for step in [json.loads(name)]}
        ledgers = [step for step in steps if step.startswith("ledger") or step in SPECIAL]
        self.marks: dict[str, str] = {}
        for step in ledgers:
            fields = vars(records.service(step).recorded.inner)
            self._add({reference: marks for reference, marks in fields.items() if not reference.startswith("refused ")})
        shared = {
            id(marks): marks for step in SHELVES for marks in [vars(records.service(step).recorded.inner)["marks"]]
        }
        for marks in shared.values():
            self._add(marks)
        self.held = {step: HELD[step](records.service(step).recorded.inner) for step in REAL}

    def _add(self, marks: Mapping[str, str]) -> None:
        for reference, each in marks.items():
            self.marks[reference] = self.marks.get(reference, "") + each

    def wrong(self, sagas: Iterable[Saga], run_of: Mapping[str, list[int]]) -> Iterator[str]:
        """Yield the differences between the effects and the requests."""
        expected: dict[str, str] = {}
        in_doubt: dict[str, None] = {}
        held = dict.fromkeys(REAL, 0)
        for saga in sagas:
            run = next(iter(run_of.get(json.dumps(saga.saga_id), [])), None)
            for step, position, verb in saga.effects:
                if step in REAL:
                    held[step] += 1 if verb == "execute" else -1
                else:
                    reference = f"{self._prefixes.get(run or 0, '?')}{position}"
                    expected[reference] = expected.get(reference, "") + MARKS[verb]
                    if step == "broken":
                        in_doubt[reference] = None
        for reference in expected | self.marks:
            if reference in in_doubt and reference not in self.marks:
                continue  # the process ended within the undo: the records are as before the effect
            if expected.get(reference) != self.marks.get(reference):
                yield f"{reference}: expected {expected.get(reference)}, the services have {self.marks.get(reference)}"
        for step in REAL:
            if held[step] != self.held[step]:
                yield f"{step}: expected {held[step]} held, the service has {self.held[step]}"

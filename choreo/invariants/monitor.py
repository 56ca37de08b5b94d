"""Monitor of a trace: runs the safety checkers at each record, and the liveness checkers at the end.

Laws: if a trace has no records of effects (the node's default), the effects are inferred from the steps' events before
the checkers see them. This is the only dependency on the origin of a trace.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from choreo.invariants.catalogue import INVARIANTS
from choreo.invariants.history import EFFECTS, History, advance, begin
from choreo.invariants.invariant import AtRecord, Invariant
from choreo.invariants.known import Known
from choreo.invariants.violation import Violation
from choreo.trace.record import Record
from choreo.trace.vocabulary import PUBLISH

Violations = tuple[Violation, ...]


class Monitor:
    """Monitor of a trace, with the model of the runs and the invariants to check."""

    def __init__(self, known: Known, invariants: Sequence[Invariant] = INVARIANTS) -> None:
        self.known = known
        self.invariants = invariants
        self._at_record: dict[str, list[tuple[Invariant, AtRecord]]] = {}
        for invariant in invariants:
            if invariant.at_record is not None:
                for action in invariant.actions:
                    self._at_record.setdefault(action, []).append((invariant, invariant.at_record))
        self._at_rest = [(i, i.at_rest) for i in invariants if i.at_rest is not None]

    def begin(self) -> History:
        return begin(self.known)

    def observe(self, history: History, record: Record) -> tuple[History, Violations]:
        """Return the history extended by the record, and the violations."""
        violations: list[Violation] = []
        run = self.known.runs.get(record.run or "")
        if run is not None:
            for seen in self._seen(record):
                for invariant, check in self._at_record.get(seen.action, ()):
                    sentence = check(history, seen, run, self.known)
                    if sentence is not None:
                        violations.append(Violation(invariant.code, invariant.title, sentence))
        return advance(history, record, self.known), tuple(violations)

    def observe_all(self, history: History, records: Iterable[Record]) -> tuple[History, Violations]:
        """Return the same for several records of one moment."""
        violations: Violations = ()
        for record in records:
            history, found = self.observe(history, record)
            violations += found
        return history, violations

    def at_rest(self, history: History) -> Violations:
        """Return the violations of liveness, once no further event can occur."""
        found = ((i, check(history, self.known)) for i, check in self._at_rest)
        return tuple(Violation(i.code, i.title, sentence) for i, sentence in found if sentence is not None)

    def _seen(self, record: Record) -> tuple[Record, ...]:
        if self.known.has_effects or record.action != PUBLISH or record.event not in EFFECTS:
            return (record,)
        return replace(record, action=EFFECTS[record.event]), record

"""Results of simulated histories: of one, and the totals of many.

Laws: plain values that pass from one process to another.
"""

from msgspec import Struct

from choreo.invariants.violation import Violation
from choreo.lab.simulate.faults import Verdict
from choreo.lab.simulate.simulator import Fired
from choreo.trace.record import Record


class Played(Struct, frozen=True):
    """One history: its violations, its faults, the outcomes of its runs, and its trace.

    The trace continues after the violation; `violated_at` is the number of records up to it.
    """

    seed: int
    violations: tuple[Violation, ...]
    fired: tuple[Fired, ...]
    outcomes: tuple[str, ...]
    handled: int
    records: tuple[Record, ...]
    violated_at: int

    @property
    def script(self) -> list[Verdict]:
        """Return the faults that occurred."""
        return [fired.verdict for fired in self.fired]


class Tally(Struct):
    """Totals of a number of histories, up to and including the first violation."""

    histories: int = 0
    events: int = 0
    fired: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    first: int | None = None
    held: set[str] = set()
    """The titles of the author's `sometimes` invariants that were true."""

    def add(self, history: Played) -> None:
        self.histories += 1
        self.events += history.handled
        for fired in history.fired:
            kind = str(fired.verdict.kind)
            self.fired[kind] = self.fired.get(kind, 0) + 1
        for outcome in history.outcomes:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def merge(self, other: "Tally") -> None:
        self.histories += other.histories
        self.events += other.events
        for mine, others in ((self.fired, other.fired), (self.outcomes, other.outcomes)):
            for name, count in others.items():
                mine[name] = mine.get(name, 0) + count
        self.first = other.first
        self.held |= other.held

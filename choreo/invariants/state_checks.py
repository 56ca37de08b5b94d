"""Checks of the author's own invariants in the states of one world, and their violations.

Laws: knows no explorer and no simulator; the world calls it where a state was reached.
"""

from collections.abc import Sequence

from choreo.invariants.history import History
from choreo.invariants.invariant import Invariant
from choreo.invariants.known import Known, RunModel
from choreo.invariants.own import OwnInvariant, ServicesState, When
from choreo.invariants.violation import Violation
from choreo.trace.record import Record
from choreo.trace.vocabulary import INVARIANT

CODE = "own"
"""Code of every violation of an invariant of the author's own; its title names the invariant."""


class StateChecks:
    """Checks of one world: evaluates predicates in its current state.

    `held` has the titles of the `sometimes` invariants that were true in some state.
    """

    def __init__(self, invariants: Sequence[OwnInvariant], state: ServicesState) -> None:
        self.held: set[str] = set()
        self._of = {when: [each for each in invariants if each.when is when] for when in When}
        self._state = state

    def violated(self) -> list[str]:
        """Return the titles of the `always` invariants that are false now, and note the `sometimes` ones that hold."""
        for each in self._of[When.SOMETIMES]:
            if each.title not in self.held and each(self._state):
                self.held.add(each.title)
        return [each.title for each in self._of[When.ALWAYS] if not each(self._state)]

    def violated_at_rest(self) -> tuple[Violation, ...]:
        """Return the violations of the `eventually` invariants in the current state, which must be at rest."""
        false = (each for each in self._of[When.EVENTUALLY] if not each(self._state))
        return tuple(Violation(CODE, each.title, "it is false at rest, with nothing in flight") for each in false)


def monitored(invariants: Sequence[OwnInvariant]) -> tuple[Invariant, ...]:
    """Return what a monitor checks for the `always` invariants: no record says that one was false."""
    return tuple(_monitored(each.title) for each in invariants if each.when is When.ALWAYS)


def never_held(invariants: Sequence[OwnInvariant], held: set[str]) -> tuple[str, ...]:
    """Return the titles of the `sometimes` invariants that were true in no state."""
    return tuple(each.title for each in invariants if each.when is When.SOMETIMES and each.title not in held)


def _monitored(title: str) -> Invariant:
    def check(history: History, record: Record, run: RunModel, known: Known) -> str | None:
        if record.reason != title:
            return None
        if record.causation_id is None:
            return "it is false at the start"
        return f"it is false after {record.source} handled {record.causation_id}"

    return Invariant(CODE, title, (INVARIANT,), check)

"""The report of an exploration or a campaign.

Laws: claims a proof only if the search was complete.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from choreo.invariants.violation import Violation
from choreo.lab.way import Way
from choreo.trace.record import Record


class Conclusion(StrEnum):
    SAFE = "safe"
    VIOLATED = "violated"
    INCOMPLETE = "incomplete"
    """No violation was found, and the search was incomplete."""


class Counterexample(Struct, frozen=True):
    """One history that breaks an invariant. `faults` are the decisive ones, in words."""

    faults: tuple[str, ...]
    records: tuple[Record, ...]
    seed: int | None = None
    choices: tuple[str, ...] = ()
    way: Way = Way(())
    """Its deliveries and faults, to be followed again."""


class Report(Struct, frozen=True):
    """Report: `states` of an exploration or `histories` of a campaign; `events` counts handled deliveries.

    `faults_fired` counts each kind: in an exploration each possible occasion, in a campaign each occurrence; `outcomes`
    counts the outcomes of runs, in an exploration in states at rest, in a campaign in histories. `stopped` says why the
    search is incomplete, `never_fired` which enabled kinds never occurred. `elapsed_s` in seconds.
    """

    verdict: Conclusion
    style: str
    checked: tuple[str, ...]
    violations: tuple[Violation, ...]
    events: int
    faults_fired: dict[str, int]
    outcomes: dict[str, int]
    elapsed_s: float
    states: int | None = None
    histories: int | None = None
    counterexample: Counterexample | None = None
    stopped: str | None = None
    never_fired: tuple[str, ...] = ()
    bytes_per_state: float | None = None
    simulated: tuple[str, ...] = ()
    """The steps without a service of the author."""
    own: tuple[str, ...] = ()
    """The titles of the author's own invariants."""
    never_held: tuple[str, ...] = ()
    """The titles of those that had to be true in some state, and were true in none."""
    replay_of: str | None = None
    """The file of the saved counterexample that was followed again."""

    @property
    def is_finding(self) -> bool:
        return self.verdict is not Conclusion.SAFE or bool(self.never_fired or self.never_held)

    def as_json(self) -> dict[str, Any]:
        """Return one object for programs (docs/reference/commands.md)."""
        value: dict[str, Any] = {
            "verdict": str(self.verdict),
            "style": self.style,
            "invariants": {"checked": (*self.checked, *self.own), "broken": [_plain(each) for each in self.violations]},
        }
        if self.states is not None:
            value["states"] = self.states
        if self.histories is not None:
            value["histories"] = self.histories
        if self.own:
            value["never_held"] = self.never_held
        counterexample = self.counterexample
        return value | {
            "events": self.events,
            "faults_fired": self.faults_fired,
            "outcomes": self.outcomes,
            "counterexample": None if counterexample is None else _without_way(counterexample),
            "stopped": self.stopped,
            "never_fired": self.never_fired,
            "simulated": self.simulated,
            "elapsed_s": round(self.elapsed_s, 3),
        }


def _without_way(counterexample: Counterexample) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.to_builtins(counterexample)
    del value["way"]
    return value


def _plain(violation: Violation) -> dict[str, str]:
    """Return a violation for programs, without its place: the counterexample shows it."""
    return {"code": violation.code, "title": violation.title, "sentence": violation.sentence}

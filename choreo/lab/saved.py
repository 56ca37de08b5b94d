"""Saved counterexamples: one JSON file has the saga, the way to the violation, and the violation.

Laws: equal counterexamples have equal bytes. What a file says is checked when it is read.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from choreo.invariants.state_checks import CODE
from choreo.lab.report import Report
from choreo.lab.way import Choice, Move, Way
from choreo.saga.codec import decode
from choreo.saga.definition import Saga
from choreo.saga.file import WrongDefinition, definition_from
from choreo.saga.file.document import document_of
from choreo.saga.request import input_text
from choreo.trace.record import Record
from choreo.trace.vocabulary import PUBLISH, event_text, fact_of

FORMAT = 1
CAUSE_MAX = 120


class BrokenInvariant(Struct, frozen=True, forbid_unknown_fields=True):
    """The invariant that the counterexample violates, and how."""

    code: str
    title: str
    sentence: str


class SavedCounterexample(Struct, frozen=True, forbid_unknown_fields=True):
    """A counterexample that can be kept in a file and followed again.

    `saga` is the definition; `inputs` are those of its runs, as choreo encodes them; `without` are the guarantees that
    were switched off. `faults` and `events` are for people: the faults in words, and the events of the steps in order.
    `seed` is that of a simulated history.
    """

    format: int
    violations: tuple[BrokenInvariant, ...]
    style: str
    without: tuple[str, ...]
    faults: tuple[str, ...]
    events: tuple[str, ...]
    moves: tuple[Move, ...]
    choices: tuple[Choice, ...]
    seed: int | None
    inputs: tuple[Any, ...]
    saga: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write the file, and the folders that it needs."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(msgspec.to_builtins(self), indent=2) + "\n", encoding="utf-8")

    @property
    def definition(self) -> Saga:
        """The saga with its inputs, and with the guarantees of its own definition. Raises `WrongDefinition`."""
        return self.with_inputs(definition_from(self.saga))

    def with_inputs(self, saga: Saga) -> Saga:
        """Return a saga whose runs have the saved inputs."""
        inputs = (None if each is None else decode(json.dumps(each)) for each in self.inputs)
        runs = zip(saga.all_runs(), inputs, strict=False)
        return replace(saga, runs=tuple(replace(run, input=given) for run, given in runs))

    @property
    def way(self) -> Way:
        return Way(self.moves, self.choices)

    @property
    def own_titles(self) -> tuple[str, ...]:
        """The titles of the author's own invariants that it violates."""
        return tuple(each.title for each in self.violations if each.code == CODE)


def saved(report: Report, definition: Saga, without: tuple[str, ...]) -> SavedCounterexample:
    """Return the counterexample of a report; `definition` has the guarantees `without` that were switched off for it.

    Raises `ValueError` if the report has none.
    """
    found = report.counterexample
    if found is None:
        raise ValueError(f"expected a report with a counterexample, got one that is {report.verdict}")
    bare = replace(definition, runs=tuple(replace(run, input=None) for run in definition.runs))
    return SavedCounterexample(
        FORMAT,
        tuple(BrokenInvariant(each.code, each.title, each.sentence) for each in report.violations),
        report.style,
        without,
        found.faults,
        tuple(event_text(fact_of(each.event), each.step) for each in found.records if _is_of_step(each)),
        found.way.moves,
        found.way.choices,
        found.seed,
        tuple(None if run.input is None else json.loads(input_text(run.input)) for run in definition.all_runs()),
        msgspec.to_builtins(document_of(bare)),
    )


def read_saved(path: str | Path) -> SavedCounterexample:
    """Read a saved counterexample. Raises `WrongDefinition`, which names the file and what was expected."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongDefinition(f"{path}: expected a saved counterexample, got {str(error)[:CAUSE_MAX]}") from None
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise WrongDefinition(f"{path}: expected a counterexample of format {FORMAT}, got {found!r}; save it anew")
    try:
        return msgspec.convert(value, SavedCounterexample)
    except msgspec.ValidationError as error:
        raise WrongDefinition(f"{path}: expected a saved counterexample, got {str(error)[:CAUSE_MAX]}") from None


def is_same_saga(one: Saga, other: Saga) -> bool:
    """Return whether two sagas have the same steps, resources, runs and wiring, whatever they guarantee."""
    first, second = (document_of(each) for each in (one, other))
    return (first.steps, first.resources, first.runs, first.wiring) == (
        second.steps,
        second.resources,
        second.runs,
        second.wiring,
    )


def _is_of_step(record: Record) -> bool:
    return record.action == PUBLISH and record.step is not None and record.source == record.step

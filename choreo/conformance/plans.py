"""The plan of each run: from a definition, or inferred from the trace.

Laws: an inferred plan claims too little rather than too much. Steps that the trace never mentions are unknown; j
depends on i if i's success is among the causes of j's own success, which finds one of several predecessors.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from choreo.conformance.parsed_trace import Line, NotOfThisSaga, ParsedRun
from choreo.invariants.known import RunModel, events_max_of, known_of, known_run_of
from choreo.protocol.event import Timer
from choreo.protocol.relay import HOPS_MAX
from choreo.saga.definition import Kind, RunOf, Saga
from choreo.saga.file.errors import one_of, quoted, suggestion
from choreo.trace.vocabulary import EXECUTE, OTHER, PUBLISH, STEP_SUCCEEDED, STEP_UPDATED

TIMERS = frozenset(f"{scope}.{timer}" for scope in ("saga", "step") for timer in Timer)


class Defined:
    """Plans from a definition: that of the run with this id and saga, of any run of this saga, or of all steps."""

    def __init__(self, definition: Saga) -> None:
        self._name = definition.name
        self._runs = known_of(definition).runs
        self._of_saga = {known.saga_id: known for known in reversed(list(self._runs.values()))}
        self._whole = known_run_of(definition, RunOf(definition.name))

    def __call__(self, run: ParsedRun, name: str) -> RunModel:
        """Return the plan of a run, and set the positions of its records. Raises `NotOfThisSaga`."""
        saga_id = run.name if run.saga_id is None else run.saga_id
        known = self._runs.get(run.name)
        if known is None or known.saga_id != saga_id:
            known = self._of_saga.get(saga_id, self._whole)
        position_of = {step: position for position, step in enumerate(known.steps)}
        for line in _of_steps(run):
            step = str(line.record.step)
            position = position_of.get(step)
            if position is None:
                steps = one_of([quoted(each) for each in known.steps]) or "it has none"
                raise NotOfThisSaga(
                    f"{name}:{line.number}: expected a step of {self._name} ({steps}), "
                    f"got {quoted(step)}{suggestion(step, known.steps)}"
                )
            line.record.position = position
        return replace(known, saga_id=saga_id)


def inferred(run: ParsedRun, name: str) -> RunModel:
    """Infer the plan of a run from its records, and set their positions."""
    _fill_in_positions(run)
    found = dict.fromkeys((line.record.position, str(line.record.step)) for line in _of_steps(run))
    order = sorted(found, key=lambda key: (key[0] is None, key[0] or 0))
    position_of = {key: index for index, key in enumerate(order)}
    for line in _of_steps(run):
        line.record.position = position_of[line.record.position, str(line.record.step)]
    steps = tuple(step for _, step in order)
    saga_id = run.name if run.saga_id is None else run.saga_id
    return RunModel(
        saga_id,
        steps,
        CausalPast(_causes(run, len(steps))),
        (Kind.COMPENSATABLE,) * len(steps),
        events_max_of(len(steps)) + _repeated(run),
    )


def _repeated(run: ParsedRun) -> int:
    """Return the extra events that repetitions and updates may cause; only a definition gives their exact number."""
    published = [line.record for line in run.lines if line.record.action == PUBLISH]
    updating = {record.step for record in published if record.event == STEP_UPDATED}
    return sum(record.event in TIMERS for record in published) + (len(updating) << HOPS_MAX)


def _fill_in_positions(run: ParsedRun) -> None:
    """Copy the position of a step to its lines that lack it, if all other lines agree."""
    known_positions: dict[str, int | None] = {}
    for line in _of_steps(run):
        step, position = str(line.record.step), line.record.position
        if position is not None:
            known_positions[step] = position if known_positions.get(step, position) == position else None
    for line in _of_steps(run):
        if line.record.position is None:
            line.record.position = known_positions.get(str(line.record.step))


class CausalPast(Sequence[frozenset[int]]):
    """The causal past of each position, computed on demand, so that a long chain takes little memory."""

    def __init__(self, before: list[int | None]) -> None:
        self._before = before

    def __len__(self) -> int:
        return len(self._before)

    def __getitem__(self, position: Any) -> Any:
        past: set[int] = set()
        cause = self._before[position]
        while cause is not None and cause not in past and cause != position:
            past.add(cause)
            cause = self._before[cause]
        return frozenset(past)


def _causes(run: ParsedRun, count: int) -> list[int | None]:
    """Return, for each step, the nearest other step whose success is among the causes of its own."""
    cause_of: dict[str, tuple[str | None, int | None]] = {}
    firsts: dict[int, str] = {}
    for line in run.lines:
        record = line.record
        succeeded = record.position if record.event == STEP_SUCCEEDED else None
        if record.action in (PUBLISH, OTHER) and record.id is not None:
            cause_of.setdefault(record.id, (record.causation_id, succeeded))
        took_effect = record.action == EXECUTE or (record.action == PUBLISH and succeeded is not None)
        if took_effect and record.position is not None and record.causation_id is not None:
            firsts.setdefault(record.position, record.causation_id)
    return [_nearest(firsts.get(position), position, cause_of) for position in range(count)]


def _nearest(cause: str | None, position: int, cause_of: dict[str, tuple[str | None, int | None]]) -> int | None:
    passed: set[str] = set()
    while cause is not None and cause not in passed:
        passed.add(cause)
        cause, succeeded = cause_of.get(cause, (None, None))
        if succeeded is not None and succeeded != position:
            return succeeded
    return None


def _of_steps(run: ParsedRun) -> Iterator[Line]:
    return (line for line in run.lines if line.record.step is not None)

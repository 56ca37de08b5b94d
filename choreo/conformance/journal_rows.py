"""Rules for the rows of every run of a journal, independent of the saga: J1 to J6.

Laws: pure. The rows that a node writes in one transaction are consistent; an inconsistency means that another program
has written, or that the file is damaged.
"""

import json
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from choreo.conformance.journal_records import RunHistory
from choreo.invariants.violation import Violation
from choreo.protocol.event import Timer
from choreo.saga.outcome import Outcome
from choreo.storage.replay import RESUMED
from choreo.storage.rows import RUNNING, DeliveryRow, RunRow

TITLES = {
    "J1": "no gap",
    "J2": "heard once",
    "J3": "one follows from another",
    "J4": "recorded as it was",
    "J5": "legible",
    "J6": "part of a run",
}
"""docs/reference/invariants.md explains each."""


def violation(
    code: str, sentence: str, number: int | str, saga_id: str | int | None = None, line: int | None = None
) -> Violation:
    """Build a violation of the run with that number; without a `saga_id` its saga is unknown."""
    run = f"run-{number}"
    return Violation(code, TITLES[code], sentence, run, run if saga_id is None else saga_id, line)


def row_violations(row: RunRow, deliveries: Sequence[DeliveryRow], history: RunHistory) -> Iterator[Violation]:
    """Yield the violations in the rows of a run."""
    number, saga_id = row.number, row.request.saga_id
    for code, sentence, line in (
        *_gap(deliveries),
        *_heard_twice(deliveries),
        *([("J3", history.error, history.error_at)] if history.error is not None else []),
        *(("J4", sentence, None) for sentence in _recorded_otherwise(row, history)),
        *_illegible(deliveries),
    ):
        yield violation(code, sentence, number, saga_id, line)


Found = tuple[str, str, int | None]
"""Code, sentence, and the number of the delivery."""


def _gap(deliveries: Sequence[DeliveryRow]) -> Iterator[Found]:
    for expected, delivery in enumerate(deliveries, start=1):
        if delivery.number != expected:
            yield "J1", f"expected delivery {expected}, got {delivery.number}", delivery.number
            return


TIMERS = frozenset(map(str, Timer))


def _heard_twice(deliveries: Sequence[DeliveryRow]) -> Iterator[Found]:
    """Check that each event is received once. After a resumption only J3 checks repeated deliveries."""
    heard: dict[tuple[str, int], int] = {}
    for delivery in deliveries:
        if delivery.heard == RESUMED:
            heard.clear()
            continue
        if str(delivery.heard).partition(":")[0] in TIMERS:  # a call may be tried several times; the replay counts them
            continue
        first = heard.setdefault((delivery.heard, delivery.seat), delivery.number)
        if first != delivery.number:
            yield "J2", f"{delivery.heard} was heard in delivery {first}, and again", delivery.number


def _illegible(deliveries: Sequence[DeliveryRow]) -> Iterator[Found]:
    for delivery in deliveries:
        for name, text in (("detail", delivery.detail), ("receipt", delivery.receipt)):
            if not is_legible(text):
                yield "J5", f"expected JSON in {name}, got {str(text)[:60]!r}", delivery.number


def _recorded_otherwise(row: RunRow, history: RunHistory) -> Iterator[str]:
    """Check that the row of the run agrees with its deliveries."""
    state = RUNNING if history.is_resumed or not history.states else history.states[-1]
    if row.state != state:
        yield f"the run is recorded as {row.state}, and its deliveries say {state}"
    if (row.ended_ms is None) != (row.state == RUNNING):
        when = "nothing of" if row.ended_ms is None else "also"
        yield f"the run is recorded as {row.state}, and {when} when it ended"
    yield from _differing("the client was told", row.outcome, history, 0, bool(history.states))
    is_resolved = len(history.states) > 1 and not history.is_resumed
    yield from _differing("the resolution is recorded as", row.resolution, history, -1, is_resolved)


def _differing(
    what: str, recorded: Outcome | None, history: RunHistory, index: int, is_expected: bool
) -> Iterator[str]:
    """Compare two outcomes field by field if the rows are consistent, by their states alone if they are not."""
    said = history.states[index] if is_expected else None
    if recorded is None or said is None:
        if recorded is not None or said is not None:
            yield f"{what} {recorded.state if recorded else 'nothing'}, and the deliveries say {said or 'nothing'}"
        return
    if history.error is not None or len(history.outcomes) < len(history.states):
        if recorded.state != said:
            yield f"{what} {recorded.state}, and the deliveries say {said}"
        return
    outcome = history.outcomes[index]
    if recorded.defect is not None and recorded.failed_step is None:
        outcome = as_in_0_1(outcome)
    for field in Outcome.__struct_fields__:
        here, there = getattr(recorded, field), getattr(outcome, field)
        if here != there:
            yield f"{what} {field} {here!r}, and the deliveries say {there!r}"


def as_in_0_1(outcome: Outcome) -> Outcome:
    """Return the outcome as choreo 0.1 recorded it: the exception behind the name of its step, and no step in doubt."""
    return replace(outcome, defect=f"{outcome.failed_step}: {outcome.defect}", failed_step=None, in_doubt_steps=())


def is_legible(kept: object) -> bool:
    """Return whether a value is what its type claims: a text must be JSON."""
    if not isinstance(kept, str):
        return True
    try:
        json.loads(kept)
    except (ValueError, RecursionError):
        return False
    return True

"""Canonical cells: one representative for all cells with the same future behaviour.

Laws: pure. The canonical cell forgets the order in which independent ends were received, and the events received after
the end.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from choreo.protocol.coordinator import CoordinatorState
from choreo.protocol.orchestrator import OrchestratorState
from choreo.protocol.reaction import CANCELLED, COMPENSATED, FAILED, STUCK, Cell, Phase
from choreo.saga.guarantees import Guarantees

FINAL = frozenset({FAILED, CANCELLED, STUCK, COMPENSATED})
"""Phases in which the received events make no difference any more."""
FINAL_WITHOUT_INBOX = frozenset({CANCELLED})


def canonical_under(guarantees: Guarantees) -> Callable[[Any], Any]:
    """Return the function from a cell to the representative of its equivalence class."""
    final = FINAL if guarantees.inbox else FINAL_WITHOUT_INBOX
    return lambda cell: _canonical(cell, final)


def _canonical(cell: Any, final: frozenset[Phase]) -> Any:
    if isinstance(cell, CoordinatorState):
        return replace(cell, log=_sorted_log(cell.log))
    if isinstance(cell, OrchestratorState):
        return replace(cell, log=_sorted_log(cell.log), data=_sorted_data(cell.data))
    if isinstance(cell, Cell) and cell.phase in final:
        return replace(cell, heard=0, data=None)
    return cell


def _sorted_data(data: Any) -> Any:
    """Sort the results by their steps."""
    entries: dict[int, Any] = {}
    while data is not None:
        position, sent, data = data
        entries.setdefault(position, sent)
    for position in sorted(entries):
        data = (position, entries[position], data)
    return data


def _sorted_log(log: Any) -> Any:
    """Sort the ends by their steps."""
    events = []
    while log is not None:
        event, log = log
        events.append(event)
    events.sort(key=lambda event: (-event.topic.position, str(event.topic.fact)))
    for event in {event.id: event for event in events}.values():
        log = (event, log)
    return log

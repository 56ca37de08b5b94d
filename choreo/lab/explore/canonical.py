"""Cells without what makes no difference: equal for the explorer where they behave the same for ever.

Laws: pure. In which order ends were heard that do not depend on each other is forgotten, and so is who was heard after
the end.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from choreo.protocol.coordinator import Collected
from choreo.protocol.orchestrator import Directed
from choreo.protocol.reaction import CANCELLED, COMPENSATED, FAILED, STUCK, Cell, Phase
from choreo.saga.guarantees import Guarantees

FINAL = frozenset({FAILED, CANCELLED, STUCK, COMPENSATED})
"""Phases in which it makes no difference any more who was heard."""
FINAL_WITHOUT_INBOX = frozenset({CANCELLED})


def canonical_under(guarantees: Guarantees) -> Callable[[Any], Any]:
    """The function from a cell to the one that stands for all that behave as it does."""
    final = FINAL if guarantees.inbox else FINAL_WITHOUT_INBOX
    return lambda cell: _canonical(cell, final)


def _canonical(cell: Any, final: frozenset[Phase]) -> Any:
    if isinstance(cell, Collected):
        return replace(cell, log=_sorted_log(cell.log))
    if isinstance(cell, Directed):
        return replace(cell, log=_sorted_log(cell.log))
    if isinstance(cell, Cell) and cell.phase in final:
        return replace(cell, heard=0)
    return cell


def _sorted_log(log: Any) -> Any:
    """The same ends, in the order of their steps."""
    events = []
    while log is not None:
        event, log = log
        events.append(event)
    events.sort(key=lambda event: (-event.topic.position, str(event.topic.fact)))
    for event in {event.id: event for event in events}.values():
        log = (event, log)
    return log

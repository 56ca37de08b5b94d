"""Cells without what makes no difference: equal for the explorer where they behave the same for ever.

Laws: pure. In which order ends were heard that do not depend on each other is forgotten, and so is who was heard after
the end.
"""

from typing import Any

from msgspec.structs import replace

from choreo.domain.coordinator import Collected
from choreo.domain.orchestrator import Directed
from choreo.domain.reaction import COMPENSATED, Cell
from choreo.domain.timed import FINAL


def canonical(cell: Any) -> Any:
    """The cell that stands for all that behave as this one does."""
    if isinstance(cell, Collected):
        return replace(cell, log=_sorted_log(cell.log))
    if isinstance(cell, Directed):
        return replace(cell, log=_sorted_log(cell.log))
    if isinstance(cell, Cell) and (cell.phase in FINAL or cell.phase is COMPENSATED):
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

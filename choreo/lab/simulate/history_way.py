"""The way of a simulated history: its log as moves, without virtual time.

Laws: pure; the order of the log is the order of the deliveries.
"""

from collections.abc import Iterator
from itertools import zip_longest

from choreo.lab.model.world import Delivery
from choreo.lab.simulate.simulator import HANDLE, Entry, Simulation
from choreo.lab.way import Move, Way, choices_of, move_of
from choreo.protocol.dead_letter import ATTEMPTS
from choreo.saga.definition import CrashPoint, FaultKind
from choreo.trace.vocabulary import CRASH, DEAD_LETTER, DUPLICATE, RESTART, UNREADABLE

Key = tuple[str, str]


def way_of(simulation: Simulation, records_max: int) -> Way:
    """Return the way of a history up to the entry with that record."""
    return Way(tuple(_moves(simulation, _entries(simulation, records_max))), choices_of(simulation.choices))


def _entries(simulation: Simulation, records_max: int) -> list[Entry]:
    """Return the entries of the log, in the order of the trace, up to the one with that record."""
    log = sorted(simulation.log, key=lambda entry: entry[0])
    counts = [len(records) for _, records in simulation.moments()]
    seen = sum(counts[: len(counts) - len(log)])
    for index, count in enumerate(counts[len(counts) - len(log) :]):
        if seen >= records_max:
            return log[:index]
        seen += count
    return log


def _moves(simulation: Simulation, entries: list[Entry]) -> Iterator[Move]:
    attempts: dict[Key, int] = {}
    entries = [entry for entry in entries if entry[1] != RESTART]
    for entry, following in zip_longest(entries, entries[1:]):
        _, what, event, route, more, _ = entry
        delivery, key = Delivery(route, event), (event.id, route.subscriber)
        if what == UNREADABLE:
            if key not in attempts:
                yield move_of(delivery, FaultKind.POISON)
            attempts[key] = attempt = min(attempts.get(key, 0) + 1, ATTEMPTS)
            yield move_of(Delivery(route, event, attempt))
        elif what == DEAD_LETTER:
            del attempts[key]
        elif what == HANDLE:
            if not _is_of_crash(simulation, entry, following):
                yield move_of(delivery)
        elif what != DUPLICATE or _is_same(entry, following, HANDLE):  # one that had to wait is not duplicated
            yield move_of(delivery, FaultKind(what), CrashPoint(more) if what == CRASH else None)


def _is_of_crash(simulation: Simulation, entry: Entry, following: Entry | None) -> bool:
    """Return whether a crash interrupted the delivery: the log has both, one after the other."""
    if following is None or not _is_same(entry, following, CRASH):
        return False
    left = simulation.world.after_crash(CrashPoint(following[4]))
    return left.is_committed or left.is_published


def _is_same(entry: Entry, following: Entry | None, action: str) -> bool:
    """Return whether the next entry is that action on the same delivery."""
    is_action = following is not None and following[1] == action
    return is_action and following is not None and following[2] is entry[2] and following[3] is entry[3]

"""Missing subscriptions of a table, and the consequences of each.

Laws: pure. Every step is assumed to fail, and so is every compensation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from choreo.compile.finding import Rule, name_text
from choreo.compile.lineage import Lineage
from choreo.compile.needs import Need, What
from choreo.compile.table import Table
from choreo.protocol.coordinator import Coordinator
from choreo.protocol.dead_letter import UNREADABLE
from choreo.protocol.event import Command, Fact, Timer


def unmet(table: Table, needs: Iterable[Need]) -> Iterator[tuple[Need, Rule, str]]:
    """Yield the needs that no row of the table covers, with the consequences of each."""
    heard = {(row.seat, row.topic.name) for row in table.subscriptions}
    lineage = Lineage(table.plan)
    for need in needs:
        if (need.seat, need.topic.name) not in heard:
            for rule, sentence in CONSEQUENCES[need.what](lineage, need):
                yield need, rule, sentence


Consequences = Iterator[tuple[Rule, str]]


def _cannot_begin(lineage: Lineage, need: Need) -> Consequences:
    yield Rule.NO_OUTCOME, f"{_does_not_hear(need)}: it never begins, and the saga has no outcome"


def _cannot_stop(lineage: Lineage, need: Need) -> Consequences:
    others = [p for p in lineage.plan.predecessors[need.seat] if p != need.topic.position]
    left = lineage.names(lineage.with_before(others))
    why = f"it is not cancelled, and {left}, which may wait for that, would stay in force"
    yield Rule.UNHEARD_FAILURE, f"{_when(lineage, need)} {_does_not_hear(need)}: {why}"


def _cannot_undo(lineage: Lineage, need: Need) -> Consequences:
    left = lineage.names(lineage.with_before([need.seat]))
    yield Rule.UNHEARD_FAILURE, f"{_when(lineage, need)} {_does_not_hear(need)}: {left} would stay in force"


def _cannot_collect(lineage: Lineage, need: Need) -> Consequences:
    left = _left_by_collector(lineage, need)
    if left:
        why = f"{lineage.names(left)} would stay in force"
        yield Rule.UNHEARD_FAILURE, f"{_when(lineage, need)} {_does_not_hear(need)}: {why}"
    yield Rule.NO_OUTCOME, f"{_when(lineage, need)} {_does_not_hear(need)}: the saga has no outcome"


def _left_by_collector(lineage: Lineage, need: Need) -> int:
    """Return the steps that must be compensated and learn of it through the collector only."""
    fact, position, plan = need.topic.fact, need.topic.position, lineage.plan
    if need.subscriber == Coordinator.NAME:
        is_first_to_tell = position in plan.last and fact in (Fact.FAILED, Fact.CANCELLED)
        return lineage.with_before(p for p in plan.last if p != position) if is_first_to_tell else 0
    if fact is Fact.FAILED:
        return (1 << len(plan.steps)) - 1 & ~(lineage.after[position] | 1 << position)
    return lineage.before[position] if fact is Fact.COMPENSATED else 0


def _gets_no_answer(lineage: Lineage, need: Need) -> Consequences:
    yield Rule.NO_OUTCOME, f"{_does_not_hear(need)}: it is never told how the saga ended"


def _does_not_wake(lineage: Lineage, need: Need) -> Consequences:
    fact = need.topic.fact
    if fact is Timer.TIMED_OUT:
        yield Rule.UNHEARD_EVENT, f"{_does_not_hear(need)}: it never times out"
        return
    what = "it is not tried again" if fact is Timer.ATTEMPT else "its compensation is not tried again"
    yield Rule.NO_OUTCOME, f"{_does_not_hear(need)}: {what}, and the saga has no outcome"


CONSEQUENCES: Mapping[What, Callable[[Lineage, Need], Consequences]] = {
    What.BEGIN: _cannot_begin,
    What.STOP: _cannot_stop,
    What.UNDO: _cannot_undo,
    What.COLLECT: _cannot_collect,
    What.ANSWER: _gets_no_answer,
    What.WAKE: _does_not_wake,
}


def _does_not_hear(need: Need) -> str:
    return f"{name_text(need.subscriber)} does not hear {name_text(need.topic.name)}"


def _when(lineage: Lineage, need: Need) -> str:
    """Return the condition under which the missing subscription matters."""
    topic, plan = need.topic, lineage.plan
    if topic.step is None:
        return WHEN_OF_SAGA[topic.name]
    name = name_text(topic.step)
    if topic.fact is Fact.COMPENSATED:
        others = (1 << len(plan.steps)) - 1 & ~(lineage.before[topic.position] | 1 << topic.position)
        later = lineage.names(lineage.after[topic.position] or others)
        return f"when {name} is compensated{f' after a failure of {later}' if later else ''},"
    return WHEN[topic.fact].format(name)


WHEN: Mapping[Fact | Command | Timer, str] = {
    Fact.SUCCEEDED: "when {} succeeds,",
    Fact.FAILED: "when {} fails,",
    Fact.CANCELLED: "when {} is cancelled,",
    Fact.COMPENSATION_FAILED: "when {} cannot be compensated,",
    Command.COMPENSATE: "when {} is to be undone,",
}
WHEN_OF_SAGA = {
    "saga/started": "when the saga starts,",
    "saga/cancelled": "when another last step fails,",
    UNREADABLE.name: "when an event cannot be read,",
}

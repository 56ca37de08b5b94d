"""Lint of the wiring, before any run.

Laws: it reads the table that a style compiles to, compares it with the required subscriptions, and calls no service.
Every step is assumed to fail, for any value of `fails`: a service may refuse at any time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from msgspec import Struct

from choreo.compile.needs import Need, What, needs_of
from choreo.compile.table import Table
from choreo.compile.wiring import COMPILERS, wired
from choreo.protocol.coordinator import Coordinator
from choreo.protocol.dead_letter import UNREADABLE
from choreo.protocol.event import Command, Fact, Timer
from choreo.saga.definition import Kind, RunOf, Saga, Step
from choreo.saga.file.errors import NAMED_MAX, quoted, suggestion
from choreo.saga.plan import Plan


class Rule(StrEnum):
    """Rules of the lint; docs/reference/definition.md explains each."""

    UNHEARD_FAILURE = "unheard-failure"
    UNHEARD_EVENT = "unheard-event"
    UNPUBLISHED_TOPIC = "unpublished-topic"
    RING = "ring"
    NO_OUTCOME = "no-outcome"
    AFTER_PIVOT = "after-pivot"
    BESIDE_PIVOT = "beside-pivot"


class Finding(Struct, frozen=True):
    """A defect of the wiring: the rule, the place in the definition, and an explanation."""

    rule: Rule
    where: str
    sentence: str


def lint(definition: Saga, style: str) -> list[Finding]:
    """Return the defects of the wiring in this style. The definition has passed `check`."""
    found = [*_of_unknown_topics(definition)]
    for run in _distinct(definition):
        table = wired(definition, run, style, lambda step: NO_SERVICE)
        found += _of_table(definition, run, table, COMPILERS[style][1])
        found += _of_kinds(definition, table.plan)
    return list(dict.fromkeys(found))


def _of_table(definition: Saga, run: RunOf, table: Table, collector: str) -> Iterator[Finding]:
    needs = needs_of(table.plan, definition.steps_of(run), collector)
    relays = _live_relays(definition, table)
    for need, rule, sentence in unmet(table, needs):
        yield Finding(rule, _where(definition, need.hearer, need.topic.name), sentence)
    yield from _of_unheard_events(definition, table, needs, relays)
    if not definition.guarantees.hop_limit:
        yield from _of_rings(definition, relays)


# Missing subscriptions


def unmet(table: Table, needs: Iterable[Need]) -> Iterator[tuple[Need, Rule, str]]:
    """Yield the needs that no row of the table covers, with the consequences of each."""
    heard = {(row.seat, row.topic.name) for row in table.subscriptions}
    lineage = Lineage(table.plan)
    for need in needs:
        if (need.seat, need.topic.name) not in heard:
            for rule, sentence in CONSEQUENCES[need.what](lineage, need):
                yield need, rule, sentence


class Lineage:
    """Ancestors and descendants of each position, as bit sets."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.before = [0] * len(plan.steps)
        self.after = [0] * len(plan.steps)
        order = sorted(range(len(plan.steps)), key=plan.depths.__getitem__)
        for position in order:
            for p in plan.predecessors[position]:
                self.before[position] |= self.before[p] | 1 << p
        for position in reversed(order):
            for s in plan.successors[position]:
                self.after[position] |= self.after[s] | 1 << s

    def with_before(self, positions: Iterable[int]) -> int:
        bits = 0
        for position in positions:
            bits |= self.before[position] | 1 << position
        return bits

    def names(self, bits: int) -> str:
        return _named([name for position, name in enumerate(self.plan.steps) if bits >> position & 1])


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
    if need.hearer == Coordinator.NAME:
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
    return f"{_name(need.hearer)} does not hear {_name(need.topic.name)}"


def _when(lineage: Lineage, need: Need) -> str:
    """Return the condition under which the missing subscription matters."""
    topic, plan = need.topic, lineage.plan
    if topic.step is None:
        return WHEN_OF_SAGA[topic.name]
    name = _name(topic.step)
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


# Topics


def _of_unheard_events(
    definition: Saga, table: Table, needs: Iterable[Need], relays: Iterable["Relay"]
) -> Iterator[Finding]:
    heard = {row.topic.name for row in table.subscriptions}
    for topic in dict.fromkeys(need.topic for need in needs):
        if topic.name not in heard and not isinstance(topic.fact, Timer):
            where = _where(definition, None, topic.name)
            yield Finding(Rule.UNHEARD_EVENT, where, f"nobody hears {_name(topic.name)}")
    for relay in relays:
        if relay.published not in heard:
            sentence = f"nobody hears {_name(relay.published)}, which {_name(relay.step)} publishes"
            yield Finding(Rule.UNHEARD_EVENT, f"wiring.relays[{relay.index}][2]", sentence)


def _of_unknown_topics(definition: Saga) -> Iterator[Finding]:
    """Yield findings for `deaf` and `relays` rows whose topic is published in neither style."""
    wiring = definition.wiring
    if not (wiring.deaf or wiring.relays):
        return
    published = _published(definition)
    heard = [
        *((f"wiring.deaf[{index}][1]", *row) for index, row in enumerate(wiring.deaf)),
        *((f"wiring.relays[{index}][1]", *row[:2]) for index, row in enumerate(wiring.relays)),
    ]
    for where, hearer, topic in heard:
        if topic not in published:
            alike = suggestion(topic, [*published])
            sentence = f"nobody publishes {_name(topic)}, which {_name(hearer)} is said to hear{alike}"
            yield Finding(Rule.UNPUBLISHED_TOPIC, where, sentence)


def _published(definition: Saga) -> dict[str, None]:
    """Return every topic of any run in any style, in order."""
    needs = [
        need
        for run in _distinct(definition)
        for _, collector in COMPILERS.values()
        for need in needs_of(definition.plan_of(run), definition.steps_of(run), collector)
    ]
    return dict.fromkeys(
        [*(need.topic.name for need in needs), *(published for *_, published in definition.wiring.relays)]
    )


# Relays


class Relay(Struct, frozen=True):
    """A relay of the definition whose subscription is in the table."""

    index: int
    step: str
    heard: str
    published: str


def _live_relays(definition: Saga, table: Table) -> list[Relay]:
    rows = {(row.hearer, row.topic.name) for row in table.subscriptions}
    relays = (Relay(index, *row) for index, row in enumerate(definition.wiring.relays))
    return [relay for relay in relays if relay.step in table.plan.steps and (relay.step, relay.heard) in rows]


def _of_rings(definition: Saga, relays: Sequence[Relay]) -> Iterator[Finding]:
    """Yield findings for cycles of relayed topics; of cycles that share a relay, the first only."""
    left = list(relays)
    while (ring := _ring_in(left)) is not None:
        edges = list(pairwise(ring))
        closing = [relay for relay in left if (relay.heard, relay.published) in edges]
        left = [relay for relay in left if relay not in closing]
        hearers = _named(list(dict.fromkeys(relay.step for relay in closing)))
        sentence = f"{' → '.join(map(_name, ring))}: {hearers} would publish without end"
        yield Finding(Rule.RING, f"wiring.relays[{closing[0].index}]", sentence)


def _ring_in(relays: Iterable[Relay]) -> list[str] | None:
    graph: dict[str, list[str]] = {}
    for relay in relays:
        if relay.heard == relay.published:
            return [relay.heard, relay.published]
        graph.setdefault(relay.published, []).append(relay.heard)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


# Kinds


def _of_kinds(definition: Saga, plan: Plan) -> Iterator[Finding]:
    """Yield findings for steps that may be refused after a step that cannot be compensated has succeeded."""
    lineage = Lineage(plan)
    numbers = {step.name: index for index, step in enumerate(definition.steps)}
    steps = [definition.steps[numbers[name]] for name in plan.steps]
    finals = [position for position, step in enumerate(steps) if step.kind is not Kind.COMPENSATABLE]
    for position, step in enumerate(steps):
        if step.kind is Kind.RETRIABLE:
            continue
        where = f"step[{numbers[step.name]}].kind"
        before = next((p for p in finals if lineage.before[position] >> p & 1), None)
        beside = next((p for p in finals if not _is_in_line(lineage, position, p)), None)
        if before is not None:
            yield Finding(Rule.AFTER_PIVOT, where, _stuck(step, "after", steps[before]))
        if beside is not None:
            yield Finding(Rule.BESIDE_PIVOT, where, _stuck(step, "beside", steps[beside]))


def _is_in_line(lineage: Lineage, one: int, other: int) -> bool:
    """True if one position is an ancestor of the other, or both are the same."""
    return bool((lineage.before[one] | lineage.after[one] | 1 << one) >> other & 1)


def _stuck(step: Step, place: str, final: Step) -> str:
    kind = "a pivot" if final.kind is Kind.PIVOT else "retriable"
    return f"{_name(step.name)} may be refused {place} {_name(final.name)}, which is {kind} and cannot be undone"


# In common


class _NoService:
    """Placeholder for a service, in a table that is only read."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


NO_SERVICE = _NoService()


def _distinct(definition: Saga) -> list[RunOf]:
    """Return the runs with distinct steps."""
    return list({run.steps: run for run in definition.all_runs()}.values())


def _where(definition: Saga, hearer: str | None, topic: str) -> str:
    """Return the `deaf` row that removes the subscription, or the wiring itself."""
    for index, (deaf, unheard) in enumerate(definition.wiring.deaf):
        if unheard == topic and hearer in (None, deaf):
            return f"wiring.deaf[{index}]"
    return "wiring"


def _name(name: str) -> str:
    """Return the name as it is if it is readable in a sentence, else quoted."""
    is_plain = name.isprintable() and name.strip() == name and 0 < len(name) <= NAME_MAX
    return name if is_plain else quoted(name)


NAME_MAX = 60


def _named(names: Sequence[str]) -> str:
    shown = [_name(name) for name in names]
    if len(shown) > NAMED_MAX:
        return f"{', '.join(shown[:NAMED_MAX])} and {len(shown) - NAMED_MAX} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)

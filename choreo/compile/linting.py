"""Lint of the wiring, before any run.

Laws: it reads the table that a style compiles to, compares it with the required subscriptions, and calls no service.
Every step is assumed to fail, for any value of `fails`: a service may refuse at any time.
"""

from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from msgspec import Struct

from choreo.compile.finding import Finding, Rule, name_text, names_text
from choreo.compile.lineage import Lineage
from choreo.compile.needs import Need, needs_of
from choreo.compile.table import Table
from choreo.compile.unmet import unmet
from choreo.compile.wiring import wired
from choreo.protocol.event import Timer
from choreo.saga.definition import Kind, RunOf, Saga, Step
from choreo.saga.file.errors import suggestion
from choreo.saga.plan import Plan
from choreo.saga.roles import COORDINATOR, ORCHESTRATOR


def lint(definition: Saga, style: str) -> list[Finding]:
    """Return the defects of the wiring in this style. The definition has passed `check`."""
    found = [*_of_unknown_topics(definition)]
    for run in _distinct(definition):
        table = wired(definition, run, style, lambda step: NO_SERVICE)
        found += _of_table(definition, run, table, table.collector)
        found += _of_kinds(definition, table.plan)
    return list(dict.fromkeys(found))


def _of_table(definition: Saga, run: RunOf, table: Table, collector: str) -> Iterator[Finding]:
    needs = needs_of(table.plan, definition.steps_of(run), collector)
    relays = _live_relays(definition, table)
    for need, rule, sentence in unmet(table, needs):
        yield Finding(rule, _where(definition, need.subscriber, need.topic.name), sentence)
    yield from _of_unheard_events(definition, table, needs, relays)
    if not definition.guarantees.hop_limit:
        yield from _of_rings(definition, relays)


# Topics


def _of_unheard_events(
    definition: Saga, table: Table, needs: Iterable[Need], relays: Iterable["Relay"]
) -> Iterator[Finding]:
    heard = {row.topic.name for row in table.subscriptions}
    for topic in dict.fromkeys(need.topic for need in needs):
        if topic.name not in heard and not isinstance(topic.fact, Timer):
            where = _where(definition, None, topic.name)
            yield Finding(Rule.UNHEARD_EVENT, where, f"nobody hears {name_text(topic.name)}")
    for relay in relays:
        if relay.published not in heard:
            sentence = f"nobody hears {name_text(relay.published)}, which {name_text(relay.step)} publishes"
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
    for where, subscriber, topic in heard:
        if topic not in published:
            alike = suggestion(topic, [*published])
            sentence = f"nobody publishes {name_text(topic)}, which {name_text(subscriber)} is said to hear{alike}"
            yield Finding(Rule.UNPUBLISHED_TOPIC, where, sentence)


def _published(definition: Saga) -> dict[str, None]:
    """Return every topic of any run in any style, in order."""
    needs = [
        need
        for run in _distinct(definition)
        for collector in (COORDINATOR, ORCHESTRATOR)
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
    rows = {(row.subscriber, row.topic.name) for row in table.subscriptions}
    relays = (Relay(index, *row) for index, row in enumerate(definition.wiring.relays))
    return [relay for relay in relays if relay.step in table.plan.steps and (relay.step, relay.heard) in rows]


def _of_rings(definition: Saga, relays: Sequence[Relay]) -> Iterator[Finding]:
    """Yield findings for cycles of relayed topics; of cycles that share a relay, the first only."""
    left = list(relays)
    while (ring := _ring_in(left)) is not None:
        edges = list(pairwise(ring))
        closing = [relay for relay in left if (relay.heard, relay.published) in edges]
        left = [relay for relay in left if relay not in closing]
        subscribers = names_text(list(dict.fromkeys(relay.step for relay in closing)))
        sentence = f"{' → '.join(map(name_text, ring))}: {subscribers} would publish without end"
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
    return (
        f"{name_text(step.name)} may be refused {place} {name_text(final.name)}, which is {kind} and cannot be undone"
    )


# In common


class _NoService:
    """Placeholder for a service, in a table that is only read."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


NO_SERVICE = _NoService()


def _distinct(definition: Saga) -> list[RunOf]:
    """Return the runs with distinct steps."""
    return list({run.steps: run for run in definition.all_runs()}.values())


def _where(definition: Saga, subscriber: str | None, topic: str) -> str:
    """Return the `deaf` row that removes the subscription, or the wiring itself."""
    for index, (deaf, unheard) in enumerate(definition.wiring.deaf):
        if unheard == topic and subscriber in (None, deaf):
            return f"wiring.deaf[{index}]"
    return "wiring"

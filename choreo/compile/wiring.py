"""Wiring of one run in the laboratory: the compiled table, with the rows that only the laboratory needs.

Laws: a table is data. The idempotent receiver, dead letters, relays and `deaf` only add or remove rows.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.compile.table import STARTED, Table, hear_outcomes
from choreo.protocol import dead_letter
from choreo.protocol.event import Fact, Run, Topic
from choreo.protocol.idempotent_receiver import NAME as FRONT_DOOR
from choreo.protocol.idempotent_receiver import RECORDED, REQUESTED, IdempotentReceiver, ask, asks_again
from choreo.protocol.reaction import WAITING, Cell, Subscription, moves
from choreo.protocol.relay import relay
from choreo.protocol.report import OutcomeTopics
from choreo.saga.definition import RunOf, Saga, Wiring
from choreo.saga.guarantees import Guarantees
from choreo.saga.plan import Plan
from choreo.saga.roles import CLIENT
from choreo.saga.service import ServiceOf


def wired(saga: Saga, run: RunOf, style: str, service_of: ServiceOf, again: Run | None = None) -> Table:
    """Return the table of a run; `again` is the run that a repeated request would start.

    Raises `ValueError` if the steps form a cycle.
    """
    table = STYLES[style](saga.of_run(run), service_of)
    plan, guarantees, collector = table.plan, saga.guarantees, table.collector
    topics = OutcomeTopics(collector)
    rows = [*table.subscriptions]
    rows.append(Subscription(dead_letter.UNREADABLE, table.client - 1, collector, dead_letter.give_up(plan, topics)))
    rows += _relay_rows(saga.wiring, plan, table, guarantees)
    rows = [row for row in rows if (row.subscriber, row.topic.name) not in saga.wiring.deaf]
    table = replace(table, subscriptions=tuple(rows))
    if run.ask_again_ms is not None and again is not None:
        return _with_front_door(table, IdempotentReceiver(guarantees, STARTED, again), topics, run.ask_again_ms)
    return table


def _relay_rows(wiring: Wiring, plan: Plan, table: Table, guarantees: Guarantees) -> Iterator[Subscription]:
    topics = {row.topic.name: row.topic for row in table.subscriptions}
    for step, _, published in wiring.relays:
        if step in plan.steps:
            topics.setdefault(published, Topic(published, Fact.UPDATED, step, step, plan.steps.index(step)))
    for step, heard, published in wiring.relays:
        if step in plan.steps and heard in topics:
            seat = plan.steps.index(step)
            yield Subscription(topics[heard], seat, step, relay(topics[published], guarantees.hop_limit))


def _with_front_door(table: Table, door: IdempotentReceiver, topics: OutcomeTopics, ask_again_ms: int) -> Table:
    """Return the table with one more seat, before the client's: the idempotent receiver, which gets the retries."""
    seat, client = table.client, table.client + 1
    rows = [replace(row, seat=client) if row.seat == table.client else row for row in table.subscriptions]
    outcomes = (topics.completed, topics.compensated, topics.stuck)
    rows += [Subscription(topic, seat, FRONT_DOOR, door.heard_outcome) for topic in outcomes]
    rows.append(Subscription(REQUESTED, seat, FRONT_DOOR, door.heard_request))
    rows.append(Subscription(asks_again(ask_again_ms), client, CLIENT, moves({WAITING: ask})))
    rows += hear_outcomes(client, RECORDED)
    subscribers = (*table.subscribers[:-1], FRONT_DOOR, CLIENT)
    return replace(
        table, subscriptions=tuple(rows), subscribers=subscribers, cells=(*table.cells[:-1], Cell(), table.cells[-1])
    )

"""One run with somebody looking on: every event, every delivery, and what each cell held.

Laws: looks at the table, changes nothing in it. Seats are those of the table, so equal names are never confused.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from msgspec import Struct

from choreo.composition import compose_rewritten
from choreo.domain.event import Command, Event, Events, Fact, InDoubt, Topic
from choreo.domain.outcome import Outcome, State
from choreo.domain.plan import Plan
from choreo.domain.reaction import Subscription
from choreo.domain.service import Service, ServiceOf
from choreo.runners.in_process import NoOutcome
from choreo.runners.origins import new_origin
from choreo.styles import STYLES, Style, Table
from choreo.styles.watched import observed, with_down
from choreo.terminal.arguments import Saga
from choreo.terminal.served import simulated_of

SAGA_ID = "saga-1"

Seen = Callable[[int, Event], None]
"""Told of every event as it happens, and of its number."""


class Delivery(Struct, frozen=True):
    """An event, by its number, on its way to a seat; `reacted` if anything came of it."""

    number: int
    seat: int
    reacted: bool


class Message(Struct, frozen=True):
    """An event, its publisher's seat, and the seats of those who heard it: who reacted, and who did nothing."""

    number: int
    event: Event
    publisher: int
    reacted: tuple[int, ...]
    ignored: tuple[int, ...]


class Recording(Struct):
    """What a run did. Events are numbered from 1; `outcome` is None where nobody reported one. `origin` is that of the
    idempotency keys under which its services were called.

    `held` and `holds` have, for each seat, the names of the fields of its cell that held something during the run, and
    after it.
    """

    style: str
    table: Table
    services: dict[str, Service]
    events: list[Event]
    deliveries: list[Delivery]
    held: list[dict[str, None]]
    holds: list[dict[str, None]]
    outcome: Outcome | None = None
    origin: str = ""
    simulated: tuple[str, ...] = ()
    """The steps that none of the services given serves."""

    @property
    def plan(self) -> Plan:
        return self.table.plan

    @property
    def reporter(self) -> int:
        """The seat of the coordinator or of the orchestrator."""
        return self.table.client - 1

    def messages(self) -> list[Message]:
        """Every event with its deliveries."""
        reacted: list[list[int]] = [[] for _ in self.events]
        ignored: list[list[int]] = [[] for _ in self.events]
        for delivery in self.deliveries:
            (reacted if delivery.reacted else ignored)[delivery.number - 1].append(delivery.seat)
        return [
            Message(
                number,
                event,
                publisher(self.table, event.topic),
                tuple(reacted[number - 1]),
                tuple(ignored[number - 1]),
            )
            for number, event in enumerate(self.events, start=1)
        ]

    def having(self, *facts: Fact) -> list[Event]:
        """The events of steps that tell one of the facts, in order."""
        return [event for event in self.events if event.topic.step is not None and event.topic.fact in facts]

    def in_force(self) -> list[int]:
        """The positions whose local transaction stands: it succeeded, and was not compensated.

        One in doubt is not among them.
        """
        standing: dict[int, None] = {}
        for event in self.having(Fact.SUCCEEDED, Fact.COMPENSATED):
            if event.topic.fact is Fact.SUCCEEDED:
                standing[event.topic.position] = None
            else:
                standing.pop(event.topic.position, None)
        return list(standing)

    @property
    def is_finding(self) -> bool:
        """Whether it ended in a way that nobody asks for: stuck, after an exception, or without an outcome."""
        return self.outcome is None or self.outcome.state is State.STUCK or self.outcome.failed_step is not None

    def in_doubt(self) -> list[int]:
        """The positions that may be in force: nobody knows, and they could not be undone."""
        return [event.topic.position for event in self.events if isinstance(event.detail, InDoubt)]


def publisher(table: Table, topic: Topic) -> int:
    """The seat that publishes there."""
    reporter = table.client - 1
    if topic.step is None:
        return table.client if topic.fact is Fact.STARTED else reporter
    return reporter if isinstance(topic.fact, Command) else topic.position


def record(
    saga: Saga, style: str, service_of: ServiceOf, down: str | None = None, seen: Seen | None = None
) -> Recording:
    """Run the saga once and look on; `down` names a hearer that hears nothing."""
    services = {step: service_of(step) for step in saga.plan.steps}
    table = STYLES[style](saga.plan, services.__getitem__)
    nothing: list[dict[str, None]] = [{} for _ in table.cells]
    recording = Recording(style, table, services, [], [], nothing, [{} for _ in table.cells], origin=new_origin())
    recording.simulated = simulated_of(service_of)

    def publish(event: Event) -> None:
        recording.events.append(event)
        if seen is not None:
            seen(len(recording.events), event)

    def react(event: Event, row: Subscription, before: Any, after: Any, events: Events) -> None:
        reacted = bool(events) or any(True for _ in _differing(before, after))
        recording.deliveries.append(Delivery(len(recording.events), row.seat, reacted))
        recording.holds[row.seat] = fields = dict.fromkeys(_differing(table.cells[row.seat], after))
        recording.held[row.seat].update(fields)

    def rewrite(style: Style) -> Style:
        return observed(style if down is None else with_down(style, down), react)

    runner = compose_rewritten(services.__getitem__, rewrite, publish, recording.origin)
    with suppress(NoOutcome):  # then nobody said how the run ended, and that is what is reported
        recording.outcome = runner.execute(SAGA_ID, saga.itinerary, saga.fail_step, saga.fail_compensation, style)
    return recording


def _differing(before: Any, after: Any) -> Iterator[str]:
    """The fields of two cells of one seat that differ.

    Whatever a service handed back as its receipt is not asked whether it is equal to something: it may be anything.
    """
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new and (type(old) is not type(new) or old != new):
            yield name

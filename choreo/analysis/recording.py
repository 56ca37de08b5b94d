"""Recording of one run: every event, every delivery, and the fields that each cell held.

Laws: reads the table, never changes it. Seats are those of the table, so equal names are never confused.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from choreo.compile.table import Table
from choreo.protocol.event import Command, Event, Fact, InDoubt, Topic
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Plan
from choreo.saga.service import Service


class Delivery(Struct, frozen=True):
    """Delivery of one event, given by its number, to one seat. `reacted` tells whether it had an effect."""

    number: int
    seat: int
    reacted: bool


class RecordedEvent(Struct, frozen=True):
    """Event with its publisher's seat and its subscribers' seats: those that reacted, and those that ignored it."""

    number: int
    event: Event
    publisher: int
    reacted: tuple[int, ...]
    ignored: tuple[int, ...]


class Recording(Struct):
    """Recording of one run. Events are numbered from 1. `outcome` is None where none was reported. `origin` is the
    origin of the idempotency keys under which the services were called.

    `held` has, for each seat, the names of the fields of its cell that were set at some time during the run; `holds`
    has those that are set after it.
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
    """Steps that none of the given services serves."""

    @property
    def plan(self) -> Plan:
        return self.table.plan

    @property
    def reporter(self) -> int:
        """Return the seat of the coordinator or of the orchestrator."""
        return self.table.client - 1

    def recorded_events(self) -> list[RecordedEvent]:
        """Return every event with its deliveries."""
        reacted: list[list[int]] = [[] for _ in self.events]
        ignored: list[list[int]] = [[] for _ in self.events]
        for delivery in self.deliveries:
            (reacted if delivery.reacted else ignored)[delivery.number - 1].append(delivery.seat)
        return [
            RecordedEvent(
                number,
                event,
                publisher(self.table, event.topic),
                tuple(reacted[number - 1]),
                tuple(ignored[number - 1]),
            )
            for number, event in enumerate(self.events, start=1)
        ]

    def having(self, *facts: Fact) -> list[Event]:
        """Return the events of steps with one of the given facts, in order."""
        return [event for event in self.events if event.topic.step is not None and event.topic.fact in facts]

    def in_force(self) -> list[int]:
        """Return the positions whose local transaction is in force: it succeeded and was not compensated.

        Steps in doubt are not included.
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
        """Return whether the run ended unexpectedly: stuck, after an exception, or without an outcome."""
        return self.outcome is None or self.outcome.state is State.STUCK or self.outcome.failed_step is not None

    def in_doubt(self) -> list[int]:
        """Return the positions in doubt: their effect is unknown, and their compensation failed."""
        return [event.topic.position for event in self.events if isinstance(event.detail, InDoubt)]


def publisher(table: Table, topic: Topic) -> int:
    """Return the seat that publishes on the topic."""
    reporter = table.client - 1
    if topic.step is None:
        return table.client if topic.fact is Fact.STARTED else reporter
    return reporter if isinstance(topic.fact, Command) else topic.position


def differing(before: Any, after: Any) -> Iterator[str]:
    """Yield the names of the fields in which two cells of one seat differ.

    Receipts are never compared with `==`: a receipt is a value of any type that the service chose.
    """
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new and (type(old) is not type(new) or old != new):
            yield name

"""One run with somebody looking on: every event, every delivery, and what each cell held.

Laws: looks at the table, changes nothing in it. Seats are those of the table, so equal names are never confused.
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


def differing(before: Any, after: Any) -> Iterator[str]:
    """The fields of two cells of one seat that differ.

    Whatever a service handed back as its receipt is not asked whether it is equal to something: it may be anything.
    """
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new and (type(old) is not type(new) or old != new):
            yield name

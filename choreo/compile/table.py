"""The compiled table of a style: the subscriptions, from which every wiring and every diagram is derived.

Laws: data, not wiring; knows no bus.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from choreo.protocol.event import Event, Events, Fact, Topic
from choreo.protocol.reaction import NOTHING, Cell, Phase, Subscription, moves
from choreo.protocol.report import OutcomeTopics
from choreo.saga.definition import Saga
from choreo.saga.plan import Plan
from choreo.saga.roles import CLIENT
from choreo.saga.service import ServiceOf

STARTED = Topic("saga/started", Fact.STARTED, CLIENT)


class Table(Struct, frozen=True, eq=False):
    """Subscriptions with their reactions. A subscriber's seat is its index in `subscribers` and `cells`."""

    plan: Plan
    subscriptions: tuple[Subscription, ...]
    subscribers: tuple[str, ...]
    cells: tuple[Any, ...]
    """The initial cell of every seat."""

    @property
    def collector(self) -> str:
        """The name of the coordinator or of the orchestrator, which reports the outcome."""
        return self.subscribers[len(self.plan.steps)]

    @property
    def client(self) -> int:
        """The seat of the client: its cell receives the outcome."""
        return len(self.cells) - 1


Style = Callable[[Saga, ServiceOf], Table]
"""Compiler of one style: from a saga and its services to the table."""


def hear_outcomes(seat: int, topics: OutcomeTopics) -> list[Subscription]:
    """Return the client's rows. It stores the first outcome that it receives as the receipt of its cell."""
    keep = moves({Phase.WAITING: _keep})
    return [Subscription(topic, seat, CLIENT, keep) for topic in (topics.completed, topics.compensated, topics.stuck)]


def _keep(cell: Cell, event: Event) -> tuple[Cell, Events]:
    return Cell(Phase.SUCCEEDED, 0, event.detail), NOTHING

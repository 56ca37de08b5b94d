"""What a style is compiled to: one table of subscriptions, from which every wiring and every diagram is read.

Laws: data, not wiring; knows no bus.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from choreo.protocol.event import Event, Events, Fact, Topic
from choreo.protocol.reaction import NOTHING, Cell, Phase, Subscription, moves
from choreo.protocol.report import OutcomeTopics
from choreo.saga.plan import Plan
from choreo.saga.roles import CLIENT
from choreo.saga.service import ServiceOf

STARTED = Topic("saga/started", Fact.STARTED, CLIENT)


class Table(Struct, frozen=True, eq=False):
    """Who hears which topic and reacts how. A hearer is known by its seat, the index into `hearers` and `cells`."""

    plan: Plan
    subscriptions: tuple[Subscription, ...]
    hearers: tuple[str, ...]
    cells: tuple[Any, ...]
    """The cell of every seat before anything has happened."""

    @property
    def client(self) -> int:
        """The seat of whoever asked: its cell receives the outcome."""
        return len(self.cells) - 1


Style = Callable[[Plan, ServiceOf], Table]


def hear_outcomes(seat: int, topics: OutcomeTopics) -> list[Subscription]:
    """The client's rows: it keeps the first outcome that it hears, as the receipt of its cell."""
    keep = moves({Phase.WAITING: _keep})
    return [Subscription(topic, seat, CLIENT, keep) for topic in (topics.completed, topics.compensated, topics.stuck)]


def _keep(cell: Cell, event: Event) -> tuple[Cell, Events]:
    return Cell(Phase.SUCCEEDED, 0, event.detail), NOTHING

"""The bus: every event travels over pyee, from here and from nowhere else.

Laws: nobody emits inside an emit; what a reaction returns is handed to `publish`, and whoever owns the bus emits it later.
An event that no one hears is an error of the wiring, and is noticed. Owner of pyee.
"""

from collections.abc import Callable
from typing import Any

from pyee import EventEmitter

from choreo.domain.event import Event, Events
from choreo.domain.reaction import Subscription
from choreo.styles.table import Table


class UnheardEvent(RuntimeError):
    """An event was published under a topic to which nobody has subscribed: the wiring is wrong."""


Cells = list[Any]
"""The memory of one run: the cell of every seat."""


class Bus:
    """One emitter wired after one table; it carries every run of the table's itinerary."""

    def __init__(self, table: Table, publish: Callable[[Events], None]) -> None:
        self._emitter = EventEmitter()
        for subscription in table.subscriptions:
            self._emitter.on(subscription.topic.name, _receiver(subscription, publish))

    def drain(self, pending: list[Event], cells: Cells) -> None:
        """Emit what is pending, in order, and what is published meanwhile, until nothing is left."""
        emit = self._emitter.emit
        for event in pending:
            if not emit(event.topic.name, event, cells):
                raise UnheardEvent(event.topic.name)


def _receiver(subscription: Subscription, publish: Callable[[Events], None]) -> Callable[[Event, Cells], None]:
    seat, react = subscription.seat, subscription.react

    def receive(event: Event, cells: Cells) -> None:
        cells[seat], events = react(cells[seat], event)
        if events:
            publish(events)

    return receive

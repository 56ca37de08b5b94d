"""The bus: every event travels over pyee, from here and from nowhere else.

Laws: nobody emits inside an emit; what a reaction returns is handed to `publish`, and whoever owns the bus emits it
later. An event that no one hears is an error of the wiring, and is noticed. Owner of pyee.
"""

from collections.abc import Callable
from typing import Any, cast

from pyee import EventEmitter

from choreo.compile.table import Table
from choreo.protocol.event import Event, Events
from choreo.protocol.reaction import Subscription
from choreo.saga.raised import shown


class UnheardEvent(RuntimeError):
    """An event was published under a topic to which nobody has subscribed: the wiring is wrong."""


Cells = list[Any]
"""The memory of one run: the cell of every seat."""


class Bus(EventEmitter):
    """One emitter, wired after one table; it carries every run of the table's itinerary.

    Its listeners are subscriptions.
    """

    def __init__(
        self,
        table: Table,
        publish: Callable[[Events], None],
        address_of: Callable[[Subscription], str] = lambda subscription: subscription.topic.name,
    ) -> None:
        """By default a topic is one address, and an event reaches all its hearers at once.

        Where every delivery has a time of its own, `address_of` gives each hearer an address of its own.
        """
        super().__init__()
        self._publish = publish
        events: Any = self._events
        for subscription in table.subscriptions:
            address = address_of(subscription)
            events.setdefault(address, {})  # pyee's OrderedDict is half as large again, and slower to go through
            self.add_listener(address, cast("Any", subscription))

    def drain(self, pending: list[Event], cells: Cells, observe: Callable[[Event], None] | None = None) -> None:
        """Emit what is pending, in order, and what is published meanwhile, until nothing is left.

        `observe` is shown each event before it is emitted. Raises `UnheardEvent`.
        """
        emit = self.emit
        for event in pending:
            if observe is not None:
                observe(event)
            if not emit(event.topic.name, event, cells):
                raise UnheardEvent(f"nobody has subscribed to {shown(event.topic.name)}")

    def _call_handlers(self, event: str, args: tuple[Event, Cells], kwargs: dict[str, Any]) -> bool:
        """How `emit` reaches the listeners of a topic.

        pyee copies them under a lock first, for they may change meanwhile. Once wired, a bus never changes, and the
        copy is a third of the cost of an event (docs/decisions/004-bus.md). The body of the loop is
        `Subscription.react`, written out: a call for each delivery would cost a twentieth of a saga's time.
        """
        published, cells = args
        subscriptions: Any = self._events.get(event)
        if not subscriptions:
            return False
        for subscription in subscriptions:
            seat = subscription.seat
            cell = cells[seat]
            reaction = subscription.moves[cell.phase]
            if reaction is not None:
                cells[seat], events = reaction(cell, published)
                if events:
                    self._publish(events)
        return True

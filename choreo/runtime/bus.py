"""The bus: every event travels over pyee, and this is the only place that emits.

Laws: no emit within an emit; a reaction's events are handed to `publish`, and the owner of the bus emits them later. An
event without a subscriber is a wiring error, and is detected. Owner of pyee.
"""

from collections.abc import Callable
from typing import Any, cast

from pyee import EventEmitter

from choreo.compile.table import Table
from choreo.protocol.event import Event, Events
from choreo.protocol.reaction import Subscription
from choreo.saga.raised import shown


class UnheardEvent(RuntimeError):
    """An event was published under a topic without subscribers: the wiring is wrong."""


Cells = list[Any]
"""The memory of one run: the cell of every subscriber."""


class Bus(EventEmitter):
    """One emitter, wired from one table; it carries every run of the table's itinerary.

    Its listeners are subscriptions.
    """

    def __init__(
        self,
        table: Table,
        publish: Callable[[Events], None],
        address_of: Callable[[Subscription], str] = lambda subscription: subscription.topic.name,
    ) -> None:
        """Subscribe the reactions of a table.

        By default a topic is one address, and an event reaches all its subscribers at once.

        If deliveries are made one at a time, `address_of` gives each subscriber its own address.
        """
        super().__init__()
        self._publish = publish
        events: Any = self._events
        for subscription in table.subscriptions:
            address = address_of(subscription)
            events.setdefault(address, {})  # pyee's OrderedDict is half as large again, and iterates more slowly
            self.add_listener(address, cast("Any", subscription))

    def drain(self, pending: list[Event], cells: Cells, observe: Callable[[Event], None] | None = None) -> None:
        """Emit the pending events in order, and the events published meanwhile, until none is left.

        `observe` is called with each event before it is emitted. Raises `UnheardEvent`.
        """
        emit = self.emit
        for event in pending:
            if observe is not None:
                observe(event)
            if not emit(event.topic.name, event, cells):
                raise UnheardEvent(f"nobody has subscribed to {shown(event.topic.name)}")

    def _call_handlers(self, event: str, args: tuple[Event, Cells], kwargs: dict[str, Any]) -> bool:
        """Call the listeners of a topic; overrides the method that `emit` uses.

        pyee copies them under a lock first, because they may change meanwhile. Once wired, a bus never changes, and the
        copy is a third of the cost of an event (docs/decisions/004-bus.md). The body of the loop is
        `Subscription.react` inlined: a call for each delivery would cost a twentieth of a saga's time.
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

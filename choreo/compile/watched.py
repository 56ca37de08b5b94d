"""Wrappers of styles: the same table, with an observer, or with one participant down.

Laws: a table is data, so each wrapper rewrites its rows; participants and bus are not affected.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from choreo.compile.table import Style, Table
from choreo.protocol.event import Event, Events
from choreo.protocol.reaction import Reaction, Subscription
from choreo.saga.definition import Saga
from choreo.saga.service import ServiceOf

Delivered = Callable[[Event, str], None]
"""Callback for a delivery: the event, and the name of the subscriber."""

Reacted = Callable[[Event, Subscription, Any, Any, Events], None]
"""Callback for a reaction: the event, the row, the cell before and after, and the published events."""


def watched(style: Style, delivered: Delivered) -> Style:
    """Return the style with `delivered` called for every delivery, before the reaction."""

    def compile_watched(saga: Saga, service_of: ServiceOf) -> Table:
        return _rewritten(style(saga, service_of), lambda row: _watch(row, delivered))

    return compile_watched


def observed(style: Style, reacted: Reacted) -> Style:
    """Return the style with `reacted` called after every reaction, even one that changed no state."""

    def compile_observed(saga: Saga, service_of: ServiceOf) -> Table:
        return _rewritten(style(saga, service_of), lambda row: _observe(row, reacted))

    return compile_observed


def with_down(style: Style, subscriber: str) -> Style:
    """Return the style with `subscriber` down: every delivery to it is lost.

    If several participants have that name, it is the last one: the coordinator, rather than a step of the same name.
    """

    def compile_with_down(saga: Saga, service_of: ServiceOf) -> Table:
        table = style(saga, service_of)
        seat = max((seat for seat, name in enumerate(table.subscribers) if name == subscriber), default=None)
        return _rewritten(table, lambda row: _silence(row) if row.seat == seat else row)

    return compile_with_down


def _rewritten(table: Table, rewrite: Callable[[Subscription], Subscription]) -> Table:
    return replace(table, subscriptions=tuple(map(rewrite, table.subscriptions)))


def _watch(row: Subscription, delivered: Delivered) -> Subscription:
    def react(cell: Any, event: Event) -> tuple[Any, Events]:
        delivered(event, row.subscriber)
        return row.react(cell, event)

    return _always(row, react)


def _observe(row: Subscription, reacted: Reacted) -> Subscription:
    def react(cell: Any, event: Event) -> tuple[Any, Events]:
        after, events = row.react(cell, event)
        reacted(event, row, cell, after, events)
        return after, events

    return _always(row, react)


def _always(row: Subscription, react: Reaction) -> Subscription:
    """Return the row with this reaction in every phase; one function serves all of them, since a join has many rows."""
    return Subscription(row.topic, row.seat, row.subscriber, (react,) * len(row.moves))


def _silence(row: Subscription) -> Subscription:
    return replace(row, moves=(None,) * len(row.moves))

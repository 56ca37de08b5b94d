"""Wiring of the durable runner: a compiled table, with an address on the bus for every delivery."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from choreo.compile.table import Table
from choreo.protocol.event import Events
from choreo.runtime.bus import Bus
from choreo.storage.replay import word_of

ROW_BYTES_DURABLE, NAME_COPIES = 1_200, 3
"""Size of a subscription here, in bytes: it has its own address on the bus, stored once as a key there and once for
look-up."""

Address = tuple[str, int]
"""Address of a delivery on the bus, and the index of its subscriber."""


class DurableWiring(Struct, frozen=True, eq=False):
    """An itinerary in one style, compiled and wired to its bus; every delivery has its own address.

    `addresses` has the addresses of each topic, except that of the collector (the coordinator or the orchestrator),
    which is in `collected`; `words` has the journal's word for each topic. `steps` is the itinerary as text, `client`
    the subscriber index of the client; the collector's index is one less.
    """

    table: Table
    client: int
    bus: Bus
    addresses: Mapping[str, tuple[Address, ...]]
    collected: Mapping[str, str]
    words: Mapping[str, str]
    steps: str


def wired(table: Table, steps: str, publish: Callable[[Events], None]) -> DurableWiring:
    """Wire a table to a new bus; `publish` is called with the events of each reaction."""
    addresses: dict[str, list[Address]] = {}
    collected: dict[str, str] = {}
    for row in table.subscriptions:
        address = address_of(row.seat, row.topic.name)
        if row.seat == table.client - 1:
            collected[row.topic.name] = address
        else:
            addresses.setdefault(row.topic.name, []).append((address, row.seat))
    return DurableWiring(
        table,
        table.client,
        Bus(table, publish, lambda row: address_of(row.seat, row.topic.name)),
        {name: tuple(each) for name, each in addresses.items()},
        collected,
        {row.topic.name: word_of(row.topic) for row in table.subscriptions},
        steps,
    )


def address_of(seat: int, topic: str) -> str:
    """Return the bus address of a topic's delivery to one subscriber."""
    return f"{seat}<{topic}"

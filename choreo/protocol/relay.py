"""A relay: an event that a participant hears makes it publish another, whatever the state of the saga.

Two that hear each other are a storm. With `hop_limit` an event that has come so far causes no more.
"""

from typing import Any

from choreo.protocol.event import Event, Events, Topic
from choreo.protocol.reaction import NOTHING, PHASES, Moves

HOPS_MAX = 4


def relay(topic: Topic, hop_limit: bool) -> Moves:
    """Publish under `topic` whatever the phase; each update has a number one higher than the event that caused it."""

    def react(cell: Any, event: Event) -> tuple[Any, Events]:
        if hop_limit and event.number >= HOPS_MAX:
            return cell, NOTHING
        return cell, (Event(topic, event.run, event.topic, None, event.number + 1, event.number),)

    return (react,) * len(PHASES)

"""A relay: a participant that publishes one event for each event it receives, in every state of the saga.

Two relays that subscribe to each other cause an event storm. `hop_limit` bounds the length of a causal chain.
"""

from typing import Any

from choreo.protocol.event import Event, Events, Topic
from choreo.protocol.reaction import NOTHING, PHASES, Moves

HOPS_MAX = 4


def relay(topic: Topic, hop_limit: bool) -> Moves:
    """Return the reaction that publishes under `topic` in every phase. Each update is numbered one above its cause."""

    def react(cell: Any, event: Event) -> tuple[Any, Events]:
        if hop_limit and event.number >= HOPS_MAX:
            return cell, NOTHING
        return cell, (Event(topic, event.run, event.topic, None, event.number + 1, event.number),)

    return (react,) * len(PHASES)

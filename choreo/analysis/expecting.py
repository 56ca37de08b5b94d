"""Next events of a run that has not ended: the events that its pending deliveries may cause.

Laws: pure; no service is called. Each participant with a pending delivery reacts twice: as if its service succeeded,
and as if it refused. The events of both reactions are the possible next events.
"""

from choreo.protocol.event import Topic
from choreo.protocol.reaction import WAITING
from choreo.storage.replay import Replayer, RunSnapshot, word_of

ANSWERS = ("", "failed", "compensation_failed")
"""Possible answers of a service: success, a refused transaction, a failed compensation.

A failed compensation is left out before the service was called: it is possible only where the answer is unknown.
"""


def expected(replayer: Replayer, stood: RunSnapshot) -> list[Topic]:
    """Return the topics of the possible next events; empty where the pending deliveries cause no event."""
    cells = list(stood.cells)
    topics: dict[str, Topic] = {}
    for event, seat in stood.pending:
        row, cell = replayer.rows[word_of(event.topic), seat], cells[seat]
        for answer in ANSWERS if cell.phase is not WAITING else ANSWERS[:2]:
            replayer.script.published, replayer.script.receipt = answer, None
            after, events = row.react(cell, event)
            topics.update((each.topic.name, each.topic) for each in events)
            if not answer:
                cells[seat] = after
    return list(topics.values())

"""What is expected next of a run that has not ended: which events the deliveries that are due may bring about.

Laws: pure; no service is asked. Each participant that is to hear something reacts as if its service agreed, and as if
it refused; what it would publish either way is what may come.
"""

from choreo.protocol.event import Topic
from choreo.protocol.reaction import WAITING
from choreo.storage.replay import Replayer, Stood, word_of

ANSWERS = ("", "failed", "compensation_failed")
"""What a service may say: that it is done, or that it will not be done, or undone.

Before it was asked for anything the last is left out: it says so only where its answer is unknown.
"""


def expected(replayer: Replayer, stood: Stood) -> list[Topic]:
    """The topics of the events that may come next; none where nothing more will come of what is due."""
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

"""Next events of a run in a journal, as text and as JSON.

Laws: no service is called, no receipt is decoded. Where the rows do not determine the next events, the text says so.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from choreo.analysis.expecting import expected
from choreo.compile.cache import Wirings
from choreo.conformance.journal_records import replayer_of
from choreo.protocol.event import Command, Topic
from choreo.saga.outcome import Outcome, State
from choreo.saga.raised import in_a_line
from choreo.storage.replay import Replayer
from choreo.storage.rows import RUNNING, RunRow
from choreo.storage.sqlite.journal import Journal
from choreo.trace.vocabulary import fact_text

Show = Callable[[str], str]


class NextEvents(Struct, frozen=True):
    """Possible next events of a run: their topics, or the reason why they are unknown."""

    topics: tuple[Topic, ...] = ()
    unknown: str | None = None


ENDED = NextEvents()


class NextEventsReader:
    """Computes the next events of the runs of one journal. Caches one replayer for each style and plan."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._replayers: Wirings[Replayer] = Wirings(replayer_of)

    def of(self, row: RunRow) -> NextEvents:
        if row.state != RUNNING:
            return ENDED
        try:
            replayer = self._replayers[row.request.style, row.key]
            stood = replayer.replay(row, self._journal.deliveries(row.number))
            return NextEvents(tuple(expected(replayer, stood)))
        except Exception as error:  # rows that no node wrote may fail in any way
            return NextEvents(unknown=in_a_line(error))


def next_events_text(row: RunRow, next_events: NextEvents, show: Show) -> str:
    """Describe the next events: `book_hotel: succeeded or failed`. Of a stuck run, name the step that an operator must
    resume.
    """
    if row.state == State.STUCK:
        outcome = row.latest_outcome
        return "; ".join(["nothing: waits for an operator", *([] if outcome is None else stuck_at(outcome, show))])
    if row.state != RUNNING:
        return ""
    if next_events.unknown is not None:
        return "nobody can tell: choreo check says why"
    return (
        "; ".join(_source_text(source, topics, show) for source, topics in _by_source(next_events.topics))
        or "nothing is due"
    )


def stuck_at(outcome: Outcome, show: Show) -> list[str]:
    """Return the sentence that names the step whose compensation failed; empty without such a step."""
    return [] if outcome.stuck_step is None else [f"{show(outcome.stuck_step)} could not be compensated"]


def as_json(next_events: NextEvents) -> list[dict[str, Any]]:
    return [
        {
            "event": topic.event,
            "source": topic.source,
            "step": topic.step,
            "position": None if topic.step is None else topic.position,
        }
        for topic in next_events.topics
    ]


def _by_source(topics: Sequence[Topic]) -> list[tuple[str, list[Topic]]]:
    """Group topics by publisher, in their order. Two steps of equal name are two groups."""
    groups: dict[tuple[str, int], list[Topic]] = {}
    for topic in topics:
        is_command = isinstance(topic.fact, Command)
        groups.setdefault((topic.source, -1 if is_command else topic.position), []).append(topic)
    return [(source, group) for (source, _), group in groups.items()]


def _source_text(source: str, topics: Sequence[Topic], show: Show) -> str:
    words = [_word(topic, show) for topic in topics]
    joined = " and ".join(words) if isinstance(topics[0].fact, Command) else " or ".join(words)
    return f"{show(source)}: {joined}"


def _word(topic: Topic, show: Show) -> str:
    return fact_text(topic.fact, None if topic.step is None else show(topic.step))

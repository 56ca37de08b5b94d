"""Sequence of one recorded run: a message for each event, with all its subscribers.

Laws: pure; knows no screen. Two steps of equal name are two participants.
"""

from collections.abc import Mapping

from choreo.analysis.naming import numbered
from choreo.analysis.recording import RecordedEvent, Recording
from choreo.analysis.sequence import Arrival, Form, Message, Note, Participant, Sequence, Show, Standing, Target, Tone
from choreo.protocol.event import Command, Event, Fact, InDoubt, Timer
from choreo.saga.roles import ORCHESTRATOR
from choreo.trace.vocabulary import event_text

STANDING_AFTER: Mapping[Fact | Command | Timer, Standing] = {
    Fact.SUCCEEDED: Standing.IN_FORCE,
    Fact.COMPENSATED: Standing.NOT_IN_FORCE,
}
"""By event of a step: the state of its local transaction."""


def run_sequence(recording: Recording, show: Show, show_all: bool = False) -> Sequence:
    """Return the sequence of a run. With `show_all`, include the subscribers that ignored an event."""
    names = numbered(recording.table.subscribers)
    shown = [show(name) for name in names]
    steps = len(recording.plan.steps)
    participants = tuple(Participant(str(seat), names[seat], seat >= steps) for seat in seats_in_order(recording))
    messages = (_message(recorded, shown, show, show_all) for recorded in recording.recorded_events())
    return Sequence(participants, tuple(messages))


def seats_in_order(recording: Recording) -> tuple[int, ...]:
    """Return the client, the steps and the coordinator, in this order; the orchestrator stands between client and
    steps.
    """
    table, steps = recording.table, tuple(range(len(recording.plan.steps)))
    if table.subscribers[recording.reporter] == ORCHESTRATOR:
        return (table.client, recording.reporter, *steps)
    return (table.client, *steps, recording.reporter)


def _message(recorded: RecordedEvent, names: list[str], show: Show, show_all: bool) -> Message:
    event, publisher = recorded.event, str(recorded.publisher)
    topic = event.topic
    targets = () if isinstance(topic.fact, Timer) else _targets(recorded, show_all)
    return Message(
        recorded.number,
        event.run.id,
        Form.ARROW if targets else Form.DOT,
        publisher,
        publisher if targets else None,
        targets,
        str(topic.fact),
        event_text(topic.fact, None if topic.step is None else names[topic.position]),
        _note(event, show),
        _changes(event, publisher),
    )


def _changes(event: Event, publisher: str) -> tuple[tuple[str, Standing], ...]:
    if isinstance(event.detail, InDoubt):
        return ((publisher, Standing.IN_DOUBT),)
    if event.topic.step is None or event.topic.fact not in STANDING_AFTER:
        return ()
    return ((publisher, STANDING_AFTER[event.topic.fact]),)


def _note(event: Event, show: Show) -> tuple[Note, ...]:
    """Return the reason of a failure; the list of events beside a diagram has it as well."""
    return (Note(show(event.reason), Tone.SEEN),) if event.topic.fact is Fact.FAILED and event.reason else ()


def _targets(recorded: RecordedEvent, show_all: bool) -> tuple[Target, ...]:
    targets = [Target(str(seat), Arrival.HEARD) for seat in recorded.reacted]
    targets += [Target(str(seat), Arrival.IGNORED) for seat in (recorded.ignored if show_all else ())]
    return tuple(targets)

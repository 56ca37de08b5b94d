"""One sequence: the recording of a run and the records of its trace give the same participants, arrows and states."""

import pytest

from choreo.analysis.record_sequence import record_sequence
from choreo.analysis.recording import Recording
from choreo.analysis.run_sequence import run_sequence
from choreo.analysis.sequence import Sequence, Standing
from choreo.compile import STYLES
from choreo.protocol.event import Event
from choreo.trace.record import Record, encode_record
from choreo.trace.records import event_record, published_record, traceback_of
from choreo.trace.vocabulary import ACTIONS, DELIVER, EVENTS
from choreo.trace.writer import Tracer
from tests.terminal import recorded

TRIP = ("flight", ("hotel", "car"), "pay")
MISHAPS = ({}, {"fail_step": "pay"}, {"fail_step": "pay", "fail_compensation": "flight"}, {"refusing": [2]})
BROKEN = {"broken": [1], "stubborn": [1]}

each_run = pytest.mark.parametrize("mishap", MISHAPS, ids=str)
each_style = pytest.mark.parametrize("style", sorted(STYLES))


def records_of(recording: Recording) -> list[Record]:
    """The records of the events and deliveries of a run, numbered; each event stands before its deliveries."""
    names = recording.table.subscribers
    records = []
    for each in recording.recorded_events():
        subscribers = [names[seat] for seat in (*each.reacted, *each.ignored)]
        records.append(published_record(each.event))
        records += [event_record(each.event, DELIVER, name) for name in subscribers]
    for number, record in enumerate(records, start=1):
        record.seq = number
    return records


def arrows(sequence: Sequence) -> set[tuple[str, str, str]]:
    names = {each.key: each.name for each in sequence.participants}
    return {
        (names[message.source], names[target.key], message.text)
        for message in sequence.messages
        if message.source is not None
        for target in message.targets
    }


@each_style
@each_run
def test_a_recording_and_its_records_have_the_same_participants_and_arrows(style: str, mishap: dict[str, str]) -> None:
    """In the same order from left to right; a trace has nobody who never acted. And the same arrows."""
    recording = recorded(style, *TRIP, **mishap)

    run = run_sequence(recording, str, show_all=True)
    history = record_sequence(records_of(recording), str, show_all=True)

    seen = {each.name for each in history.participants}
    cast = [(each.name, each.is_role) for each in run.participants if each.name in seen]
    assert [(each.name, each.is_role) for each in history.participants] == cast
    assert seen >= {"client", "flight", "hotel", "car"}
    assert arrows(history) == arrows(run)


@each_style
def test_the_changes_of_all_messages_add_up_to_what_is_in_force(style: str) -> None:
    """A message has what it changed, and not the whole state: a long saga takes linear memory."""
    recording = recorded(style, *TRIP, fail_step="pay", fail_compensation="hotel")

    messages = run_sequence(recording, str).messages

    standing = dict(change for message in messages for change in message.changes)
    in_force = [int(key) for key, state in standing.items() if state is Standing.IN_FORCE]
    assert sorted(in_force) == sorted(recording.in_force()) != []
    assert all(len(message.changes) <= 1 for message in messages)


def test_a_step_in_doubt_is_so_from_its_own_message_on() -> None:
    """Its answer was an exception, and so was its undo."""
    messages = run_sequence(recorded("choreography", "a", "b", **BROKEN), str).messages

    changing = [each for each in messages for _, state in each.changes if state is Standing.IN_DOUBT]

    assert [message.text for message in changing] == ["b compensation_failed"]


class Lines:
    """A sink that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def record(self, line: bytes) -> None:
        self.lines.append(line)


def traced(event: Event) -> bytes:
    """The line of the node's trace for a published event."""
    sink = Lines()
    Tracer(sink).published(event)
    return sink.lines[0]


@each_style
@pytest.mark.parametrize("mishap", [*MISHAPS, BROKEN], ids=str)
def test_the_node_and_the_lab_record_an_event_alike(style: str, mishap: dict[str, str]) -> None:
    """Byte by byte, but for the time; the node adds the traceback, the lab the compensated steps of an outcome."""
    for event in recorded(style, "a", "b", "pay", **mishap).events:
        line = traced(event)
        record = published_record(event, 1, line.split(b'"time":"')[1].split(b'"')[0].decode())

        record.traceback, record.undone = traceback_of(event), None

        assert line == encode_record(record)
        assert record.action in ACTIONS
        assert record.event in EVENTS

"""Sequence diagram in Mermaid (https://mermaid.js.org/syntax/sequenceDiagram.html).

Laws: pure text, a line for each arrow; the arrows are numbered as their events or records are. Every name is escaped to
one text on one line, whatever characters it has.
"""

from collections.abc import Iterable, Iterator, Mapping

from choreo.analysis.record_sequence import record_sequence
from choreo.analysis.recording import Recording
from choreo.analysis.run_sequence import run_sequence
from choreo.analysis.sequence import Arrival, Form, Message, Note, Sequence, Target, Tone
from choreo.protocol.event import Fact
from choreo.render.names import shown
from choreo.render.served import simulated_text
from choreo.render.words import state_of, story_of
from choreo.saga.roles import CLIENT
from choreo.trace.record import Record

BACKWARD = frozenset((Fact.FAILED, Fact.CANCELLED, Fact.COMPENSATED, Fact.COMPENSATION_FAILED, Fact.STUCK))

PLAIN = frozenset(" !'()*,./?_|-")
"""Characters that need no escape in a Mermaid text, beside letters and digits."""


def mermaid(recording: Recording, show_all: bool = False) -> str:
    """Render a run, and its end in a sentence. With `show_all`, include subscribers that ignored an event."""
    sequence = run_sequence(recording, shown, show_all)
    simulated = [f"%% {simulated_text(recording.simulated, escaped)}"] if recording.simulated else []
    first, last = "p0", f"p{len(sequence.participants) - 1}"
    end = f"Note over {first},{last}: {escaped(f'{state_of(recording)}: {story_of(recording, shown)}')}"
    return _diagram([*simulated, *_lines(sequence), end])


def history_mermaid(records: Iterable[Record], show_all: bool = False) -> str:
    """Render a history. With `show_all`, include deliveries without effect."""
    return _diagram(_lines(record_sequence(records, shown, show_all)))


def escaped(text: str) -> str:
    """Escape a text for Mermaid: other characters become entity codes, and so does the keyword `end`."""
    characters = "".join(c if c.isalnum() or c in PLAIN else f"#{ord(c)};" for c in shown(text))
    words = (f"#{ord(word[0])};{word[1:]}" if word.lower() == "end" else word for word in characters.split(" "))
    return " ".join(words)


def _diagram(lines: Iterable[str]) -> str:
    return "\n".join(["sequenceDiagram", *(f"    {line}" for line in lines)])


def _lines(sequence: Sequence) -> Iterator[str]:
    """Yield the statements; backward recovery of a single run has a red background."""
    alias_of = {each.key: f"p{index}" for index, each in enumerate(sequence.participants)}
    for each in sequence.participants:
        kind = "actor" if each.is_role and each.name == CLIENT else "participant"
        yield f"{kind} {alias_of[each.key]} as {escaped(each.name)}"
    has_many_runs, is_backward = len(sequence.runs) > 1, False
    for message in sequence.messages:
        if message.fact in BACKWARD and not is_backward and not has_many_runs:
            is_backward = True
            yield "rect rgb(255,235,235)"
        yield from _message(message, alias_of, f"{shown(sequence.runs[message.run])} " if has_many_runs else "")
    if is_backward:
        yield "end"


def _message(message: Message, alias_of: Mapping[str, str], run: str) -> Iterator[str]:
    who, notes = alias_of[message.who], [_text(note) for note in message.notes]
    if message.form in (Form.ARROW, Form.TIMER):
        source = alias_of[message.source or message.who]
        fault = f" ({notes.pop(0)})" if message.is_bad else ""
        for target in message.targets:
            text = escaped(f"{run}{message.number} {message.fact}{fault}")
            yield f"{source}{_head(target)}{alias_of[target.key]}: {text}"
    elif message.form is Form.DOT:
        notes.insert(0, message.text)
    if notes:
        yield f"Note over {who}: {escaped(run + ', '.join(notes))}"


def _head(target: Target) -> str:
    """Return the arrow: crossed if the event was lost, or its subscriber crashed; dotted if there was no effect."""
    if target.arrival in (Arrival.LOST, Arrival.STRUCK):
        return "--x"
    return "--)" if target.arrival is Arrival.IGNORED else "-)"


def _text(note: Note) -> str:
    return f"publishes {note.text}" if note.tone is Tone.PUBLISHED else note.text

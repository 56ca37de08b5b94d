"""One run as a Mermaid sequence diagram (https://mermaid.js.org/syntax/sequenceDiagram.html).

Laws: pure text, a line for each arrow. Every name is escaped to one text on one line, whatever characters it has.
"""

from collections.abc import Iterator

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Message, Recording
from choreo.protocol.event import Fact
from choreo.render.lanes import seats_in_order
from choreo.render.names import shown
from choreo.render.served import told_of
from choreo.render.words import state_of, story_of

BACKWARD = (Fact.FAILED, Fact.CANCELLED, Fact.COMPENSATED, Fact.COMPENSATION_FAILED, Fact.STUCK)

PLAIN = frozenset(" !'()*,./?_|-")
"""Characters that need no escape in a Mermaid text, beside letters and digits."""


def mermaid(recording: Recording, show_all: bool = False) -> str:
    """Render the run; backward recovery has a red background. Dotted arrows: delivered without effect."""
    return "\n".join(["sequenceDiagram", *(f"    {line}" for line in _lines(recording, show_all))])


def escaped(text: str) -> str:
    """Escape a text for Mermaid: other characters become entity codes, and so does the keyword `end`."""
    characters = "".join(c if c.isalnum() or c in PLAIN else f"#{ord(c)};" for c in shown(text))
    words = (f"#{ord(word[0])};{word[1:]}" if word.lower() == "end" else word for word in characters.split(" "))
    return " ".join(words)


def _lines(recording: Recording, show_all: bool) -> Iterator[str]:
    if recording.simulated:
        yield f"%% {told_of(recording.simulated, escaped)}"
    seats = seats_in_order(recording)
    alias = {seat: f"p{index}" for index, seat in enumerate(seats)}
    names = numbered(recording.table.hearers)
    for seat in seats:
        kind = "actor" if seat == recording.table.client else "participant"
        yield f"{kind} {alias[seat]} as {escaped(names[seat])}"
    is_backward = False
    for message in recording.messages():
        if message.event.topic.fact in BACKWARD and not is_backward:
            is_backward = True
            yield "rect rgb(255,235,235)"
        yield from _arrows(message, alias, show_all)
    if is_backward:
        yield "end"
    ends = f"{alias[seats[0]]},{alias[seats[-1]]}"
    yield f"Note over {ends}: {escaped(f'{state_of(recording)}: {story_of(recording, shown)}')}"


def _arrows(message: Message, alias: dict[int, str], show_all: bool) -> Iterator[str]:
    publisher, fact = alias[message.publisher], message.event.topic.fact
    for seat in message.reacted:
        yield f"{publisher}-){alias[seat]}: {message.number} {fact}"
    for seat in message.ignored if show_all else ():
        yield f"{publisher}--){alias[seat]}: {message.number} {fact}"
    if message.event.topic.fact is Fact.FAILED and message.event.reason:
        yield f"Note over {publisher}: {escaped(message.event.reason)}"

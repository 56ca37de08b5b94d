"""One history of the lab as a Mermaid sequence diagram (https://mermaid.js.org/syntax/sequenceDiagram.html).

Laws: pure text from trace records alone. Every name is escaped to one text on one line, whatever characters it has. The
arrows are numbered as their records are.
"""

from collections.abc import Iterator, Mapping, Sequence

from choreo.analysis.sequence import Arrival, Form, Happening, Tone, Word, happenings, in_order, runs_of
from choreo.render.mermaid import escaped
from choreo.render.names import shown
from choreo.saga.roles import CLIENT
from choreo.trace.record import Record


def history_mermaid(records: Sequence[Record], show_all: bool = False) -> str:
    """Render the history. Crossed arrows: the event was lost, or its subscriber crashed. Dotted arrows: no effect."""
    return "\n".join(["sequenceDiagram", *(f"    {line}" for line in _lines(records, show_all))])


def _lines(records: Sequence[Record], show_all: bool) -> Iterator[str]:
    history = happenings(records, shown, show_all)
    participants = in_order((each for happening in history for each in happening.participants), records)
    alias_of = {participant: f"p{index}" for index, participant in enumerate(participants)}
    for participant, alias in alias_of.items():
        kind = "actor" if participant == CLIENT else "participant"
        yield f"{kind} {alias} as {escaped(participant)}"
    names = {run: f"{shown(name)} " for run, name in runs_of(records).items()}
    for happening in history:
        yield from _happening(happening, alias_of, names[happening.run] if len(names) > 1 else "")


def _happening(happening: Happening, alias_of: Mapping[str, str], run: str) -> Iterator[str]:
    who, text = alias_of[happening.who], f"{run}{happening.number} {happening.fact}"
    words = [_word(word) for word in happening.words]
    if happening.form in (Form.ARROW, Form.TIMER):
        source = alias_of[happening.source or happening.who]
        faults = "" if not happening.is_bad else f" ({words[0]})"
        yield f"{source}{_head(happening)}{who}: {escaped(text + faults)}"
        words = words[1:] if faults else words
    elif happening.form is Form.DOT:
        words.insert(0, happening.told)
    if words:
        yield f"Note over {who}: {escaped(run + ', '.join(words))}"


def _head(happening: Happening) -> str:
    if happening.is_bad:
        return "--x"
    return "--)" if happening.arrival is Arrival.IGNORED else "-)"


def _word(word: Word) -> str:
    return f"publishes {word.text}" if word.tone is Tone.PUBLISHED else word.text

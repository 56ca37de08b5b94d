"""Sequence: the messages of one or more runs in order, from which every picture is drawn, as text and as Mermaid.

Laws: plain values; knows no screen, and neither recordings nor records. It is built once: by `run_sequence.py` from the
recording of a run, by `record_sequence.py` from the records of a trace.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

Show = Callable[[str], str]
"""Makes a name or another text from outside safe to display."""


class Form(Enum):
    """Shape of a message in a diagram."""

    ARROW = "arrow"
    """From the publisher to its subscribers."""
    TIMER = "timer"
    """A timer that a participant set for itself, or a delivery of unknown publisher."""
    DOT = "dot"
    """A published event whose delivery is not drawn."""
    SPOT = "spot"
    """A fault or restart of one participant."""


class Arrival(Enum):
    """Result of a delivery."""

    HEARD = "heard"
    IGNORED = "ignored"
    """Delivered without effect."""
    LOST = "lost"
    STRUCK = "struck"
    """The subscriber crashed during the delivery, or could not decode the event."""


class Tone(Enum):
    """Kind of a note."""

    PLAIN = "plain"
    SEEN = "seen"
    """Already visible beside or in a diagram with lifelines."""
    BAD = "bad"
    PUBLISHED = "published"
    """A published event whose delivery is not drawn here."""


class Note(Struct, frozen=True):
    """Short text about a message, safe to display."""

    text: str
    tone: Tone = Tone.PLAIN


class Standing(Enum):
    """State of a participant's local transaction."""

    IN_FORCE = "in force"
    IN_DOUBT = "in doubt"
    NOT_IN_FORCE = "not in force"


class Participant(Struct, frozen=True):
    """Participant of a sequence, with one lifeline. `key` is unique; `name` is not escaped.

    A role is no step: the client, the coordinator, and others with short, well-known names.
    """

    key: str
    name: str
    is_role: bool


class Target(Struct, frozen=True):
    """Subscriber of a message, by its key, and the result of the delivery."""

    key: str
    arrival: Arrival


class Message(Struct, frozen=True):
    """One line of a sequence. `number` is that of its event, or of its first record.

    `who` is the participant that the notes are about: the publisher in the recording of a run, the subscriber in a
    trace. `source` is the publisher where there are arrows. `changes` are the states of local transactions from now on
    in this run, by participant, where the message may have changed them.
    """

    number: int
    run: str
    form: Form
    who: str
    source: str | None
    targets: tuple[Target, ...]
    fact: str
    """The event without its publisher: `succeeded`."""
    text: str
    """The event with its publisher: `charge succeeded`."""
    notes: tuple[Note, ...] = ()
    changes: tuple[tuple[str, Standing], ...] = ()

    @property
    def arrival(self) -> Arrival:
        """Return the result of the delivery; where there are several, all were received."""
        return self.targets[0].arrival if self.targets else Arrival.HEARD

    @property
    def is_bad(self) -> bool:
        """Return whether the delivery was lost or struck by a fault."""
        return self.arrival in (Arrival.LOST, Arrival.STRUCK)


class Sequence(Struct, frozen=True):
    """Participants from left to right, messages in order, and the names of the runs by their ids, unescaped."""

    participants: tuple[Participant, ...]
    messages: tuple[Message, ...]
    runs: dict[str, str] = {}

"""What every runner offers to whoever takes requests.

Laws: a request that was begun is settled; what it came to is known then, and not sooner than it may be told.
"""

from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring_ascii
from typing import Protocol

from msgspec import Struct

from choreo.protocol.event import Event
from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect
from choreo.saga.request import Request, Sender


class Held(Struct, frozen=True):
    """A run that cannot go on for now, and has not failed: at which step, where there is one, and why."""

    run: int
    saga_id: str | int
    step: str | None
    reason: str

    @property
    def text(self) -> str:
        """A sentence about it, for the log and for whoever asks again."""
        return f"{named(self.run, self.saga_id)} is held: {self.reason}"


class UnderWay(Struct, gc=False):
    """A run that was begun.

    `outcome` is there once it may be told, and `event` is the one that told it; `defect` says why there will be none
    for now, and `held` that nobody is to be told anything until the run goes on.
    """

    outcome: Outcome | None = None
    event: Event | None = None
    defect: Defect | None = None
    held: Held | None = None


class Known(Struct, frozen=True):
    """What is known of a saga that was asked for: the outcome that it has come to, or None while it runs or is held."""

    outcome: Outcome | None
    held: Held | None = None


class Conflict(ValueError):
    """The saga is recorded, and with other content than this request has."""


class NoRecord(LookupError):
    """This runner remembers no sagas."""


TEXT_SHOWN_MAX = 160


def named(run: int, saga_id: str | int) -> str:
    """Return the name of a run in a sentence."""
    return f"run-{run} (saga {shown(saga_id)})"


def shown(text: str | int) -> str:
    """Return a text in ASCII and in quotes, or a number; what is long is cut."""
    quoted = encode_basestring_ascii(text) if isinstance(text, str) else str(text)
    return quoted if len(quoted) <= TEXT_SHOWN_MAX else f"{quoted[: TEXT_SHOWN_MAX - 3]}..."


class Runner(Protocol):
    """Executes sagas: one at a time in memory, or many side by side with a journal."""

    def begin(self, request: Request, sender: Sender) -> Outcome | UnderWay:
        """Take a request: its outcome, where it is known at once. Raises `PlanTooLarge` and `Conflict`."""

    def settle(self) -> None:
        """Bring every run that was begun to its end."""

    def recover(self) -> Iterator[Sequence[tuple[Request, Sender, UnderWay]]]:
        """Bring to its end what an earlier process had begun, a part at a time; the requests whose replies are owed."""

    def attend(self) -> None:
        """See to what operators have asked for meanwhile. Called now and then."""

    def status(self, saga_id: str | int) -> Known | UnderWay | None:
        """What is known of a saga; None: nothing. Raises `NoRecord` where nothing is ever known."""

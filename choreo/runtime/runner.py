"""The common interface of the runners, for the code that takes requests.

Laws: a begun request is settled; its outcome is known then, and not before it may be reported.
"""

from json.encoder import encode_basestring_ascii
from typing import Protocol

from msgspec import Struct

from choreo.protocol.event import Event
from choreo.saga.definition import Saga
from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect
from choreo.saga.request import Request, Sender


class Held(Struct, frozen=True):
    """A run that cannot continue for now, and has not failed: the step, if there is one, and the reason."""

    run: int
    saga_id: str | int
    step: str | None
    reason: str

    @property
    def text(self) -> str:
        """Format a sentence about it, for the log and for repeated requests."""
        return f"{named(self.run, self.saga_id)} is held: {self.reason}"


class RunHandle(Struct, gc=False):
    """Handle of a run that was begun.

    `outcome` is set once it may be reported, and `event` is the event that carried it; `defect` is the reason why there
    will be no outcome for now, and `held` says that the client gets no reply until the run continues.
    """

    outcome: Outcome | None = None
    event: Event | None = None
    defect: Defect | None = None
    held: Held | None = None


class Known(Struct, frozen=True):
    """Status of a saga: its outcome, or None while the run is running or held."""

    outcome: Outcome | None
    held: Held | None = None


class Conflict(ValueError):
    """The saga is recorded, and its content differs from that of this request."""


TEXT_SHOWN_MAX = 160


def named(run: int, saga_id: str | int) -> str:
    """Return the name of a run in a sentence."""
    return f"run-{run} (saga {shown(saga_id)})"


def shown(text: str | int) -> str:
    """Format a text in ASCII and in quotes, or a number; long values are cut."""
    quoted = encode_basestring_ascii(text) if isinstance(text, str) else str(text)
    return quoted if len(quoted) <= TEXT_SHOWN_MAX else f"{quoted[: TEXT_SHOWN_MAX - 3]}..."


class Runner(Protocol):
    """Executes sagas: one at a time in memory, or many side by side with a journal."""

    def begin(self, request: Request, sender: Sender) -> Outcome | RunHandle:
        """Take a request; return its outcome if it is known at once. Raises `PlanTooLarge` and `Conflict`."""

    def add(self, saga: Saga) -> str:
        """Make a saga known by its name, for requests that name it; return the name."""

"""What every runner offers to whoever takes requests.

Laws: a request that was begun is settled; what it came to is known then, and not sooner than it may be told.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from choreo.domain.event import Defect, Event
from choreo.domain.outcome import Outcome
from choreo.domain.request import Request, Sender


class UnderWay(Struct, gc=False):
    """A run that was begun.

    `outcome` is there once it may be told, and `event` is the one that told it; `defect` says why there will be none
    for now.
    """

    outcome: Outcome | None = None
    event: Event | None = None
    defect: Defect | None = None


class Known(Struct, frozen=True):
    """What is known of a saga that was asked for: the outcome that it has come to, or None while it runs."""

    outcome: Outcome | None


class Conflict(ValueError):
    """The saga is recorded, and with other content than this request has."""


class NoRecord(LookupError):
    """This runner remembers no sagas."""


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

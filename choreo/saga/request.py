"""What a client asks for, and who it is.

Laws: values. What the request is, and who made it, are kept apart: the same request may come from two senders.
"""

from msgspec import Struct

from choreo.saga.plan import Itinerary


class Request(Struct, frozen=True, gc=False):
    """A saga to execute; the fields are those of `execute` in docs/reference/node.md."""

    saga_id: str | int
    steps: Itinerary
    fail_step: str | None = None
    fail_compensation: str | None = None
    style: str = "choreography"


class Sender(Struct, frozen=True, gc=False):
    """Where the reply goes: to `src`, about its message `msg_id`; in an envelope from `reply_as`, or bare without."""

    src: str | None = None
    msg_id: int | None = None
    reply_as: str | None = None


NOBODY = Sender()


class Unavailable(Exception):
    """No request can be taken any more. What was promised will be kept by the process that takes over."""

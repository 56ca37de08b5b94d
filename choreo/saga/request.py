"""Requests of clients, and their senders.

Laws: values. Request and sender are separate: two senders may make the same request.
"""

import json
from typing import Any

from msgspec import Struct

from choreo.saga.plan import Itinerary


class Request(Struct, frozen=True, gc=False):
    """A request to execute a saga; the fields are those of `execute` in docs/reference/node.md."""

    saga_id: str | int
    steps: Itinerary
    fail_step: str | None = None
    fail_compensation: str | None = None
    style: str = "choreography"
    saga: str | None = None
    """The name of a saga that the runner was given; then `steps` is empty."""
    input: str | None = None
    """The input of every call, as JSON."""


class Sender(Struct, frozen=True, gc=False):
    """Address of the reply: to `src`, about its message `msg_id`; enveloped from `reply_as`, or bare if it is None."""

    src: str | None = None
    msg_id: int | None = None
    reply_as: str | None = None


NOBODY = Sender()


def input_text(value: Any) -> str:
    """Return the input of a request as JSON text, the same for equal values. Raises `NotSnapshotable`."""
    from choreo.saga.codec import encode  # imported here because it is seldom needed

    text = encode(value, "input")
    return json.dumps(json.loads(text), sort_keys=True) if text.startswith(("{", "[")) else text


class Unavailable(Exception):
    """No further request is accepted. The process that takes over completes every accepted request."""

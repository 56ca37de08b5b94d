"""Violation of an invariant: the one form in which the lab and the check of a trace report it."""

from msgspec import Struct


class Violation(Struct, frozen=True):
    """Violation of an invariant, with an explanation in one sentence, and its place as far as it is known.

    `line` is the number of a line, or of a delivery in a journal. A violation found at rest, such as a missing event,
    has neither a line nor an event.
    """

    code: str
    title: str
    sentence: str
    run: str | None = None
    saga_id: str | int | None = None
    line: int | None = None
    event: str | None = None
    step: str | None = None

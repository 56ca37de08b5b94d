"""Foreign words of a log: the recognition of choreo's events in them."""

import re

from choreo.protocol.event import Command, Fact
from choreo.trace.vocabulary import PUBLISH, REPLY, SAGA, STEP

STEP_FACTS = (
    Fact.SUCCEEDED,
    Fact.FAILED,
    Fact.CANCELLED,
    Fact.COMPENSATED,
    Fact.COMPENSATION_FAILED,
    Command.EXECUTE,
    Command.COMPENSATE,
)
SAGA_FACTS = (Fact.STARTED, Fact.COMPLETED, Fact.COMPENSATED, Fact.STUCK, Fact.CANCELLED)
REPLIES = (Fact.COMPLETED, Fact.COMPENSATED, Fact.STUCK)
TYPE = re.compile(
    rf"(?:.*[./])?(?P<event>step\.(?:{'|'.join(STEP_FACTS)})|saga\.(?:{'|'.join(SAGA_FACTS)}))(?:[./]v\d+)?", re.DOTALL
)


def event_of_type(name: str) -> str | None:
    """Return the event of a type: `com.example.step.succeeded.v1` is `step.succeeded`; None for an unrelated type."""
    found = TYPE.fullmatch(name)
    return None if found is None else found["event"]


class Meaning:
    """The meaning of a foreign word: an event of a step or of the saga, or a reply; `step` if it names one."""

    __slots__ = ("action", "event", "step")

    def __init__(self, words: str) -> None:
        """Parse a meaning. Raises `ValueError`, which says what was expected, for a meaningless text."""
        scope, _, fact = words.strip().rpartition(" ")
        scope = scope.strip()
        fact = fact.removeprefix("step.")
        if not scope and fact.startswith("saga."):
            scope, fact = SAGA, fact.removeprefix("saga.")
        if not scope and fact not in STEP_FACTS and fact in SAGA_FACTS:
            scope = SAGA
        facts = {SAGA: SAGA_FACTS, REPLY: REPLIES}.get(scope, STEP_FACTS)
        if fact not in facts:
            of = f"{scope} " if scope in (SAGA, REPLY) else "STEP " if scope else ""
            raise ValueError(f"expected {of}{' or '.join([', '.join(facts[:-1]), facts[-1]])}")
        self.action = REPLY if scope == REPLY else PUBLISH
        self.event = f"{SAGA if scope in (SAGA, REPLY) else STEP}.{fact}"
        self.step = scope if scope not in ("", SAGA, REPLY) else None

"""The vocabulary of actions and events: choreo's own, and the recognition of foreign words."""

import re

from choreo.protocol.event import SAGA_EVENTS, STEP_EVENTS, Command, Fact

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
SAGA, REPLY = "saga", "reply"
RESUME, RESUMED = "resume", "saga.resumed"
"""An operator's request to resume a stuck run: its name as an action, and as an event."""

EVENTS = frozenset(
    {*SAGA_EVENTS.values(), *STEP_EVENTS.values(), RESUMED, "error", "init.ok"}
    | {f"resource.{action}" for action in ("lock", "read", "release", "write")}
)
"""Every event that choreo itself writes into a trace."""

ACTIONS = frozenset(
    {"publish", "deliver", "execute", "compensate", "reply", "timer", "lock", "read", "write", "release"}
    | {"resume", "drop", "duplicate", "delay", "crash", "restart", "partition", "poison", "unreadable", "dead_letter"}
)
"""Every action that choreo itself writes into a trace."""

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
        self.action = "reply" if scope == REPLY else "publish"
        self.event = f"saga.{fact}" if scope in (SAGA, REPLY) else f"step.{fact}"
        self.step = scope if scope not in ("", SAGA, REPLY) else None

"""Vocabulary of a trace: the actions and the events that choreo writes, each named once.

Laws: pure. Facts, commands and timers belong to the protocol; an event is one of them with its scope, the saga or a
step. docs/reference/trace.md explains each word.
"""

from choreo.protocol.event import SAGA_EVENTS, STEP_EVENTS, Command, Fact, Timer

PUBLISH, DELIVER, TIMER, REPLY = "publish", "deliver", "timer", "reply"
EXECUTE, COMPENSATE = "execute", "compensate"
LOCK, READ, WRITE, RELEASE = "lock", "read", "write", "release"
RESUME = "resume"
INVARIANT = "invariant"
DROP, DUPLICATE, DELAY, PARTITION, POISON = "drop", "duplicate", "delay", "partition", "poison"
CRASH, RESTART, UNREADABLE, DEAD_LETTER = "crash", "restart", "unreadable", "dead_letter"

CALLS = (EXECUTE, COMPENSATE)
"""Calls of a service."""

RESOURCE_ACTIONS = (LOCK, READ, WRITE, RELEASE)
RECEIPTS = (DELIVER, TIMER, REPLY)
"""Actions of a participant, or of the client, that received an event."""

FAULTS = (DROP, DUPLICATE, DELAY, PARTITION, POISON, CRASH, RESTART, UNREADABLE, DEAD_LETTER)
"""Faults of a delivery or of a participant, and what follows from them."""

ACTIONS = frozenset((PUBLISH, *RECEIPTS, *CALLS, *RESOURCE_ACTIONS, RESUME, INVARIANT, *FAULTS))
"""Every action that choreo itself writes into a trace: how an event came about, or what became of it."""

OTHER = "other"
"""Action of a foreign line without a word of choreo's; it may still be the cause of a line that has one."""

SAGA, STEP = "saga", "step"
OPERATOR = "operator"
"""Source of a record about a request of an operator."""

SAGA_STARTED = SAGA_EVENTS[Fact.STARTED]
SAGA_COMPLETED = SAGA_EVENTS[Fact.COMPLETED]
SAGA_COMPENSATED = SAGA_EVENTS[Fact.COMPENSATED]
SAGA_STUCK = SAGA_EVENTS[Fact.STUCK]
SAGA_CANCELLED = SAGA_EVENTS[Fact.CANCELLED]
SAGA_UNREADABLE = SAGA_EVENTS[Fact.UNREADABLE]
SAGA_ASK = SAGA_EVENTS[Timer.ASK]
SAGA_RESUMED = "saga.resumed"
"""An operator resumed a stuck run. No participant publishes it."""

STEP_SUCCEEDED = STEP_EVENTS[Fact.SUCCEEDED]
STEP_FAILED = STEP_EVENTS[Fact.FAILED]
STEP_CANCELLED = STEP_EVENTS[Fact.CANCELLED]
STEP_COMPENSATED = STEP_EVENTS[Fact.COMPENSATED]
STEP_COMPENSATION_FAILED = STEP_EVENTS[Fact.COMPENSATION_FAILED]
STEP_UPDATED = STEP_EVENTS[Fact.UPDATED]
STEP_EXECUTE = STEP_EVENTS[Command.EXECUTE]
STEP_COMPENSATE = STEP_EVENTS[Command.COMPENSATE]
STEP_ATTEMPT = STEP_EVENTS[Timer.ATTEMPT]
STEP_TIMED_OUT = STEP_EVENTS[Timer.TIMED_OUT]

INVARIANT_VIOLATED = "invariant.violated"
"""An invariant of the author's own is false in a state of the laboratory. No participant publishes it."""

OUTCOMES = (SAGA_COMPLETED, SAGA_COMPENSATED, SAGA_STUCK)

EVENT_OF_EFFECT: dict[str, str] = {
    EXECUTE: STEP_EXECUTE,
    COMPENSATE: STEP_COMPENSATE,
    **{action: f"resource.{action}" for action in RESOURCE_ACTIONS},
}
"""By action of a service: the name of the event in its record."""

EVENTS = frozenset(
    (
        *SAGA_EVENTS.values(),
        *STEP_EVENTS.values(),
        *EVENT_OF_EFFECT.values(),
        SAGA_RESUMED,
        INVARIANT_VIOLATED,
        "error",
        "init.ok",
    )
)
"""Every event that choreo itself writes into a trace."""

TIMERS = frozenset(Timer)
COMMANDS = frozenset(Command)


def fact_of(event: str) -> str:
    """Return the fact, command or timer of an event: `succeeded` of `step.succeeded`."""
    return event.rpartition(".")[2]


def event_text(fact: str, step: str | None, scope: str = SAGA) -> str:
    """Describe an event with its publisher: `charge succeeded`, `execute charge`, `saga started`."""
    if step is None:
        return f"{scope} {fact}"
    return f"{fact} {step}" if fact in COMMANDS else f"{step} {fact}"


def fact_text(fact: str, step: str | None) -> str:
    """Describe an event without its publisher: `succeeded`, `execute charge`, `saga started`."""
    return event_text(fact, step) if step is None or fact in COMMANDS else str(fact)

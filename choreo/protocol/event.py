"""What travels on the bus: a topic, and the event of one run that is published under it.

Laws: both are frozen values. An id is derived from run and topic, never drawn, so a replay makes the same ids again.
"""

from enum import StrEnum

from msgspec import Struct

from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect


class Fact(StrEnum):
    """What happened, in the past tense."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"
    COMPLETED = "completed"
    STUCK = "stuck"
    REQUESTED = "requested"
    UNREADABLE = "unreadable"
    UPDATED = "updated"


class Command(StrEnum):
    """What is asked for, in the imperative. Only the orchestrator asks."""

    EXECUTE = "execute"
    COMPENSATE = "compensate"


class Timer(StrEnum):
    """What a participant tells itself to do later; it travels over no network, and is neither lost nor doubled."""

    ATTEMPT = "attempt"
    RETRY = "retry"
    TIMED_OUT = "timed_out"
    ASK = "ask"


SAGA_EVENTS = {word: f"saga.{word}" for word in (*Fact, *Command, *Timer)}
STEP_EVENTS = {word: f"step.{word}" for word in (*Fact, *Command, *Timer)}


class Topic(Struct, frozen=True, gc=False):
    """The address of one fact (or command) of one position, shared by every run of an itinerary.

    `name` is the address on the bus, `source` the participant that publishes there. A topic of the saga itself has
    neither step nor position.
    """

    name: str
    fact: Fact | Command | Timer
    source: str
    step: str | None = None
    position: int = -1
    after_ms: tuple[int, int] = (0, 0)
    """Of a timer: how long it takes in virtual time, at least and at most."""

    @property
    def event(self) -> str:
        """What the trace calls it: `step.succeeded`, `saga.started`."""
        return (SAGA_EVENTS if self.step is None else STEP_EVENTS)[self.fact]


class Run(Struct, frozen=True, gc=False):
    """One execution of a saga.

    `id` is the correlation id; `saga_id` is the caller's name for it, echoed unchanged. `key_prefix` is what the
    idempotency keys of its calls begin with (`choreo/saga/keys.py`). `fail_position` is the position whose local
    transaction is to refuse, `fail_compensation` the name of the steps whose compensation is to keep failing: the two
    mishaps that a caller may ask for.
    """

    id: str
    saga_id: str | int
    key_prefix: str
    fail_position: int | None = None
    fail_compensation: str | None = None


class InDoubt(Struct, frozen=True, gc=False):
    """A step whose answer is unknown, and whose compensation keeps failing: it may be in force.

    `summary` is the exception of the local transaction in one line, `undo` why the compensation failed; `traceback` has
    the tracebacks of both, as far as there are any.
    """

    summary: str
    traceback: str
    undo: str

    @property
    def reason(self) -> str:
        return f"{self.summary}; it may have taken effect, and its compensation failed: {self.undo}"


class Late(Struct, frozen=True, gc=False):
    """Why a step was undone, or could not be, that had been given up before it took effect: nothing followed it."""

    reason: str


class Event(Struct, frozen=True, gc=False):
    """A fact of one run, or a command. `cause` is the topic, in the same run, of the event that brought it about.

    `number` tells events apart that one position publishes under one topic again and again: attempts, updates.
    """

    topic: Topic
    run: Run
    cause: Topic | None = None
    detail: str | Defect | InDoubt | Late | Outcome | None = None
    number: int = 0
    cause_number: int = 0

    @property
    def id(self) -> str:
        return _id(self.run, self.topic, self.number)

    @property
    def causation_id(self) -> str | None:
        return None if self.cause is None else _id(self.run, self.cause, self.cause_number)

    @property
    def reason(self) -> str | None:
        """Why it failed, where it did."""
        detail = self.detail
        if detail is None or isinstance(detail, str):
            return detail
        return detail.summary if isinstance(detail, Defect) else detail.reason


GAVE_UP = (Late, InDoubt)
"""Details of a step that was given up before anything could follow it."""

Events = tuple[Event, ...]


def _id(run: Run, topic: Topic, number: int) -> str:
    return f"{run.id}/{topic.name}#{number}" if number else f"{run.id}/{topic.name}"

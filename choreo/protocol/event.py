"""Topics and events: an event belongs to one run and is published under one topic.

Laws: both are frozen values. An event id is derived from run and topic, never random, so a replay makes the same ids
again.
"""

from enum import StrEnum

from msgspec import Struct

from choreo.saga.data import Data
from choreo.saga.outcome import Outcome
from choreo.saga.raised import Defect


class Fact(StrEnum):
    """Facts, in the past tense."""

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
    """Commands, in the imperative. Only the orchestrator sends them."""

    EXECUTE = "execute"
    COMPENSATE = "compensate"


class Timer(StrEnum):
    """Timers: events that a participant sends to itself. They cross no network, and are neither lost nor duplicated."""

    ATTEMPT = "attempt"
    RETRY = "retry"
    TIMED_OUT = "timed_out"
    ASK = "ask"


SAGA_EVENTS = {word: f"saga.{word}" for word in (*Fact, *Command, *Timer)}
STEP_EVENTS = {word: f"step.{word}" for word in (*Fact, *Command, *Timer)}


class Topic(Struct, frozen=True, gc=False):
    """The address of one fact (or command) of one position, shared by every run of an itinerary.

    `name` is the address on the bus. `source` is the participant that publishes under it. A topic of the saga itself
    has neither step nor position.
    """

    name: str
    fact: Fact | Command | Timer
    source: str
    step: str | None = None
    position: int = -1
    after_ms: tuple[int, int] = (0, 0)
    """For a timer, its delay in virtual time: minimum and maximum, in milliseconds."""

    @property
    def event(self) -> str:
        """The event name in the trace: `step.succeeded`, `saga.started`."""
        return (SAGA_EVENTS if self.step is None else STEP_EVENTS)[self.fact]


class Run(Struct, frozen=True, gc=False):
    """One execution of a saga.

    `id` is the correlation id. `saga_id` is the caller's name for the run, echoed unchanged. `key_prefix` is the common
    prefix of the idempotency keys of its calls (`choreo/saga/keys.py`). A caller may ask for two faults:
    `fail_position` is the position whose local transaction refuses, `fail_compensation` the name of the steps whose
    compensation keeps failing.
    """

    id: str
    saga_id: str | int
    key_prefix: str
    fail_position: int | None = None
    fail_compensation: str | None = None
    input: str | None = None
    """The input of every call, as JSON text."""
    has_result: bool = False
    """True if the outcome is to have the results of the steps."""


class InDoubt(Struct, frozen=True, gc=False):
    """Details of a step whose outcome is unknown and whose compensation keeps failing: it may be in force.

    `summary` is the exception of the local transaction in one line, `undo` the reason why the compensation failed.
    `traceback` has the tracebacks of both, where they exist.
    """

    summary: str
    traceback: str
    undo: str

    @property
    def reason(self) -> str:
        return f"{self.summary}; it may have taken effect, and its compensation failed: {self.undo}"


class LateCompletion(Struct, frozen=True, gc=False):
    """Details of a step that took effect after it had been given up, so that no step followed it.

    The step was compensated, or is stuck; `reason` is the reason why it had been given up.
    """

    reason: str


class Event(Struct, frozen=True, gc=False):
    """A fact of one run, or a command. `cause` is the topic, in the same run, of the event that caused it.

    `number` distinguishes the events that one position publishes repeatedly under one topic: attempts, updates. `data`
    are the results of the steps up to here (`choreo/saga/data.py`).
    """

    topic: Topic
    run: Run
    cause: Topic | None = None
    detail: str | Defect | InDoubt | LateCompletion | Outcome | None = None
    number: int = 0
    cause_number: int = 0
    data: Data = None

    @property
    def id(self) -> str:
        return _id(self.run, self.topic, self.number)

    @property
    def causation_id(self) -> str | None:
        return None if self.cause is None else _id(self.run, self.cause, self.cause_number)

    @property
    def reason(self) -> str | None:
        """The reason of a failure; None for other events."""
        detail = self.detail
        if detail is None or isinstance(detail, str):
            return detail
        return detail.summary if isinstance(detail, Defect) else detail.reason


GAVE_UP = (LateCompletion, InDoubt)
"""Detail types of a step that was given up before any successor began."""

Events = tuple[Event, ...]


def _id(run: Run, topic: Topic, number: int) -> str:
    return f"{run.id}/{topic.name}#{number}" if number else f"{run.id}/{topic.name}"

"""The guarantees under which a saga runs. Each is one mechanism in one place, and can be switched off.

Laws: all are on by default; a laboratory run switches one off to show the anomaly. Each docstring names the module of
the mechanism.
"""

from msgspec import Struct
from msgspec.structs import asdict


class Guarantees(Struct, frozen=True, forbid_unknown_fields=True):
    """Guarantees, each on or off. docs/reference/guarantees.md names the lesson behind each."""

    inbox: bool = True
    """A delivery that was already handled has no second effect (the transitions of `protocol/timed.py`)."""
    outbox: bool = True
    """Every committed event is published, and every published event was committed (`protocol/delivery.py`)."""
    redelivery: bool = True
    """A delivery that was not acknowledged is sent again (`protocol/delivery.py`)."""
    ordering: bool = True
    """Events from one participant to another arrive in the order in which they were sent (`lab/model/channels.py`)."""
    tombstone: bool = True
    """A compensation that comes first forbids the late execution (the transitions of `protocol/timed.py`)."""
    late_success: bool = True
    """A late success is compensated after its time-out; until then the step has not ended (`protocol/timed.py`)."""
    undo_running: bool = True
    """A step that runs when the saga turns back is compensated once it succeeds (`timed.py`, `orchestrator.py`)."""
    honest_compensation: bool = True
    """A failed compensation is retried, and finally reported as failed, not as done (`timed.py`)."""
    point_of_no_return: bool = True
    """No step that may be refused follows the pivot, and the pivot is not compensated (`definition.py`, `timed.py`)."""
    dead_letter: bool = True
    """An event that is unreadable three times becomes a dead letter, and its saga is stuck (`delivery.py`)."""
    idempotent_request: bool = True
    """A repeated request starts no further run (`protocol/idempotent_receiver.py`)."""
    recorded_outcome: bool = True
    """A request that is repeated after the end gets the recorded outcome (`protocol/idempotent_receiver.py`)."""
    hop_limit: bool = True
    """A causal chain of relayed events has a maximum length (`protocol/relay.py`)."""
    semantic_lock: bool = True
    """A resource locked by an unfinished saga is not read or changed by another saga (`lab/model/resources.py`)."""
    lock_order: bool = True
    """All sagas take locks in one global order (`lab/model/resources.py`)."""
    reread: bool = True
    """A second read of a value is refused if the value has changed since the first (`lab/model/resources.py`)."""
    version_check: bool = True
    """A write based on an outdated version is refused (`lab/model/resources.py`)."""

    @property
    def off(self) -> tuple[str, ...]:
        """The names of the guarantees that are switched off."""
        return tuple(name for name, on in asdict(self).items() if not on)


ALL_ON = Guarantees()

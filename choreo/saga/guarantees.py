"""The guarantees under which a saga runs: each is one mechanism in one place, and each can be switched off.

Laws: all are on unless somebody wants to see what happens without one. A guarantee names where its mechanism is.
"""

from msgspec import Struct
from msgspec.structs import asdict


class Guarantees(Struct, frozen=True, forbid_unknown_fields=True):
    """What holds. The lesson behind each is in docs/reference/guarantees.md."""

    inbox: bool = True
    """A delivery that was handled before has no second effect (the transitions of `protocol/timed.py`)."""
    outbox: bool = True
    """What is committed is published, what is published was committed (`protocol/delivery.py`)."""
    redelivery: bool = True
    """A delivery that was not acknowledged is sent again (`protocol/delivery.py`)."""
    ordering: bool = True
    """What one participant sends to another arrives in the order in which it was sent (`lab/model/channels.py`)."""
    tombstone: bool = True
    """An undo that comes first forbids the do that comes late (the transitions of `protocol/timed.py`)."""
    late_success: bool = True
    """What commits after its time-out is compensated, and until then the step has not ended (`protocol/timed.py`)."""
    undo_running: bool = True
    """What still runs when the saga turns back is compensated once it succeeds (`timed.py`, `orchestrator.py`)."""
    honest_compensation: bool = True
    """A compensation that fails is tried again, and in the end reported as failed, not as done (`timed.py`)."""
    point_of_no_return: bool = True
    """Nothing that may be refused follows the pivot, and the pivot is not compensated (`definition.py`, `timed.py`)."""
    dead_letter: bool = True
    """An event that cannot be read is put aside after three attempts, and its saga is stuck (`delivery.py`)."""
    idempotent_request: bool = True
    """A request that is repeated starts nothing new (`protocol/idempotent_receiver.py`)."""
    recorded_outcome: bool = True
    """A request that is repeated after the end gets the recorded outcome (`protocol/idempotent_receiver.py`)."""
    hop_limit: bool = True
    """An event that has caused another so many times in a row causes no more (`protocol/relay.py`)."""
    semantic_lock: bool = True
    """What an unfinished saga has locked, no other saga reads or changes (`lab/model/resources.py`)."""
    lock_order: bool = True
    """Locks are taken in one order by all sagas (`lab/model/resources.py`)."""
    reread: bool = True
    """A value that was read before is refused if it has changed meanwhile (`lab/model/resources.py`)."""
    version_check: bool = True
    """A write on a version that is no longer the current one is refused (`lab/model/resources.py`)."""

    @property
    def off(self) -> tuple[str, ...]:
        """The names of those that are switched off."""
        return tuple(name for name, on in asdict(self).items() if not on)


ALL_ON = Guarantees()

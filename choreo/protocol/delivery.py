"""What a delivery is promised: that it is not lost, and what a crash of its hearer leaves behind.

Laws: tables over guarantees, no more; every runner that is not the plain node asks here. A delivery is one local
transaction, so the crash points are these four and no others.
"""

from collections.abc import Mapping

from msgspec import Struct

from choreo.protocol.dead_letter import ATTEMPTS
from choreo.saga.definition import CrashPoint
from choreo.saga.guarantees import Guarantees


class Remains(Struct, frozen=True):
    """What is left of one delivery after a crash; `is_late`: it is published after the restart."""

    is_committed: bool
    is_published: bool
    is_late: bool = False


NOTHING_LEFT, EVERYTHING = Remains(False, False), Remains(True, True)

AFTER_CRASH: Mapping[bool, Mapping[CrashPoint, Remains]] = {
    True: {
        CrashPoint.BEFORE: NOTHING_LEFT,
        CrashPoint.UNCOMMITTED: NOTHING_LEFT,  # nothing is published that was not committed
        CrashPoint.UNPUBLISHED: Remains(True, True, is_late=True),  # what was committed is read after the restart
        CrashPoint.AFTER: EVERYTHING,
    },
    False: {
        CrashPoint.BEFORE: NOTHING_LEFT,
        CrashPoint.UNCOMMITTED: Remains(False, True),
        CrashPoint.UNPUBLISHED: Remains(True, False),
        CrashPoint.AFTER: EVERYTHING,
    },
}
"""With an outbox, and without."""


def after_crash(guarantees: Guarantees, point: CrashPoint) -> Remains:
    """The guarantee of the outbox: what a crash at that point leaves behind."""
    return AFTER_CRASH[guarantees.outbox][point]


def is_resent(guarantees: Guarantees) -> bool:
    """The guarantee of redelivery: whether what was not acknowledged is sent again."""
    return guarantees.redelivery


def is_put_aside(guarantees: Guarantees, attempts: int) -> bool:
    """The guarantee of dead letters: whether what could not be read so often is not delivered any more."""
    return guarantees.dead_letter and attempts >= ATTEMPTS

"""Delivery guarantees: redelivery, dead letters, and the effect of a crash of the subscriber.

Laws: only tables over guarantees. Every runner except the plain node reads them. A delivery is one local transaction,
so these four crash points are complete.
"""

from collections.abc import Mapping

from msgspec import Struct

from choreo.protocol.dead_letter import ATTEMPTS
from choreo.saga.definition import CrashPoint
from choreo.saga.guarantees import Guarantees


class CrashEffect(Struct, frozen=True):
    """Effect of a crash on one delivery. `is_late`: its events are published after the restart."""

    is_committed: bool
    is_published: bool
    is_late: bool = False


NOTHING_LEFT, EVERYTHING = CrashEffect(False, False), CrashEffect(True, True)

AFTER_CRASH: Mapping[bool, Mapping[CrashPoint, CrashEffect]] = {
    True: {
        CrashPoint.BEFORE: NOTHING_LEFT,
        CrashPoint.UNCOMMITTED: NOTHING_LEFT,  # with an outbox, only committed events are published
        CrashPoint.UNPUBLISHED: CrashEffect(
            True, True, is_late=True
        ),  # committed events are published after the restart
        CrashPoint.AFTER: EVERYTHING,
    },
    False: {
        CrashPoint.BEFORE: NOTHING_LEFT,
        CrashPoint.UNCOMMITTED: CrashEffect(False, True),
        CrashPoint.UNPUBLISHED: CrashEffect(True, False),
        CrashPoint.AFTER: EVERYTHING,
    },
}
"""The effect of a crash at each point: with an outbox (True) and without (False)."""


def after_crash(guarantees: Guarantees, point: CrashPoint) -> CrashEffect:
    """Return the effect of a crash at `point`, under the outbox guarantee."""
    return AFTER_CRASH[guarantees.outbox][point]


def is_resent(guarantees: Guarantees) -> bool:
    """True if a delivery that was not acknowledged is sent again: the redelivery guarantee."""
    return guarantees.redelivery


def is_put_aside(guarantees: Guarantees, attempts: int) -> bool:
    """True if an event that was unreadable `attempts` times is no longer delivered: the dead-letter guarantee."""
    return guarantees.dead_letter and attempts >= ATTEMPTS

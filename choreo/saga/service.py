"""What an author writes: a local transaction and what undoes it.

Laws: a service knows no saga, no style, no bus and no clock. A business "no" is raised as `Refused`; any other
exception is a defect of the service and is reported as one.
"""

from collections.abc import Callable
from typing import Any, Protocol

from choreo.saga.raised import expect_no_ctrl_c


class Refused(Exception):
    """A business no: sold out, declined. The step fails, and the saga goes backward."""


class NotTheService(Exception):
    """Raised by a runner through a participant: neither a refusal nor a defect, and none of the saga's business."""


class Waits(NotTheService):
    """Not now: what it needs is locked by another run. The delivery is handled again when it is free."""


class Service(Protocol):
    """A local transaction with its compensation.

    `reference` is an idempotency key: the same for every attempt of this call, also after a crash, and different for
    everything else, in any run, journal and process. Hand it on to whatever is done outside. The key of a compensation
    is that of its local transaction with `.undo` behind it, so both can be told apart where both are sent to one place
    (`choreo/saga/keys.py`). What `execute` returns, the receipt, is kept with the run and handed to `compensate`, so
    a service need not remember the runs that it served.
    """

    def execute(self, reference: str) -> object:
        """Run the local transaction, or raise `Refused` and change nothing."""

    def compensate(self, reference: str, receipt: Any) -> None:
        """Undo what `execute` did, whose key was `reference.removesuffix(".undo")`.

        It must be safe to repeat: an exception, `Refused` like any other, counts as a failed attempt, and the
        participant tries again at once, three times in all. Then the saga is stuck.
        """


ServiceOf = Callable[[str], Service]
"""Finds the service of a step by the step's name; every name has one."""

NO_NAME = "\0 nobody is called so"
"""A step name that no service claims."""


def stand_in_of(service_of: ServiceOf) -> Service | None:
    """Return the service that takes the steps that no other service claims; None where there is none."""
    try:
        return service_of(NO_NAME)
    except BaseException as error:  # whatever somebody else's catalogue raises
        expect_no_ctrl_c(error)
        return None

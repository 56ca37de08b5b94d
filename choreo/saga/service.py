"""The service interface: a local transaction with its compensation.

Laws: a service knows no saga, no style, no bus and no clock. It raises a business "no" as `Refused`; any other
exception is a defect of the service and is reported as one.
"""

from collections.abc import Callable
from typing import Any, Protocol

from choreo.saga.raised import expect_no_ctrl_c


class Refused(Exception):
    """A business refusal, such as sold out or declined. The step fails, and the saga goes backward."""


def told_to_refuse(step: str) -> str:
    """Return the reason of a step that a request, or a definition, lets refuse."""
    return f"{step} was told to refuse"


class ControlFlow(Exception):
    """Control flow that a runner raises through a participant: neither a refusal nor a defect of the service."""


class ResourceLocked(ControlFlow):
    """The call needs a resource that another run has locked. The delivery is handled again after the release."""


class NotSnapshotable(ControlFlow, ValueError):
    """A service or a result holds a value that cannot be copied or kept: a lock, an open file, a connection."""


class Service(Protocol):
    """A local transaction with its compensation.

    Three forms are served: an object with `execute(call)` and `compensate(call)`, which take a `Call`; one with
    `execute(reference)` and `compensate(reference, receipt)`, as below; and a class whose methods are steps (`@step`).

    `reference` is the idempotency key. It is the same for every attempt of this call, also after a crash, and different
    for every other call, in any run, journal and process. Pass it on to every external call. The key of a compensation
    is that of its local transaction with `.undo` at the end, so a system that receives both can distinguish them
    (`choreo/saga/keys.py`). The return value of `execute`, the result, is kept with the run as JSON and handed to the
    steps that follow and, as `receipt`, to `compensate`, so a service need not remember the runs that it served.
    """

    def execute(self, reference: Any) -> object:
        """Run the local transaction, or raise `Refused` and change no state."""

    def compensate(self, reference: Any, receipt: Any) -> None:
        """Compensate the `execute` call whose key was `reference.removesuffix(".undo")`.

        It must be idempotent, and safe for a call that never took effect. An exception, `Refused` included, counts as a
        failed attempt, and the participant tries again at once, three times in all. Then the saga is stuck.
        """


class CallService(Protocol):
    """A local transaction with its compensation; both take a `Call`."""

    def execute(self, call: Any) -> object:
        """Run the local transaction, or raise `Refused` and change no state. The return value is the step's result."""

    def compensate(self, call: Any) -> None:
        """Compensate the call, whose result is `call.result`; None where that is unknown. It must be idempotent."""


AnyService = Service | CallService
ServiceOf = Callable[[str], Any]
"""A catalogue: returns the service of a step name; every name has one."""

NO_NAME = "\0 nobody is called so"
"""A step name that no service claims."""


def stand_in_of(service_of: ServiceOf) -> Service | None:
    """Return the stand-in: the service of all step names that no other service claims; None if there is none."""
    try:
        service: Service | None = service_of(NO_NAME)
        return service
    except BaseException as error:  # the catalogue comes from outside, and may raise any exception
        expect_no_ctrl_c(error)
        return None

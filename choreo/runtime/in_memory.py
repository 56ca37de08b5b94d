"""The in-process runner: first in, first out, in memory.

Laws: one run at a time, in constant stack: threads take turns, and a service that executes a saga on the runner that
called it is refused. The data of a run is dropped when it ends; cached wirings are bounded.
"""

from collections.abc import Callable, Mapping
from threading import RLock

from msgspec import Struct
from msgspec.structs import replace

from choreo.compile import STYLES, Style
from choreo.compile.cache import Wirings, compiled, saga_of
from choreo.compile.table import STARTED, Table
from choreo.protocol.event import Event, Run
from choreo.runtime.base import BaseRunner
from choreo.runtime.bus import Bus
from choreo.runtime.entry import FROM_A_SERVICE, Reentered
from choreo.runtime.origins import Origin
from choreo.saga.calls.calling import checked
from choreo.saga.keys import key_prefix
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from choreo.saga.raised import shown
from choreo.saga.request import NOBODY, Request, Sender
from choreo.saga.service import ServiceOf


class NoOutcome(RuntimeError):
    """No delivery is left, and the run has no outcome: a participant failed to react."""


class Wiring(Struct, frozen=True, eq=False):
    """A saga in one style, compiled and wired to its bus."""

    table: Table
    bus: Bus


class InProcessRunner(BaseRunner):
    """Executes sagas over an in-process bus.

    `observe` is called with every event in the order of publication, just before it is emitted. `styles` are the styles
    by name; a caller wraps one to watch or disturb the bus. `origin` is the prefix of all idempotency keys, for tests
    that need the same keys again; by default it is drawn, so that no other runner has it.
    """

    def __init__(
        self,
        service_of: ServiceOf,
        styles: Mapping[str, Style] = STYLES,
        observe: Callable[[Event], None] | None = None,
        origin: str | None = None,
    ) -> None:
        """Make a runner. Raises `ValueError` for an origin that is unfit for keys."""
        super().__init__(RLock())
        self._origin = Origin(origin)
        self._service_of = checked(service_of)
        self._styles = styles
        self._observe = observe
        self._pending: list[Event] = []
        self._wirings = Wirings(self._wire)
        self._runs = 0

    def begin(self, request: Request, sender: Sender = NOBODY) -> Outcome:
        """Run a saga to its end, at once.

        For the one thread that takes the requests of a node: a lock would cost three hundredths of a saga's time.
        """
        pending = self._pending
        if pending:
            raise Reentered(FROM_A_SERVICE)
        saga = request.saga
        wiring = self._wirings.of(request.style, request.steps if saga is None else saga)
        table, fail_step = wiring.table, request.fail_step
        fail_position = None if fail_step is None else table.plan.position_of(fail_step)
        self._runs += 1
        number = str(self._runs)
        keys = key_prefix(self._origin.text, number)
        run = Run("run-" + number, request.saga_id, keys, fail_position, request.fail_compensation)
        if saga is not None or request.input is not None:
            run = replace(run, input=request.input, has_result=True)
        cells = list(table.cells)
        pending.append(Event(STARTED, run))
        try:
            wiring.bus.drain(pending, cells, self._observe)
        finally:
            pending.clear()
        outcome: Outcome | None = cells[-1].receipt  # the client is the last subscriber
        if outcome is None:
            raise NoOutcome(f"{run.id} of saga {shown(run.saga_id)} came to rest without an outcome")
        return outcome

    def _run(self, request: Request) -> Outcome:
        return self.begin(request)

    def _wire(self, style: str, steps: Itinerary | str) -> Wiring:
        table = compiled(self._styles, style, saga_of(steps, self._sagas), self._service_of)
        return Wiring(table, Bus(table, self._pending.extend))

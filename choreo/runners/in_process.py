"""The in-process runner: first in, first out, in memory.

Laws: one run at a time, in constant stack; what belongs to a run goes when it ends, and wirings are kept within a bound.
"""

from msgspec import Struct

from choreo.bus import Bus
from choreo.domain.event import Event, Run
from choreo.domain.outcome import Outcome
from choreo.domain.plan import Itinerary, plan
from choreo.domain.service import ServiceOf
from choreo.styles.choreography import choreography
from choreo.styles.orchestration import orchestration
from choreo.styles.table import STARTED, Style, Table

STYLES: dict[str, Style] = {"choreography": choreography, "orchestration": orchestration}

WIRED_STEPS_MAX = 20_000


class Wiring(Struct):
    table: Table
    bus: Bus


class InProcessRunner:
    def __init__(self, service_of: ServiceOf) -> None:
        self._service_of = service_of
        self._pending: list[Event] = []
        self._wirings: dict[tuple[str, Itinerary], Wiring] = {}
        self._runs = 0

    def execute(
        self,
        saga_id: str | int,
        steps: Itinerary,
        fail_step: str | None = None,
        fail_compensation: str | None = None,
        style: str = "choreography",
    ) -> Outcome:
        wiring = self._wirings.get((style, steps))
        if wiring is None:
            wiring = self._wire(style, steps)
        table = wiring.table
        self._runs += 1
        run = Run(f"run-{self._runs}", saga_id, None if fail_step is None else table.plan.position_of(fail_step), fail_compensation)
        cells = list(table.cells)
        pending = self._pending
        pending.append(Event(STARTED, run))
        try:
            wiring.bus.drain(pending, cells)
        finally:
            pending.clear()
        return cells[-1].receipt

    def _wire(self, style, steps):
        table = STYLES[style](plan(steps), self._service_of)
        w = self._wirings[style, steps] = Wiring(table, Bus(table, self._pending.extend))
        return w

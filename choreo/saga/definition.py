"""A saga's definition: its steps, the runs to start, the guarantees that hold, and what may go wrong.

Laws: plain frozen values, the same whether read from TOML or built in Python. What makes sense together is checked by
`check`, and every complaint names the key, what was expected and what came.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.plan import Plan, plan_of_graph


class Kind(StrEnum):
    """What becomes of a step when the saga goes backward."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


class FaultKind(StrEnum):
    """What may happen to a delivery, or to the one who hears it."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    CRASH = "crash"
    PARTITION = "partition"
    POISON = "poison"


class CrashPoint(StrEnum):
    """Where in the handling of a delivery its hearer crashes."""

    BEFORE = "before"
    """Before the local transaction."""
    UNPUBLISHED = "unpublished"
    """Between commit and publish: committed, not yet published."""
    UNCOMMITTED = "uncommitted"
    """Between publish and commit, where somebody publishes first: published, and never committed."""
    AFTER = "after"
    """After both, before the delivery is acknowledged."""


Fails = Literal["never", "always", "may"] | int
"""An integer N: the first N attempts fail."""

Value = int | str
Milliseconds = int | tuple[int, int]
"""So many, or from so many to so many."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One local transaction with its compensation; docs/reference/definition.md explains each field."""

    name: str
    service: str | None = None
    kind: Kind = Kind.COMPENSATABLE
    after: tuple[str, ...] | None = None
    effect: dict[str, int] = {}
    reads: tuple[str, ...] = ()
    writes: dict[str, Value] = {}
    locks: tuple[str, ...] = ()
    fails: Fails = "never"
    compensation_fails: Fails = "never"
    attempts: int = 3
    timeout_ms: int | None = None
    latency_ms: Milliseconds | None = None
    may_raise: bool = False


class Resource(Struct, frozen=True, forbid_unknown_fields=True):
    """What steps change: an amount that may have a minimum, or any value that is written over.

    `on_lock` says what becomes of a step that needs it while another run has locked it: refused, or it waits.
    """

    initial: Value = 0
    minimum: int | None = None
    on_lock: Literal["refuse", "wait"] = "refuse"


class RunOf(Struct, frozen=True, forbid_unknown_fields=True):
    """One run to start. `steps`: only these of the definition; `ask_again_ms`: when the client loses patience."""

    saga_id: str
    start_ms: int = 0
    steps: tuple[str, ...] | None = None
    ask_again_ms: int | None = None


class Wiring(Struct, frozen=True, forbid_unknown_fields=True):
    """Bugs of the wiring.

    `deaf`: (step, topic) that it does not hear; `relays`: (step, topic that it hears, topic that it then publishes).
    """

    deaf: tuple[tuple[str, str], ...] = ()
    relays: tuple[tuple[str, str, str], ...] = ()


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """What may go wrong: in one history at most `budget` faults of these kinds.

    `hearers`: only deliveries to these participants; `crash_points`: only crashes at these points.
    """

    kinds: tuple[FaultKind, ...] = ()
    budget: int = 1
    hearers: tuple[str, ...] | None = None
    crash_points: tuple[CrashPoint, ...] = tuple(CrashPoint)


class SagaName(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class Definition(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole. In TOML the steps are `[[step]]` and the runs `[[run]]`."""

    saga: SagaName
    steps: tuple[Step, ...] = field(default=(), name="step")
    resources: dict[str, Resource] = {}
    runs: tuple[RunOf, ...] = field(default=(), name="run")
    guarantees: Guarantees = ALL_ON
    wiring: Wiring = Wiring()
    faults: Faults = Faults()

    @property
    def name(self) -> str:
        return self.saga.name

    def all_runs(self) -> tuple[RunOf, ...]:
        """The runs to start; one named after the saga, where none is given."""
        return self.runs or (RunOf(self.saga.name),)

    def steps_of(self, run: RunOf) -> tuple[Step, ...]:
        """The steps that a run takes, each after those of its predecessors that the run takes as well."""
        names = [step.name for step in self.steps] if run.steps is None else list(run.steps)
        by_name = {step.name: step for step in self.with_after()}
        taken = [by_name[name] for name in names]
        if run.steps is None:
            return tuple(taken)
        originals, known = {step.name: step for step in self.steps}, frozenset(names)
        previous: tuple[str, ...] = ()
        steps = []
        for step in taken:  # of a run's own list each step follows the one before it, unless `after` says otherwise
            after_of = originals[step.name].after
            after = previous if after_of is None else tuple(a for a in after_of if a in known)
            steps.append(replace(step, after=after))
            previous = (step.name,)
        return tuple(steps)

    def with_after(self) -> tuple[Step, ...]:
        """The steps with their predecessors filled in: by default the step before in the file."""
        return tuple(_with_after(self.steps))

    def plan_of(self, run: RunOf) -> Plan:
        return plan_of_steps(self.steps_of(run))


def plan_of_steps(steps: tuple[Step, ...]) -> Plan:
    """The plan of steps whose predecessors are filled in. Raises `ValueError` for a cycle."""
    position = {step.name: index for index, step in enumerate(steps)}
    return plan_of_graph(
        tuple(step.name for step in steps), [[position[name] for name in step.after or ()] for step in steps]
    )


def _with_after(steps: tuple[Step, ...]) -> Iterator[Step]:
    previous: tuple[str, ...] = ()
    for step in steps:
        yield step if step.after is not None else replace(step, after=previous)
        previous = (step.name,)

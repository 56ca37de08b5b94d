"""A saga as a value: its steps with their policies, the guarantees, the runs to start, and the faults.

Laws: plain frozen values, the same whether read from TOML, built in Python or made from step names. `check` tests their
consistency; each error names the key, the expected value and the actual one.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, StructMeta, field
from msgspec.structs import replace

from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.plan import Itinerary, Plan, plan, plan_of_graph


class Kind(StrEnum):
    """Kinds of steps, by their role in backward recovery."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


class FaultKind(StrEnum):
    """Kinds of faults, of a delivery or of its subscriber."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    CRASH = "crash"
    PARTITION = "partition"
    POISON = "poison"


class CrashPoint(StrEnum):
    """Points in the handling of a delivery at which its subscriber crashes."""

    BEFORE = "before"
    """Before the local transaction."""
    UNPUBLISHED = "unpublished"
    """Between commit and publish, with commit first: committed, not yet published."""
    UNCOMMITTED = "uncommitted"
    """Between publish and commit, with publish first: published, never committed."""
    AFTER = "after"
    """After commit and publish, before the delivery is acknowledged."""


Fails = Literal["never", "always", "may"] | int
"""An integer N: the first N attempts fail."""

Value = int | str
Milliseconds = int | tuple[int, int]
"""A fixed duration, or a minimum and a maximum; in milliseconds."""


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
    """A resource that steps change: an amount with an optional minimum, or a value that is overwritten.

    `on_lock` decides about a step that needs the resource while another run has locked it: it is refused, or it waits.
    """

    initial: Value = 0
    minimum: int | None = None
    on_lock: Literal["refuse", "wait"] = "refuse"


class RunOf(Struct, frozen=True, forbid_unknown_fields=True):
    """One run to start.

    `steps`: a subset of the definition's steps. `ask_again_ms`: when the client retries the request, in milliseconds.
    `input`: the input of every call.
    """

    saga_id: str
    start_ms: int = 0
    steps: tuple[str, ...] | None = None
    ask_again_ms: int | None = None
    input: Any = None


class Wiring(Struct, frozen=True, forbid_unknown_fields=True):
    """Bugs of the wiring.

    `deaf`: (step, topic) of a missing subscription. `relays`: (step, subscribed topic, topic published in reaction).
    """

    deaf: tuple[tuple[str, str], ...] = ()
    relays: tuple[tuple[str, str, str], ...] = ()


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of the laboratory: at most `budget` faults of these kinds in one history.

    `subscribers`: only deliveries to these participants. `crash_points`: only crashes at these points.
    """

    kinds: tuple[FaultKind, ...] = ()
    budget: int = 1
    subscribers: tuple[str, ...] | None = field(default=None, name="hearers")
    crash_points: tuple[CrashPoint, ...] = tuple(CrashPoint)


class SagaType(StructMeta):
    """Metaclass of `Saga`: the constructor takes the table of steps as positional arguments."""

    def __call__(cls, name: str, *table: Any, **fields: Any) -> Any:  # noqa: N805  # a metaclass: its instances are classes
        if table:
            from choreo.saga.table import steps_of_table  # a saga read from a file needs no table

            if "steps" in fields:
                raise TypeError("Saga: expected a table of steps, or steps=, got both")
            fields["steps"] = steps_of_table(table)
        return super().__call__(name=name, **fields)


class Saga(Struct, frozen=True, kw_only=True, metaclass=SagaType):
    """A saga: its steps with kinds and policies, the guarantees, and what the laboratory adds.

    Built in Python as a table, `Saga("order", Orders.place, parallel(Payments.charge, Stock.reserve))`, with `steps=`,
    a tuple of `Step`, read from TOML (`from_toml`), or made from step names (`of`). docs/reference/definition.md
    explains each field; `resources`, `runs`, `wiring` and `faults` are for the laboratory.
    """

    name: str
    steps: tuple[Step, ...] = ()
    resources: dict[str, Resource] = {}
    runs: tuple[RunOf, ...] = ()
    guarantees: Guarantees = ALL_ON
    wiring: Wiring = Wiring()
    faults: Faults = Faults()
    itinerary: Itinerary | None = None
    """The step names of a saga made by `of`, whose steps have the default policy; None for every other saga."""

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            *table: Any,
            steps: tuple[Step, ...] = (),
            resources: Mapping[str, Resource] = ...,
            runs: tuple[RunOf, ...] = (),
            guarantees: Guarantees = ALL_ON,
            wiring: Wiring = ...,
            faults: Faults = ...,
            itinerary: Itinerary | None = None,
        ) -> None: ...

    @classmethod
    def of(cls, itinerary: Itinerary, name: str = "saga") -> "Saga":
        """Return the saga of a list of step names; a nested tuple is a group that runs in parallel."""
        return cls(name=name, itinerary=itinerary)

    @classmethod
    def from_toml(cls, path: str) -> "Saga":
        """Read a saga from a TOML file. Raises `WrongDefinition`, which names the key, the expected and the actual."""
        from choreo.saga.file import read_toml  # the reader of files is seldom needed

        return read_toml(path)

    @property
    def plan(self) -> Plan:
        """The predecessors and successors of every step; computed at each call."""
        return plan_of_steps(self.with_after()) if self.itinerary is None else plan(self.itinerary)

    def all_runs(self) -> tuple[RunOf, ...]:
        """Return the runs to start; by default one, named after the saga."""
        return self.runs or (RunOf(self.name),)

    def of_run(self, run: RunOf) -> "Saga":
        """Return the saga with the steps of that run only, each with its predecessors among them."""
        return replace(self, steps=self.steps_of(run))

    def steps_of(self, run: RunOf) -> tuple[Step, ...]:
        """Return the steps of a run, each with its predecessors among the steps of that run."""
        names = [step.name for step in self.steps] if run.steps is None else list(run.steps)
        by_name = {step.name: step for step in self.with_after()}
        taken = [by_name[name] for name in names]
        if run.steps is None:
            return tuple(taken)
        originals, known = {step.name: step for step in self.steps}, frozenset(names)
        previous: tuple[str, ...] = ()
        steps = []
        for step in taken:  # in a run's own list, each step follows the previous one, unless `after` says otherwise
            after_of = originals[step.name].after
            after = previous if after_of is None else tuple(a for a in after_of if a in known)
            steps.append(replace(step, after=after))
            previous = (step.name,)
        return tuple(steps)

    def with_after(self) -> tuple[Step, ...]:
        """Return the steps with their predecessors filled in; the default is the previous step in the file."""
        return tuple(_with_after(self.steps))

    def plan_of(self, run: RunOf) -> Plan:
        """Return the plan of a run."""
        return plan_of_steps(self.steps_of(run))


def plan_of_steps(steps: tuple[Step, ...]) -> Plan:
    """Return the plan of steps whose predecessors are filled in. Raises `ValueError` for a cycle."""
    position = {step.name: index for index, step in enumerate(steps)}
    return plan_of_graph(
        tuple(step.name for step in steps), [[position[name] for name in step.after or ()] for step in steps]
    )


def _with_after(steps: tuple[Step, ...]) -> Iterator[Step]:
    previous: tuple[str, ...] = ()
    for step in steps:
        yield step if step.after is not None else replace(step, after=previous)
        previous = (step.name,)

"""Model of the runs that a trace is checked against: the plan, the kinds of the steps, the minima of resources.

Laws: plain values; none of them is derived from the trace under test.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from choreo.protocol.relay import HOPS_MAX
from choreo.saga.definition import Kind, RunOf, Saga
from choreo.saga.plan import Plan

EVENTS_OF_A_STEP, EVENTS_OF_A_SAGA = 8, 8


class RunModel(Struct, frozen=True):
    """Model of one run. `ancestors` are, for each position, all positions that it depends on."""

    saga_id: str | int
    steps: tuple[str, ...]
    ancestors: Sequence[Collection[int]]
    kinds: tuple[Kind, ...]
    events_max: int
    attempts: tuple[int, ...] = ()
    """The maximum number of attempts of each step, used for retriable ones; empty if it is not known."""
    twin: str | None = None
    """The other run of the same request: the one that this run repeats, or that repeats this run."""


class Known(Struct, frozen=True):
    """Models of all runs by id, and the minimum of each resource that has one.

    The flags state which records the trace contains: deliveries, effects of services, replies to clients, causes.
    Records that it never contains are not required.
    """

    runs: Mapping[str, RunModel]
    minima: Mapping[str, int] = {}
    has_deliveries: bool = True
    has_effects: bool = True
    has_replies: bool = True
    has_causes: bool = True


def known_of(definition: Saga) -> Known:
    """Return the model of a definition's runs, which are named `run-1`, `run-2`, … and `run-1-again`."""
    runs = {}
    for number, spec in enumerate(definition.all_runs(), start=1):
        run = runs[f"run-{number}"] = known_run_of(definition, spec)
        if spec.ask_again_ms is not None:
            runs[f"run-{number}"] = replace(run, twin=f"run-{number}-again")
            runs[f"run-{number}-again"] = replace(run, twin=f"run-{number}")
    return Known(runs, minima_of(definition))


def known_run_of(definition: Saga, spec: RunOf) -> RunModel:
    """Return the model of one run of a definition."""
    plan, steps = definition.plan_of(spec), definition.steps_of(spec)
    attempts = sum(step.attempts for step in steps)
    relayed = sum(relay[0] in plan.steps for relay in definition.wiring.relays) * 2**HOPS_MAX
    return RunModel(
        spec.saga_id,
        plan.steps,
        ancestors_of(plan),
        tuple(step.kind for step in steps),
        events_max_of(len(steps)) + 2 * attempts + relayed,
        tuple(step.attempts for step in steps),
    )


def minima_of(definition: Saga) -> dict[str, int]:
    """Return the minimum of each resource that has one."""
    return {name: resource.minimum for name, resource in definition.resources.items() if resource.minimum is not None}


def events_max_of(steps: int) -> int:
    """Return the maximum number of events of a run with so many steps: facts, commands, and the saga's own events."""
    return EVENTS_OF_A_STEP * steps + EVENTS_OF_A_SAGA


def ancestors_of(plan: Plan) -> tuple[Collection[int], ...]:
    """Return the set of ancestors of each position."""
    if plan.is_levelled:
        first_of = dict(zip(reversed(plan.depths), reversed(range(len(plan.depths))), strict=True))
        return tuple(range(first_of[depth]) for depth in plan.depths)
    ancestors: list[frozenset[int]] = [frozenset()] * len(plan.steps)
    for position in sorted(range(len(plan.steps)), key=plan.depths.__getitem__):
        before = plan.predecessors[position]
        ancestors[position] = frozenset(before).union(*(ancestors[p] for p in before))
    return tuple(ancestors)

"""Consistency check of a definition: known names, numbers within bounds, and an order in which the steps can run.

Laws: the schema checks the types; this module takes a well-typed definition and runs no step. It reports the first
inconsistency: the key, the expected value and the actual one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from choreo.saga.definition import Fails, Kind, Milliseconds, Resource, RunOf, Saga, Step
from choreo.saga.file.errors import WrongDefinition, key_in, one_of, quoted, suggestion, told
from choreo.saga.plan import DEPENDENCIES_MAX, Plan
from choreo.saga.roles import CLIENT, COORDINATOR, IDEMPOTENT_RECEIVER, ORCHESTRATOR

STEPS_MAX, RUNS_MAX, ATTEMPTS_MAX, BUDGET_MAX = 1_000, 100, 100, 100
NUMBER_MAX = 10**12
"""Upper bound of amounts and times: about thirty years in milliseconds."""

COLLECTORS = (COORDINATOR, ORCHESTRATOR, CLIENT)
"""Subscribers other than the steps."""

WHY_MAX = 300


def check(definition: Saga) -> None:
    """Raise `WrongDefinition` for the first inconsistency."""
    for complaint in _complaints(definition):
        raise WrongDefinition(complaint)


def _complaints(definition: Saga) -> Iterator[str]:
    """Yield the inconsistencies. Use the first only: each check relies on those before it."""
    steps = [step.name for step in definition.steps]
    yield from _of_steps(definition.steps, steps)
    yield from _of_resources(definition)
    yield from _of_runs(definition.runs, steps)
    yield from _of_wiring(definition, steps)
    yield from _of_faults(definition, steps)
    yield from _of_graphs(definition)


# Steps


def _of_steps(steps: Sequence[Step], names: Sequence[str]) -> Iterator[str]:
    if not steps:
        yield "step: expected at least one [[step]], got none"
    yield from _too_many("step", "steps", len(steps), STEPS_MAX)
    yield from _repeated(("step", ".name"), names)
    known = frozenset(names)
    for index, step in enumerate(steps):
        where = f"step[{index}]"
        yield from _of_numbers(where, step)
        yield from _unknown(f"{where}.after", step.after or (), known, names, "a step")
        yield from _repeated((f"{where}.after", ""), step.after or ())


def _of_numbers(where: str, step: Step) -> Iterator[str]:
    yield from _outside(f"{where}.attempts", step.attempts, 1, ATTEMPTS_MAX)
    if step.timeout_ms is not None:
        yield from _outside(f"{where}.timeout_ms", step.timeout_ms, 1)
        if step.kind is not Kind.COMPENSATABLE:
            why = "a late success could not be undone"
            yield f"{where}.timeout_ms: expected none on a step that is {step.kind}, got {step.timeout_ms}: {why}"
    yield from _of_latency(f"{where}.latency_ms", step.latency_ms)
    yield from _of_fails(f"{where}.fails", step.fails)
    yield from _of_fails(f"{where}.compensation_fails", step.compensation_fails)
    for name, delta in step.effect.items():
        yield from _outside(key_in(f"{where}.effect", name), delta, -NUMBER_MAX)
    for name, value in step.writes.items():
        yield from _outside(key_in(f"{where}.writes", name), value, -NUMBER_MAX)


def _of_latency(where: str, latency: Milliseconds | None) -> Iterator[str]:
    if latency is None or isinstance(latency, int):
        yield from _outside(where, latency, 0)
        return
    for index, bound in enumerate(latency):
        yield from _outside(f"{where}[{index}]", bound, 0)
    least, most = latency
    if least > most:
        yield f"{where}: expected the least first, got [{least}, {most}]"


def _of_fails(where: str, fails: Fails) -> Iterator[str]:
    yield from _outside(where, fails, 0)


# Resources


def _of_resources(definition: Saga) -> Iterator[str]:
    resources = definition.resources
    for name, resource in resources.items():
        yield from _of_resource(key_in("resources", name), resource)
    for index, step in enumerate(definition.steps):
        where = f"step[{index}]"
        for key, used in (("effect", step.effect), ("writes", step.writes)):
            for name in used:
                yield from _unknown_resource(key_in(f"{where}.{key}", name), name, resources)
        for key, listed in (("reads", step.reads), ("locks", step.locks)):
            for place, name in enumerate(listed):
                yield from _unknown_resource(f"{where}.{key}[{place}]", name, resources)
            yield from _repeated((f"{where}.{key}", ""), listed)
    yield from _of_effects(definition)


def _of_resource(where: str, resource: Resource) -> Iterator[str]:
    initial, minimum = resource.initial, resource.minimum
    yield from _outside(f"{where}.initial", initial, -NUMBER_MAX)
    yield from _outside(f"{where}.minimum", minimum, -NUMBER_MAX)
    if minimum is None:
        return
    if isinstance(initial, str):
        yield f"{where}.minimum: expected none, because the initial value is a string, got {minimum}"
    elif initial < minimum:
        yield f"{where}.initial: expected at least the minimum, {minimum}, got {initial}"


def _unknown_resource(where: str, name: str, resources: Mapping[str, Resource]) -> Iterator[str]:
    if name not in resources:
        known = _known(resources) if resources else "but there is no [resources]"
        yield f"{where}: expected a resource ({known}), got {quoted(name)}{suggestion(name, resources)}"


def _of_effects(definition: Saga) -> Iterator[str]:
    """Require a numeric initial value, and numeric writes, of each resource that an effect adds to."""
    resources = definition.resources
    added_to = {name for step in definition.steps for name in step.effect}
    for index, step in enumerate(definition.steps):
        for name in step.effect:
            if name in resources and isinstance(initial := resources[name].initial, str):
                where = key_in(f"step[{index}].effect", name)
                yield f"{where}: expected a resource whose initial value is a number, got {quoted(initial)}"
        for name, value in step.writes.items():
            if name in added_to and isinstance(value, str):
                where = key_in(f"step[{index}].writes", name)
                yield f"{where}: expected a number, because it is in an effect too, got {quoted(value)}"


# Runs, wiring, faults


def _of_runs(runs: Sequence[RunOf], steps: Sequence[str]) -> Iterator[str]:
    yield from _too_many("run", "runs", len(runs), RUNS_MAX)
    yield from _repeated(("run", ".saga_id"), [run.saga_id for run in runs])
    known = frozenset(steps)
    for index, run in enumerate(runs):
        where = f"run[{index}]"
        yield from _outside(f"{where}.start_ms", run.start_ms, 0)
        yield from _outside(f"{where}.ask_again_ms", run.ask_again_ms, 1)
        if run.steps is not None:
            if not run.steps:
                yield f"{where}.steps: expected at least one step, got an empty array"
            yield from _unknown(f"{where}.steps", run.steps, known, steps, "a step")
            yield from _repeated((f"{where}.steps", ""), run.steps)


def _of_wiring(definition: Saga, steps: Sequence[str]) -> Iterator[str]:
    subscribers = (*steps, *COLLECTORS)
    for key, rows, known in (
        ("deaf", definition.wiring.deaf, subscribers),
        ("relays", definition.wiring.relays, steps),
    ):
        for index, (name, *_) in enumerate(rows):
            if name not in known:
                yield f"wiring.{key}[{index}][0]: {_expected_one('a step', name, known)}"


def _of_faults(definition: Saga, steps: Sequence[str]) -> Iterator[str]:
    yield from _outside("faults.budget", definition.faults.budget, 0, BUDGET_MAX)
    subscribers = (*steps, *COLLECTORS, IDEMPOTENT_RECEIVER)
    yield from _unknown(
        "faults.hearers", definition.faults.subscribers or (), frozenset(subscribers), subscribers, "a participant"
    )


# The order of the steps, and their kinds


def _of_graphs(definition: Saga) -> Iterator[str]:
    """Check the graph of steps of each run: two runs may be of different sagas."""
    distinct = {run.steps: (index, run) for index, run in reversed([*enumerate(definition.all_runs())])}
    for steps, (index, run) in distinct.items():
        where = "step" if steps is None else f"run[{index}].steps"
        yield from _of_graph(definition, run, where)


def _of_graph(definition: Saga, run: RunOf, where: str) -> Iterator[str]:
    dependencies = sum(len(step.after or ()) for step in definition.steps_of(run))
    if dependencies > DEPENDENCIES_MAX:
        yield f"{where}: expected at most {DEPENDENCIES_MAX} predecessors of all steps together, got {dependencies}"
        return
    try:
        plan = definition.plan_of(run)
    except ValueError as error:
        yield f"{where}: {error}"[:WHY_MAX]
        return
    yield from _of_kinds(definition, plan)


def _of_kinds(definition: Saga, plan: Plan) -> Iterator[str]:
    """Require compensatable steps, then at most one pivot, then retriable ones, on every path."""
    by_name = {step.name: (index, step.kind) for index, step in enumerate(definition.steps)}
    kinds = [by_name[name][1] for name in plan.steps]
    pivots, retriables = _before(plan, kinds, Kind.PIVOT), _before(plan, kinds, Kind.RETRIABLE)
    for position, name in enumerate(plan.steps):
        where, kind, pivot = f"step[{by_name[name][0]}].kind", kinds[position], pivots[position]
        if kind is Kind.COMPENSATABLE and pivot is not None and definition.guarantees.point_of_no_return:
            yield (
                f'{where}: expected "retriable" after the pivot {quoted(plan.steps[pivot])}, got "compensatable" for '
                f"{quoted(name)}; with guarantees.point_of_no_return = false you see what goes wrong"
            )
        if kind is Kind.PIVOT and pivot is not None:
            first = quoted(plan.steps[pivot])
            yield f"{where}: expected one pivot on each path, got {quoted(name)} after the pivot {first}"
        if kind is Kind.PIVOT and (early := retriables[position]) is not None:
            step = plan.steps[early]
            yield (
                f'step[{by_name[step][0]}].kind: expected "compensatable" before the pivot {quoted(name)}, '
                f'got "retriable" for {quoted(step)}'
            )


def _before(plan: Plan, kinds: Sequence[Kind], kind: Kind) -> list[int | None]:
    """Return an ancestor of that kind for each position, or None."""
    found: list[int | None] = [None] * len(plan.steps)
    for position in sorted(range(len(found)), key=plan.depths.__getitem__):
        for before in plan.predecessors[position]:
            nearest = before if kinds[before] is kind else found[before]
            found[position] = nearest if found[position] is None else found[position]
    return found


# In common


def _outside(where: str, value: object, least: int, most: int = NUMBER_MAX) -> Iterator[str]:
    """Yield a complaint about a number out of bounds; other values are not checked here."""
    if isinstance(value, int) and not least <= value <= most:
        bound = f"at most {most}" if value > most else f"at least {least}"
        yield f"{where}: expected {bound}, got {told(value)}"


def _too_many(where: str, what: str, count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f"{where}: expected at most {most} {what}, got {count}"


def _repeated(where: tuple[str, str], names: Iterable[str]) -> Iterator[str]:
    before, behind = where
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            yield f"{before}[{index}]{behind}: expected each name once, got {quoted(name)} as in {before}[{seen[name]}]"
        seen.setdefault(name, index)


def _unknown(
    where: str, names: Iterable[str], known: Collection[str], among: Sequence[str], what: str
) -> Iterator[str]:
    for index, name in enumerate(names):
        if name not in known:
            yield f"{where}[{index}]: {_expected_one(what, name, among)}"


def _expected_one(what: str, name: str, among: Collection[str]) -> str:
    return f"expected {what} ({_known(among)}), got {quoted(name)}{suggestion(name, among)}"


def _known(names: Iterable[str]) -> str:
    return one_of([quoted(name) for name in names])

"""Definition in place of steps: its first run, for the in-process runner.

Laws: that runner has neither a clock, faults nor free choices. A key that it cannot obey is wrong use; the
error points to `choreo simulate`.
"""

import json
from collections.abc import Mapping, Sequence

from choreo.analysis.naming import enumerated
from choreo.compile.obeyed import NotObeyed, expect_obeyed
from choreo.lab.options import with_services
from choreo.recorder import Scenario
from choreo.render.names import shown
from choreo.saga.definition import Fails, Kind, Saga, Step
from choreo.saga.file import WrongDefinition, read_definition
from choreo.saga.file.errors import quoted
from choreo.saga.file.reading import is_definition
from choreo.saga.raised import in_a_line
from choreo.saga.usage import UsageError
from choreo.terminal.options.arguments import SIMULATED, one_of, read_saga

DEFINITION = "DEFINITION"


def open_definition(source: str) -> Saga:
    """Open the definition that the command line names. Raises `UsageError`."""
    try:
        return read_definition(source)
    except WrongDefinition as error:
        raise UsageError(DEFINITION, str(error)) from None


def read_steps(
    words: list[str],
    fail: Sequence[str],
    fail_compensation: Sequence[str],
    services: str | None = None,
    given: str | None = None,
) -> Scenario:
    """Build the saga of these steps; a single word in the form of a definition names one. Raises `UsageError`.

    Where `services` are given, a step of a definition that names no service has the one of its own name.
    """
    if len(words) != 1 or not is_definition(words[0]):
        return _with_input(read_saga(words, fail, fail_compensation), given)
    try:
        definition = read_definition(words[0])
    except WrongDefinition as error:
        raise UsageError(DEFINITION, f"{error}; a step of that name is written {json.dumps(words)}") from None
    return _with_input(_saga(with_services(definition, services), fail, fail_compensation), given)


def _with_input(scenario: Scenario, given: str | None) -> Scenario:
    """Return the scenario with the input of `--input`, a JSON value. Raises `UsageError`."""
    if given is None:
        return scenario
    try:
        return scenario._replace(input=json.loads(given))
    except (ValueError, RecursionError) as error:
        example = """expected a JSON value, such as '{"total": 60}'"""
        raise UsageError("--input", f"{example}, got {quoted(given)} ({in_a_line(error)})") from None


def _saga(definition: Saga, fail: Sequence[str], fail_compensation: Sequence[str]) -> Scenario:
    """Return the first run of a definition. Raises `UsageError` for what a run in memory cannot obey."""
    run = definition.all_runs()[0]
    saga = definition.of_run(run)
    try:
        expect_obeyed(saga)
    except NotObeyed as error:
        raise UsageError(DEFINITION, f"{error}; choreo simulate obeys it") from None
    steps, plan = {step.name: step for step in saga.steps}, saga.plan
    levels = dict(zip(plan.steps, plan.depths, strict=True))
    fail_step = one_of(plan.steps, fail, "--fail")
    if fail_step is None:
        fail_step = _first_failing(steps, levels)
    stubborn = one_of(plan.steps, fail_compensation, "--fail-compensation")
    if fail_step is not None:
        stubborn = stubborn if stubborn is not None else _first_stubborn(steps, levels, fail_step)
    service_names = {name: step.service or SIMULATED for name, step in steps.items()}
    return Scenario(saga, plan, fail_step, stubborn, service_names, run.input)


def _first_failing(steps: Mapping[str, Step], levels: Mapping[str, int]) -> str | None:
    """Return the step at which the saga turns back; a single one, since the runner lets only one fail."""
    failing = [name for name, step in steps.items() if _always(step.fails, _tries(step))]
    level = min((levels[name] for name in failing), default=0)
    return _single([name for name in failing if levels[name] == level], "that always fails")


def _first_stubborn(steps: Mapping[str, Step], levels: Mapping[str, int], fail_step: str) -> str | None:
    """Return the step at which compensation stops."""
    begun = [name for name in steps if levels[name] <= levels[fail_step] and name != fail_step]
    stubborn = [name for name in begun if _always(steps[name].compensation_fails, steps[name].attempts)]
    level = max((levels[name] for name in stubborn), default=0)
    return _single([name for name in stubborn if levels[name] == level], "whose compensation always fails")


def _single(names: Sequence[str], which: str) -> str | None:
    if len(names) > 1:
        got = enumerated([shown(name) for name in names])
        raise UsageError(DEFINITION, f"expected one step in parallel {which}, got {got}; choreo simulate takes several")
    return names[0] if names else None


def _tries(step: Step) -> int:
    return step.attempts if step.kind is Kind.RETRIABLE else 1


def _always(fails: Fails, tries: int) -> bool:
    return fails == "always" or (isinstance(fails, int) and fails >= tries)

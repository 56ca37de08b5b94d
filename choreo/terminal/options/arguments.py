"""Conversion of command-line arguments to a saga.

Laws: wrong use is detected here, before any run; an error names the expected and the received value.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from choreo.analysis.naming import enumerated
from choreo.analysis.service_state import record_of
from choreo.api import NoServices, open_services
from choreo.recorder import Scenario
from choreo.render.served import Served, Simulated
from choreo.saga.calls.calling import UnfitService
from choreo.saga.calls.lookup import UnknownService, known_services, serves_every_name
from choreo.saga.calls.modules import SERVICES
from choreo.saga.definition import Saga
from choreo.saga.file.errors import NAMED_MAX, quoted, suggestion
from choreo.saga.plan import PlanTooLarge
from choreo.saga.raised import in_a_line
from choreo.saga.service import Service, ServiceOf, stand_in_of
from choreo.saga.usage import UsageError

SIMULATED = "simulated"


class Failure(Exception):
    """Raised when the arguments are right, but the machine fails: the command cannot be executed now."""


def read_saga(steps: Sequence[str], fail: Sequence[str], fail_compensation: Sequence[str]) -> Scenario:
    """Build the saga that the arguments describe. Raises `UsageError`."""
    itinerary = tuple(read_group(word, f"STEP {number}") for number, word in enumerate(steps, start=1))
    saga = Saga.of(itinerary)
    try:
        compiled = saga.plan
    except PlanTooLarge as error:
        raise UsageError("STEP", str(error).removeprefix("steps: ")) from None
    return Scenario(
        saga,
        compiled,
        one_of(compiled.steps, fail, "--fail"),
        one_of(compiled.steps, fail_compensation, "--fail-compensation"),
    )


def read_group(word: str, where: str) -> str | tuple[str, ...]:
    """Parse a step, or a group written as `a+b` or as a JSON array. Raises `UsageError`."""
    if word.startswith("["):
        return _read_array(word, where)
    if "+" not in word:
        return word
    names = tuple(word.split("+"))
    if not all(names):
        escape = json.dumps([word])
        raise UsageError(
            where, f"expected names on both sides of each +, got {quoted(word)}; a name with + is {escape}"
        )
    return names


def one_of(steps: Sequence[str], names: Sequence[str], where: str) -> str | None:
    """Return the step that an option names, or None. Raises `UsageError` for several or unknown steps."""
    if len(names) > 1:
        raise UsageError(where, f"expected at most one step, got {len(names)}")
    for name in names:
        if name not in steps:
            known = enumerated([quoted(step) for step in steps], NAMED_MAX)
            why = f"expected a step of this saga ({known}), got {quoted(name)}{suggestion(name, steps)}"
            raise UsageError(where, why)
    return names[0] if names else None


def open_separately(
    module: str | None, steps: Sequence[str], count: int, service_names: Mapping[str, str] = MappingProxyType({})
) -> list[Served]:
    """Open `count` separate sets of services from the module, each serving every step. Raises `UsageError`."""
    sets = [_open(module, steps, service_names) for _ in range(count)]
    for step in steps if count > 1 else ():
        if sets[0](step) is sets[1](step) and record_of(sets[0](step)):
            why = f"expected fresh services from each catalogue(), got the same one for {quoted(step)} twice"
            raise UsageError("--services", why)
    return sets


def _open(module: str | None, steps: Sequence[str], service_names: Mapping[str, str]) -> Served:
    try:
        service_of = open_services(SERVICES if module is None else module)
    except NoServices as error:
        raise UsageError("--services", str(error).removeprefix("services: ")) from None
    services = _services(service_of, steps, service_names, module)
    stand_in = stand_in_of(service_of)
    is_general = serves_every_name(service_of, services.values())
    simulated = [step for step in steps if step not in services or (services[step] is stand_in and not is_general)]
    fallback = Simulated() if stand_in is None else stand_in
    return Served({step: services.get(step, fallback) for step in steps}, tuple(dict.fromkeys(simulated)))


def _services(
    service_of: ServiceOf, steps: Sequence[str], service_names: Mapping[str, str], module: str | None
) -> dict[str, Service]:
    """Return the service of each step, except steps that a definition simulates. Raises `UsageError`."""
    named = {step: service_names[step] for step in steps if service_names.get(step, SIMULATED) != SIMULATED}
    services = {step: _service(service_of, step, module) for step in steps if step not in service_names}
    try:
        known = known_services(service_of, dict.fromkeys(named.values()))
    except (UnknownService, UnfitService) as error:
        raise UsageError("--services", f"{error}{in_module(module)}") from None
    return services | {step: known[name] for step, name in named.items()}


def in_module(module: str | None) -> str:
    """Name the module in which a service was looked up, and the option that selects another."""
    more = "; --services names another" if module is None else ""
    return f" (in module {SERVICES if module is None else module!r}{more})"


def _service(service_of: ServiceOf, step: str, module: str | None) -> Service:
    """Return the service of a step, or its stand-in."""
    try:
        service: Service = service_of(step)
        return service
    except (UnfitService, UnknownService) as error:
        raise UsageError("--services", f"{error}{in_module(module)}") from None
    except Exception as error:  # a user's module may raise any exception
        expected = f"expected a service with execute() and compensate() for {quoted(step)}"
        raise UsageError("--services", f"{expected}, got {in_a_line(error)}") from None


def _read_array(word: str, where: str) -> tuple[str, ...]:
    example = 'expected a JSON array of step names, such as ["a", "b"]'
    try:
        names = json.loads(word)
    except (ValueError, RecursionError) as error:
        raise UsageError(where, f"{example}, got {quoted(word)} ({error})") from None
    for name in names:
        if not isinstance(name, str):
            raise UsageError(where, f"{example}, got {quoted(json.dumps(name))} among them")
    return tuple(names)

"""From the words of the command line to a saga.

Laws: wrong use is told apart here, before anything is run; what is wrong is said with what was expected and what came.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from choreo.composition import NoServices, open_services
from choreo.definitions.wrong import NAMED_MAX, quoted, suggestion
from choreo.domain.plan import Itinerary, Plan, PlanTooLarge, plan
from choreo.domain.service import Service, ServiceOf
from choreo.terminal.names import enumerated
from choreo.terminal.records import record_of


class WrongUse(Exception):
    """The command line asks for something that cannot be done; `where` names the argument."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


class Failure(Exception):
    """What was asked for is right, and cannot be done now: the machine fails."""


class Saga(NamedTuple):
    """What is to be run, and which mishaps are to happen."""

    itinerary: Itinerary
    plan: Plan
    fail_step: str | None = None
    fail_compensation: str | None = None
    service_names: Mapping[str, str] = MappingProxyType({})
    """Of a step that has a service under another name than its own."""


def read_saga(steps: Sequence[str], fail: Sequence[str], fail_compensation: Sequence[str]) -> Saga:
    """The saga that the arguments describe. Raises `WrongUse`."""
    itinerary = tuple(read_group(word, f"STEP {number}") for number, word in enumerate(steps, start=1))
    try:
        compiled = plan(itinerary)
    except PlanTooLarge as error:
        raise WrongUse("STEP", str(error).removeprefix("steps: ")) from None
    return Saga(
        itinerary,
        compiled,
        one_of(compiled.steps, fail, "--fail"),
        one_of(compiled.steps, fail_compensation, "--fail-compensation"),
    )


def read_group(word: str, where: str) -> str | tuple[str, ...]:
    """A step, or the group of `a+b` or of a JSON array. Raises `WrongUse`."""
    if word.startswith("["):
        return _read_array(word, where)
    if "+" not in word:
        return word
    names = tuple(word.split("+"))
    if not all(names):
        escape = json.dumps([word])
        raise WrongUse(where, f"expected names on both sides of each +, got {quoted(word)}; a name with + is {escape}")
    return names


def one_of(steps: Sequence[str], names: Sequence[str], where: str) -> str | None:
    """The step that an option names, if it does. Raises `WrongUse` for several, and for one that is unknown."""
    if len(names) > 1:
        raise WrongUse(where, f"expected at most one step, got {len(names)}")
    for name in names:
        if name not in steps:
            known = enumerated([quoted(step) for step in steps], NAMED_MAX)
            why = f"expected a step of this saga ({known}), got {quoted(name)}{suggestion(name, steps)}"
            raise WrongUse(where, why)
    return names[0] if names else None


def open_separately(
    module: str, steps: Sequence[str], count: int, service_names: Mapping[str, str] = MappingProxyType({})
) -> list[ServiceOf]:
    """So many separate sets of services from the module, each with a service for every step. Raises `WrongUse`."""
    sets = [_open(module, steps, service_names) for _ in range(count)]
    for step in steps if count > 1 else ():
        if sets[0][step] is sets[1][step] and record_of(sets[0][step]):
            why = f"expected fresh services from each catalogue(), got the same one for {quoted(step)} twice"
            raise WrongUse("--services", why)
    return [services.__getitem__ for services in sets]


def _open(module: str, steps: Sequence[str], service_names: Mapping[str, str]) -> dict[str, Service]:
    try:
        service_of = open_services(module)
    except NoServices as error:
        raise WrongUse("--services", str(error).removeprefix("services: ")) from None
    return {step: _service(service_of, service_names.get(step, step)) for step in steps}


def _service(service_of: ServiceOf, step: str) -> Service:
    expected = f"expected a service with execute() and compensate() for {quoted(step)}"
    try:
        service = service_of(step)
    except Exception as error:  # whatever somebody else's module raises
        raise WrongUse("--services", f"{expected}, got {type(error).__name__}: {error}") from None
    if not callable(getattr(service, "execute", None)) or not callable(getattr(service, "compensate", None)):
        raise WrongUse("--services", f"{expected}, got {service!r}")
    return service


def _read_array(word: str, where: str) -> tuple[str, ...]:
    example = 'expected a JSON array of step names, such as ["a", "b"]'
    try:
        names = json.loads(word)
    except (ValueError, RecursionError) as error:
        raise WrongUse(where, f"{example}, got {quoted(word)} ({error})") from None
    for name in names:
        if not isinstance(name, str):
            raise WrongUse(where, f"{example}, got {quoted(json.dumps(name))} among them")
    return tuple(names)

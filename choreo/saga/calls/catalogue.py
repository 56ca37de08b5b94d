"""Catalogues: the services of a program, found by the names of the steps that they serve.

Laws: pure. Two services for one step are refused when the catalogue is made; a step without a service is refused at the
lookup, with the nearest name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from choreo.saga.calls.calling import fit
from choreo.saga.calls.lookup import NAME_MAX, UnknownService
from choreo.saga.calls.steps import StepService, step_methods_of
from choreo.saga.raised import shown
from choreo.saga.service import ServiceOf
from choreo.saga.spelling import suggestion


class DuplicateService(ValueError):
    """Two services serve one step."""


class Catalogue:
    """Lookup of a service by step name. `names` are the steps that it serves."""

    def __init__(self, by_step: Mapping[str, Any]) -> None:
        self._by_step = by_step

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_step)

    def __call__(self, step: str) -> Any:
        try:
            return self._by_step[step]
        except KeyError:
            known = suggestion(step, self._by_step) or _list_of(self._by_step)
            raise UnknownService(f"no service serves step {step[:NAME_MAX]!r}{known}") from None


def catalogue_of(services: Any) -> ServiceOf:
    """Return the lookup of services: of objects with steps, of services by step name, or a lookup as it is.

    Raises `TypeError` for an object that serves no step, and `DuplicateService`.
    """
    if isinstance(services, Mapping | list | tuple) and not services:
        raise TypeError("services: expected at least one, got none")
    if isinstance(services, Mapping):
        return Catalogue({step: _of_name(step, service) for step, service in services.items()})
    if isinstance(services, type):
        raise TypeError(
            f"services: expected an object, got the class {services.__name__}; make one: {services.__name__}()"
        )
    if callable(services) and not step_methods_of(services):
        lookup: ServiceOf = services
        return lookup
    objects = services if isinstance(services, Iterable) and not isinstance(services, str) else (services,)
    by_step: dict[str, Any] = {}
    for each in objects:
        for step, service in services_of(each).items():
            if step in by_step:
                raise DuplicateService(
                    f"step {step!r}: expected one service, got {_name(by_step[step])} and {_name(service)}"
                )
            by_step[step] = service
    return Catalogue(by_step)


def services_of(owner: Any) -> dict[str, Any]:
    """Return the service of each step that an object serves: by `@step`, or by `steps = ("charge",)` on its class.

    Raises `TypeError` for an object that serves none.
    """
    methods = step_methods_of(owner)
    if methods:
        names = [method.name for method in methods]
        for name in names:
            if names.count(name) > 1:
                raise DuplicateService(f"step {name!r}: expected one method, got several of {_name(owner)}")
        return {method.name: fit(method.of(owner), method.name) for method in methods}
    steps = getattr(owner, "steps", None)
    if steps is None:
        raise TypeError(
            f"services: expected objects with steps, by @step or steps = (...), got {shown(owner)}; "
            'a service without is given by step name: {"charge": Payments()}'
        )
    if not isinstance(steps, tuple) or not all(isinstance(step, str) for step in steps):
        raise TypeError(f"{_name(owner)}.steps: expected a tuple of step names, got {shown(steps)}")
    return {step: fit(owner, step) for step in steps}


def _of_name(step: str, service: Any) -> Any:
    """Return the service given for a step name; of an object with steps, the one of that name."""
    methods = {method.name: method for method in step_methods_of(service)}
    if not methods:
        return fit(service, step)
    if step not in methods:
        raise TypeError(f"services: expected a step {step!r} of {_name(service)}, which has {', '.join(methods)}")
    return fit(methods[step].of(service), step)


def _name(service: Any) -> str:
    kind = type(service.owner if isinstance(service, StepService) else service)
    return f"{kind.__module__}.{kind.__qualname__}"


def _list_of(names: Iterable[str]) -> str:
    listed = list(names)
    return f"; these are served: {', '.join(map(repr, listed[:8]))}" if listed else ""

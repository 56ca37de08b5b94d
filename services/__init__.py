"""Catalogue of the services, found by the names of the steps that they serve.

Laws: it imports only the public names of choreo and `choreo.saga`. A service is one file in this folder, with a class
that has `steps`, `execute` and `compensate`; a new file needs no registration. Any other step gets the simulated
service.
"""

from collections.abc import Iterator
from importlib import import_module
from os import listdir
from typing import Protocol

from choreo.saga.calls.calling import fit
from choreo.saga.service import Service, ServiceOf
from services.simulated import Simulated

__all__ = ["catalogue"]


class NamedService(Service, Protocol):
    """A service that declares its steps."""

    steps: tuple[str, ...]


def catalogue() -> ServiceOf:
    """Create every service with its defaults; return the lookup of a service by step name, or by its own name.

    Raises `TypeError` if `steps` is not a tuple or a method is missing, and `ValueError` if two services claim one
    step.
    """
    simulated = Simulated()
    by_step: dict[str, Service] = {}
    by_name: dict[str, Service] = {}
    for kind in _kinds():
        service = kind()
        fit(service, kind.__name__.lower())
        for step in service.steps:
            if step in by_step:
                raise ValueError(f"{step!r}: expected one service, got {_name(type(by_step[step]))} and {_name(kind)}")
            by_step[step] = service
        by_name[kind.__name__.lower()] = service

    def service_of(step: str) -> Service:
        return by_step.get(step) or by_name.get(step, simulated)

    return service_of


def _kinds() -> Iterator[type[NamedService]]:
    """Yield every class of this folder that has steps, in the order of the file names."""
    for name in _modules():
        module = import_module(f"{__name__}.{name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and getattr(kind, "steps", None):
                yield _checked(kind)


def _modules() -> list[str]:
    """Return the names that pkgutil would list; importing pkgutil takes longer than importing every service."""
    names = [file.removesuffix(".py") for file in listdir(__path__[0]) if file.endswith(".py")]
    return sorted(name for name in names if name.isidentifier() and name not in ("__init__", "sagas"))


def _checked(kind: type[NamedService]) -> type[NamedService]:
    if not isinstance(kind.steps, tuple):
        raise TypeError(f"{_name(kind)}.steps: expected a tuple of step names, got {kind.steps!r}")
    for method in ("execute", "compensate"):
        if not callable(getattr(kind, method, None)):
            raise TypeError(f"{_name(kind)}: expected a method {method}, got none")
    return kind


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

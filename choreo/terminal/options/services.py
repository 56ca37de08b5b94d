"""Services that a command calls: those of `--services`, or the built-in ones.

Laws: where services are given, every step is looked up in them, by `service` or by its own name; where none are, a step
without `service` is simulated. An unknown service is wrong use, reported with the nearest name, before any run.
"""

from typing import Annotated

import typer

from choreo.api import NoServices, open_services
from choreo.compile import STYLES
from choreo.lab.model.simulated import is_simulated
from choreo.lab.model.world import World
from choreo.saga.calls.calling import UnfitService
from choreo.saga.calls.lookup import UnknownService, known_services
from choreo.saga.calls.modules import SERVICES
from choreo.saga.definition import Saga
from choreo.saga.service import NotSnapshotable, ServiceOf
from choreo.saga.usage import UsageError
from choreo.terminal.options.arguments import in_module

Services = Annotated[
    str | None,
    typer.Option(
        "--services",
        metavar="MODULE",
        help=f"Module whose catalogue() makes the services (default: {SERVICES}).",
    ),
]
OPTION = "--services"


def open_given(module: str | None) -> ServiceOf:
    """Open new services of the module, or the built-in ones. Raises `UsageError`."""
    try:
        return open_services(SERVICES if module is None else module)
    except NoServices as error:
        raise UsageError(OPTION, str(error).removeprefix("services: ")) from None


def check_names(definition: Saga, module: str | None) -> None:
    """Check that the module has the services that the definition names. Raises `UsageError`."""
    service_of = open_given(module)
    try:
        names = (step.service for step in definition.steps if step.service is not None and not is_simulated(step))
        known_services(service_of, dict.fromkeys(names))
    except (UnknownService, UnfitService) as error:
        raise UsageError(OPTION, f"{error}{in_module(module)}") from None


def check_services(definition: Saga, module: str | None) -> None:
    """Check the same, and that the services can be copied, as the laboratory requires. Raises `UsageError`."""
    service_of = open_given(module)
    try:
        World(definition, next(iter(STYLES)), service_of)
    except (UnknownService, UnfitService, NotSnapshotable) as error:
        raise UsageError(OPTION, f"{error}{in_module(module)}") from None

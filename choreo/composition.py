"""The composition root: the one place where services, styles and a runner meet.

Laws: knows the services by the name of a module only, so that choreo itself depends on nobody's services.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from choreo.domain.event import Event
from choreo.domain.service import ServiceOf
from choreo.runners.in_process import InProcessRunner
from choreo.styles import STYLES, Style

if TYPE_CHECKING:
    from choreo.trace.writer import Tracer

SERVICES = "services"


class NoServices(Exception):
    """The module named is not one that offers services."""


def open_services(module: str = SERVICES) -> ServiceOf:
    """Fresh services from the module's `catalogue()`. Raises `NoServices`."""
    try:
        catalogue = importlib.import_module(module).catalogue
    except ModuleNotFoundError as error:
        raise NoServices(
            f"services: expected the name of a module that can be imported, got {module!r} ({error})"
        ) from error
    except AttributeError:
        raise NoServices(f"services: expected a module with a function catalogue(), got {module!r}") from None
    service_of: ServiceOf = catalogue()
    return service_of


def compose(service_of: ServiceOf, tracer: "Tracer | None" = None, debug: bool = False) -> InProcessRunner:
    """A runner over these services. The tracer sees what is published; with `debug` also deliveries and calls."""
    if tracer is None:
        return InProcessRunner(service_of)
    if not debug:
        return InProcessRunner(service_of, observe=tracer.published)
    from choreo.styles.watched import watched
    from choreo.trace.writer import traced

    styles = {name: watched(style, tracer.delivered) for name, style in STYLES.items()}
    return InProcessRunner(traced(service_of, tracer), styles, tracer.published)


def compose_rewritten(
    service_of: ServiceOf, rewrite: Callable[[Style], Style], observe: Callable[[Event], None] | None = None
) -> InProcessRunner:
    """A runner over these services, its styles rewritten first: with somebody looking on, or with somebody down."""
    return InProcessRunner(service_of, {name: rewrite(style) for name, style in STYLES.items()}, observe)

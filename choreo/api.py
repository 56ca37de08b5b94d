"""The composition root: the only place where services, styles and a runner are combined.

Laws: it knows services only by the name of a module, so that choreo depends on no particular services.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from choreo.compile import STYLES, Style
from choreo.protocol.event import Event
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.calls.calling import ByCall, checked, takes_nothing
from choreo.saga.calls.catalogue import DuplicateService, catalogue_of
from choreo.saga.calls.modules import SERVICES, import_named
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import ServiceOf
from choreo.saga.spelling import module_suggestion

if TYPE_CHECKING:
    from choreo.runtime.durable.runner import DurableRunner
    from choreo.storage.sqlite.journal import Journal
    from choreo.trace.writer import Tracer


class NoServices(Exception):
    """The named module offers no services."""


def open_services(module: str = SERVICES) -> ServiceOf:
    """Create services by the module's `catalogue()`; the current directory is searched too. Raises `NoServices`."""
    try:
        catalogue = getattr(import_named(module), "catalogue", None)
    except BaseException as error:  # the module comes from outside, and may raise any exception, `sys.exit` included
        expect_no_ctrl_c(error)
        raise NoServices(
            f"services: expected a module that can be imported, got {module!r} ({in_a_line(error)})"
            f"{module_suggestion(module)}"
        ) from error
    if not callable(catalogue):
        raise NoServices(f"services: expected a module with a function catalogue(), got {module!r}")
    try:
        service_of = catalogue()
    except BaseException as error:
        expect_no_ctrl_c(error)
        raise NoServices(f"services: {module}.catalogue() failed ({in_a_line(error)})") from error
    try:
        return checked(_sheltered(catalogue_of(service_of)))
    except (TypeError, DuplicateService) as error:
        raise NoServices(
            f"services: expected {module}.catalogue() to return objects with steps, services by step name, or a "
            f"function from step name to service, got {_kind(service_of)} ({error})"
        ) from error


def services_from(services: Any) -> ServiceOf:
    """Return the lookup of the services that a program gives.

    None or the name of a module: its `catalogue()`. A function without parameters makes them. Otherwise an object with
    steps, a list of such objects, services by step name, or a function from step name to service. Raises `NoServices`.
    """
    if services is None or isinstance(services, str):
        return open_services(SERVICES if services is None else services)
    try:
        made = services() if callable(services) and takes_nothing(services) else services
        return checked(catalogue_of(made))
    except (TypeError, DuplicateService) as error:
        raise NoServices(str(error)) from error


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _sheltered(service_of: ServiceOf) -> ServiceOf:
    """Return the same catalogue; no exception that it raises ends the process."""

    def sheltered(step: str) -> Any:
        try:
            return service_of(step)
        except Exception:
            raise
        except BaseException as error:
            expect_no_ctrl_c(error)
            raise RuntimeError(f"services: expected the service of a step, got {in_a_line(error)}") from error

    return sheltered


def compose(service_of: ServiceOf, tracer: "Tracer | None" = None, debug: bool = False) -> InProcessRunner:
    """Return a runner over these services. The tracer sees published events; with `debug` also deliveries and calls."""
    around, styles, observe = _watched(tracer, debug)
    return InProcessRunner(around(service_of), styles, observe)


def compose_durable(
    services: str | None,
    journal: "Journal",
    tracer: "Tracer | None" = None,
    debug: bool = False,
    notice: Callable[[str], None] = lambda text: None,
) -> "DurableRunner":
    """Return a durable runner with a journal, over the services of that module, by default the journal's own module.

    `notice` receives a line for the user about a run that is held. The caller must hold the journal's lock. Raises
    `NoServices`, and `JournalError`, also if the services differ from those that the journal knows.
    """
    from choreo.runtime.durable.runner import DurableRunner
    from choreo.storage.calls import Calls

    before = journal.catalogue()
    module = (before or SERVICES) if services is None else services
    service_of = open_services(module)

    around, styles, observe = _watched(tracer, debug)
    resumed = None if tracer is None else tracer.resumed
    runner = DurableRunner(
        service_of,
        journal,
        _now_ms,
        styles,
        observe,
        around=around,
        resumed=resumed,
        calls=Calls.open(journal.path),
        notice=notice,
        are_same_services=module == before,
    )
    if module != before:
        journal.keep_catalogue(module)
    return runner


def compose_rewritten(
    service_of: ServiceOf,
    rewrite: Callable[[Style], Style],
    observe: Callable[[Event], None] | None = None,
    origin: str | None = None,
) -> InProcessRunner:
    """Return a runner over these services with rewritten styles: observed ones, or ones with a participant down."""
    return InProcessRunner(service_of, _rewritten(rewrite), observe, origin)


Around = Callable[[ServiceOf], ServiceOf]


def _watched(
    tracer: "Tracer | None", debug: bool
) -> tuple[Around, Mapping[str, Style], Callable[[Event], None] | None]:
    """Return the wrapper of the services, the styles and the observer of events that the tracer needs."""
    if tracer is None or not debug:
        around = _by_call if tracer is not None and tracer.shows_data else _as_they_are
        return around, STYLES, None if tracer is None else tracer.published
    from choreo.compile.watched import watched
    from choreo.trace.writer import traced

    delivered = tracer.delivered
    styles = _rewritten(lambda style: watched(style, delivered))
    return lambda service_of: traced(service_of, tracer), styles, tracer.published


def _as_they_are(service_of: ServiceOf) -> ServiceOf:
    return service_of


def _by_call(service_of: ServiceOf) -> ServiceOf:
    """Return the same services, each taking a call, so that results travel with the events and can be shown."""
    return lambda step: ByCall(service_of(step))


def _rewritten(rewrite: Callable[[Style], Style]) -> Mapping[str, Style]:
    return {name: rewrite(style) for name, style in STYLES.items()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

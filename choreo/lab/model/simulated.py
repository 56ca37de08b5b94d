"""Steps of a definition with a service of the author, and simulated ones without.

Laws: pure, apart from the lookup of the services.
"""

from choreo.saga.calls.calling import fit
from choreo.saga.calls.lookup import known_services
from choreo.saga.definition import Saga, Step
from choreo.saga.service import Service, ServiceOf

SIMULATED_SERVICE = "simulated"


def simulated_steps(definition: Saga) -> tuple[str, ...]:
    """Return the names of the steps without a service of the author."""
    return tuple(step.name for step in definition.steps if is_simulated(step))


def is_simulated(step: Step) -> bool:
    return step.service is None or step.service == SIMULATED_SERVICE


def inner_services(definition: Saga, service_of: ServiceOf) -> dict[str, Service | None]:
    """Return the author's service of each step that names one."""
    names = {
        step.name: step.service for step in definition.steps if step.service is not None and not is_simulated(step)
    }
    known = known_services(service_of, dict.fromkeys(names.values()))
    for name, service in known.items():
        fit(service, name)
    return {step.name: known[names[step.name]] if step.name in names else None for step in definition.steps}

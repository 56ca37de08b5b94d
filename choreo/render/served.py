"""Services of one run of the command line, and which of its steps are simulated.

Laws: a step is simulated where the catalogue's stand-in, or none of its services, serves it. Every display of the run
names the simulated steps.
"""

from collections.abc import Callable, Mapping, Sequence

from choreo.analysis.naming import enumerated
from choreo.saga.service import Service


class Simulated:
    """Stand-in service where the given services have none: keeps no state and never refuses."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


class Served:
    """Returns the service of a step; `simulated` names the steps that none of the given services serves."""

    def __init__(self, services: Mapping[str, Service], simulated: Sequence[str]) -> None:
        self.services = services
        self.simulated = tuple(simulated)

    def __call__(self, step: str) -> Service:
        return self.services[step]


def simulated_of(service_of: object) -> tuple[str, ...]:
    """Return the simulated steps of these services; empty where they are unknown."""
    return service_of.simulated if isinstance(service_of, Served) else ()


def simulated_text(simulated: Sequence[str], show: Callable[[str], str]) -> str:
    """Return `simulated: a and b`, each name as `show` displays it; empty where every step has a service."""
    return f"simulated: {enumerated(list(map(show, simulated)))}" if simulated else ""

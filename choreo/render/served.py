"""The services of one run of the command line, and which of its steps are simulated.

Laws: a step is simulated where the catalogue's stand-in, or none of its services, serves it; whoever shows the run says
so.
"""

from collections.abc import Callable, Mapping, Sequence

from choreo.analysis.naming import enumerated
from choreo.saga.service import Service


class Simulated:
    """Stands in where the services given have no stand-in of their own; holds nothing and never refuses."""

    def execute(self, reference: str) -> None: ...

    def compensate(self, reference: str, receipt: object) -> None: ...


class Served:
    """Finds the service of a step; `simulated` names the steps that none of the services given serves."""

    def __init__(self, services: Mapping[str, Service], simulated: Sequence[str]) -> None:
        self.services = services
        self.simulated = tuple(simulated)

    def __call__(self, step: str) -> Service:
        return self.services[step]


def simulated_of(service_of: object) -> tuple[str, ...]:
    """The simulated steps of these services, where that is known."""
    return service_of.simulated if isinstance(service_of, Served) else ()


def told_of(simulated: Sequence[str], show: Callable[[str], str]) -> str:
    """`simulated: a and b`, each name as it is to be shown; nothing, where every step has a service."""
    return f"simulated: {enumerated(list(map(show, simulated)))}" if simulated else ""

"""Document: the tables of a TOML file that defines a saga, `[saga]`, `[[step]]`, `[[run]]`, and their conversion.

Laws: the schema of a file, and nothing else; a `Saga` has the same fields under its own names.
"""

from msgspec import Struct, field

from choreo.saga.definition import Faults, Resource, RunOf, Saga, Step, Wiring
from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.saga.table import steps_of_table


class SagaTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[saga]`."""

    name: str


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file. The steps are `[[step]]`, and the runs `[[run]]`."""

    saga: SagaTable
    steps: tuple[Step, ...] = field(default=(), name="step")
    resources: dict[str, Resource] = {}
    runs: tuple[RunOf, ...] = field(default=(), name="run")
    guarantees: Guarantees = ALL_ON
    wiring: Wiring = Wiring()
    faults: Faults = Faults()


def saga_of(document: Document) -> Saga:
    """Return the saga that a document defines."""
    return Saga(
        document.saga.name,
        steps=document.steps,
        resources=document.resources,
        runs=document.runs,
        guarantees=document.guarantees,
        wiring=document.wiring,
        faults=document.faults,
    )


def document_of(saga: Saga) -> Document:
    """Return the document that defines a saga."""
    steps = saga.steps if saga.itinerary is None else steps_of_table(saga.itinerary)
    return Document(SagaTable(saga.name), steps, saga.resources, saga.runs, saga.guarantees, saga.wiring, saga.faults)

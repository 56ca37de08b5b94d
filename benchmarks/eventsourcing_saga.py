"""The sagas of the mix with eventsourcing: `python -m benchmarks.eventsourcing_saga SAGAS IN_FLIGHT DIRECTORY`.

Laws: a saga is an aggregate that knows what comes next, and is saved after every step: whatever is in the file, it goes
on from there. The file is its SQLite module's, and how durable it is, is left at that module's own defaults: a
write-ahead log, with synchronous=FULL. A saga takes four commits, six where it fails: its start and each step, the last
one with its end.

Quick wherever the library leaves the choice: a saga stays in memory from its start to its end, and the sagas under way
go on together, so that one `save` takes a step of each of them in one transaction. Threads, with a transaction for each
step of each saga, were slower than one saga at a time.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.durable import Ending, compete, settings
from benchmarks.workload import STEPS, fail_step


class Refused(Exception):
    """A local transaction did not happen."""


def execute(step: str, fail_step: str | None) -> None:
    if step == fail_step:
        raise Refused(step)


def compensate(step: str) -> None:
    pass


class Saga(Aggregate):
    @event("Started")
    def __init__(self, number: int, steps: list[str]) -> None:
        self.number, self.steps = number, steps
        self.succeeded: list[str] = []
        self.failed: str | None = None
        self.compensated: list[str] = []
        self.outcome: str | None = None

    @staticmethod
    def create_id(number: int) -> UUID:
        return uuid5(NAMESPACE_URL, f"/sagas/booking-{number}")

    def go_on(self) -> None:
        """The next local transaction, or the next compensation."""
        if self.failed is None:
            self._execute(self.steps[len(self.succeeded)])
        else:
            self._compensate(self.succeeded[-1 - len(self.compensated)])

    def _execute(self, step: str) -> None:
        try:
            execute(step, fail_step(self.number))
        except Refused:
            self.step_failed(step)
        else:
            self.step_succeeded(step)
            if self.succeeded == self.steps:
                self.ended("completed")

    def _compensate(self, step: str) -> None:
        compensate(step)
        self.step_compensated(step)
        if len(self.compensated) == len(self.succeeded):
            self.ended("compensated")

    @event("StepSucceeded")
    def step_succeeded(self, step: str) -> None:
        self.succeeded.append(step)

    @event("StepFailed")
    def step_failed(self, step: str) -> None:
        self.failed = step

    @event("StepCompensated")
    def step_compensated(self, step: str) -> None:
        self.compensated.append(step)

    @event("Ended")
    def ended(self, outcome: str) -> None:
        self.outcome = outcome


class Sagas(Application[UUID]):
    @property
    def durability(self) -> str:
        with self.recorder.datastore.transaction(commit=False) as cursor:

            def answer(pragma: str) -> object:
                cursor.execute(pragma)
                return cursor.fetchone()[0]

            return settings(answer)

    def run(self, numbers: Iterable[int], in_flight: int) -> None:
        waiting = iter(numbers)
        under_way: list[Saga] = []
        while under_way := self._joined(under_way, waiting, in_flight):
            self.save(*under_way)
            under_way = [saga for saga in under_way if saga.outcome is None]
            for saga in under_way:
                saga.go_on()

    def endings(self, numbers: Iterable[int]) -> Iterator[Ending]:
        for number in numbers:
            saga: Saga = self.repository.get(Saga.create_id(number))
            yield str(saga.outcome), saga.compensated

    def _joined(self, under_way: list[Saga], waiting: Iterator[int], in_flight: int) -> list[Saga]:
        """Those under way, and as many that start as there is room for."""
        return under_way + [Saga(number, list(STEPS)) for number in islice(waiting, in_flight - len(under_way))]


@contextmanager
def opened(directory: Path) -> Iterator[Sagas]:
    file = directory / "eventsourcing.sqlite"
    with Sagas(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(file)}) as sagas:
        yield sagas


if __name__ == "__main__":
    compete(opened)

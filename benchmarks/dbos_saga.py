"""The sagas of the mix with DBOS: `python -m benchmarks.dbos_saga SAGAS IN_FLIGHT DIRECTORY`.

Laws: as its guide has it: a saga is a workflow, each local transaction and each compensation is a step, and what was
done is undone where a step raises. The system database is a SQLite file; how durable it is, is left at DBOS's own
defaults: the rollback journal of SQLite, with synchronous=FULL. (A file that someone has set to a write-ahead log
beforehand makes it nearly twice as fast one at a time.) A saga takes five commits, seven where it fails: its start,
each step, its end.

Quick wherever DBOS leaves the choice: one connection, since SQLite has one writer at a time, and what any further
connection does is wait for its lock; one at a time the workflow is called, which spares the hop to a thread; many at
once are handles of `start_workflow`, as quick as calls from a pool of threads, and quicker than asyncio. It logs
nothing but errors and, without a key to the Conductor, talks to nobody.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID, WorkflowHandle

from benchmarks.durable import Ending, compete, settings
from benchmarks.workload import STEPS, fail_step


class Refused(Exception):
    """A local transaction did not happen."""


@DBOS.step()
def execute(step: str, fail_step: str | None) -> None:
    if step == fail_step:
        raise Refused(step)


@DBOS.step()
def compensate(step: str) -> str:
    return step


@DBOS.workflow()
def saga(fail_step: str | None) -> str:
    done: list[str] = []
    try:
        for step in STEPS:
            execute(step, fail_step)
            done.append(step)
    except Refused:
        for step in reversed(done):
            compensate(step)
        return "compensated"
    return "completed"


class DbosSagas:
    """Launched, until the block is left."""

    def __init__(self, dbos: DBOS) -> None:
        with dbos._sys_db.engine.connect() as connection:  # noqa: SLF001  # nothing public has its connections
            self.durability = settings(lambda pragma: connection.exec_driver_sql(pragma).scalar())

    def run(self, numbers: Iterable[int], in_flight: int) -> None:
        if in_flight == 1:
            for number in numbers:
                with SetWorkflowID(workflow_id(number)):
                    saga(fail_step(number))
            return
        under_way: deque[WorkflowHandle[str]] = deque()
        for number in numbers:
            if len(under_way) == in_flight:
                under_way.popleft().get_result()
            with SetWorkflowID(workflow_id(number)):
                under_way.append(DBOS.start_workflow(saga, fail_step(number)))
        for handle in under_way:
            handle.get_result()

    def endings(self, numbers: Iterable[int]) -> Iterator[Ending]:
        for number in numbers:
            outcome = DBOS.retrieve_workflow(workflow_id(number)).get_result()
            steps: list[Any] = DBOS.list_workflow_steps(workflow_id(number))
            yield outcome, [step["output"] for step in steps if step["function_name"] == compensate.__qualname__]


def workflow_id(number: int) -> str:
    return f"booking-{number}"


@contextmanager
def opened(directory: Path) -> Iterator[DbosSagas]:
    database = f"sqlite:///{directory / 'dbos.sqlite'}"
    dbos = DBOS(
        config={"name": "booking", "system_database_url": database, "sys_db_pool_size": 1, "log_level": "ERROR"}
    )
    DBOS.launch()
    try:
        yield DbosSagas(dbos)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    compete(opened)

"""Runners and threads: no saga is executed twice, and no thread deadlocks on itself."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from sys import getswitchinterval, setswitchinterval
from typing import Any

import pytest

from choreo.compile import STYLES
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.entry import Reentered
from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.outcome import State
from choreo.storage.sqlite.journal import Journal

both_styles = pytest.mark.parametrize("style", sorted(STYLES))


class Counting:
    """Counts the calls under each reference."""

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()

    def execute(self, reference: str) -> object:
        self.executed[reference] += 1
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        return None


@contextmanager
def switching_all_the_time() -> Iterator[None]:
    """Threads change as often as the interpreter can."""
    before = getswitchinterval()
    setswitchinterval(1e-6)
    try:
        yield
    finally:
        setswitchinterval(before)


@both_styles
def test_eight_threads_execute_each_saga_once(style: str) -> None:
    """They take turns; every reference is one call, and every saga has its outcome."""
    service = Counting()
    runner = InProcessRunner(lambda step: service)

    with switching_all_the_time(), ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda n: runner.execute(f"saga-{n}", ("a", ("b", "c"), "d"), style=style), range(800))
        )

    assert {outcome.completed_steps for outcome in outcomes} == {4}
    assert len(service.executed) == 4 * 800
    assert set(service.executed.values()) == {1}


class Nested:
    """Runs a saga on the runner that has called it, once."""

    runner: Any

    def __init__(self) -> None:
        self.calls = 0

    def execute(self, reference: str) -> object:
        self.calls += 1
        if self.calls == 1:
            self.runner.execute("inner", ("inner",))
        return None

    def compensate(self, reference: str, receipt: object) -> None:
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {"calls": self.calls}


@pytest.fixture(params=["in memory", "with a journal"])
def runner_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], InProcessRunner | DurableRunner]:
    """Makes a runner of either kind over one service."""
    if request.param == "in memory":
        return lambda service: InProcessRunner(lambda step: service)
    return lambda service: DurableRunner(lambda step: service, Journal.open(str(tmp_path / "sagas.db")), lambda: 0)


def test_a_service_cannot_run_a_saga_on_its_own_runner(
    runner_of: Callable[[Any], InProcessRunner | DurableRunner],
) -> None:
    """It is refused by name, blocks no thread, and leaves the runner intact."""
    service = Nested()
    service.runner = runner_of(service)

    outcome = service.runner.execute("outer", ("a", "b"))
    later = service.runner.execute("later", ("a", "b"))

    assert outcome.state is State.COMPENSATED
    assert "Reentered: expected a call from outside, got one from a service" in str(outcome.reason)
    assert (service.calls, later.completed_steps) == (3, 2)


def test_a_runner_with_a_journal_belongs_to_one_thread(tmp_path: Path) -> None:
    """In another thread it refuses by name, and executes no step."""
    service = Counting()
    runner = DurableRunner(lambda step: service, Journal.open(str(tmp_path / "sagas.db")), lambda: 0)

    with ThreadPoolExecutor(1) as pool, pytest.raises(Reentered, match="in the thread in which this runner"):
        pool.submit(runner.execute, "saga", ("a",)).result()

    assert not service.executed
    assert runner.execute("saga", ("a",)).completed_steps == 1

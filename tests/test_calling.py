"""Services that would never run: refused when they are looked up, in every face, or a defect at the call."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from choreo.runtime.in_memory import InProcessRunner
from choreo.saga.calls.calling import UnfitService, fit, ran
from tests.terminal import ROOT, choreo, environment, prose, spawn

STYLES = ("choreography", "orchestration")

MODULE = """
class Pay:
    async def execute(self, reference):
        return "charged"

    def compensate(self, reference, receipt):
        pass


class Later(Pay):
    def execute(self, reference):
        return super().execute(reference)


def catalogue():
    services = {"pay": Pay(), "later": Later()}
    return services.__getitem__
"""


class Plain:
    def __init__(self, execute: Any = None, compensate: Any = None) -> None:
        self.execute = execute if execute is not None else lambda reference: None
        self.compensate = compensate if compensate is not None else lambda reference, receipt: None


async def awaited(reference: str, receipt: object = None) -> None: ...


async def iterated(reference: str, receipt: object = None) -> AsyncIterator[int]:
    yield 1


def generated(reference: str, receipt: object = None) -> Iterator[int]:
    yield 1


class Callable:
    async def __call__(self, reference: str, receipt: object = None) -> None: ...


NEVER_RUN = {
    "async def": awaited,
    "async generator": iterated,
    "generator": generated,
    "partial": partial(partial(awaited), receipt=None),
    "bound method": Callable().__call__,
    "object": Callable(),
    "partial of an object": partial(Callable()),
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with services that are async."""
    name = f"asynchronous_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.mark.parametrize("method", ["execute", "compensate"])
@pytest.mark.parametrize("call", NEVER_RUN.values(), ids=NEVER_RUN)
def test_what_would_never_run_is_refused_by_name(call: Any, method: str) -> None:
    """However it is wrapped, and whichever of the two methods it is."""
    with pytest.raises(UnfitService, match=rf"service of 'pay': expected a plain function, got .* Plain\.{method}\(\)"):
        fit(Plain(**{method: call}), "pay")


@pytest.mark.parametrize(
    "call", [len, print, partial(max, default=1), Plain, [].append], ids=lambda c: type(c).__name__
)
def test_what_runs_at_once_is_taken(call: Any) -> None:
    """Functions of any make, also those whose code cannot be seen."""
    service = Plain(call, call)

    assert fit(service, "pay") is service


def test_a_service_without_a_method_is_refused_by_name() -> None:
    """The error names the expected and the received value."""
    with pytest.raises(UnfitService, match=r"expected a service with execute\(\) and compensate\(\) for 'pay', got 7"):
        fit(7, "pay")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES)
def test_a_runner_in_memory_refuses_it_before_anything_runs(style: str) -> None:
    """No step is executed, also none of those before it."""
    executed: list[str] = []
    services = {"first": Plain(executed.append), "pay": Plain(awaited)}
    runner = InProcessRunner(services.__getitem__)

    with pytest.raises(UnfitService, match="pay"):
        runner.execute("saga-1", ("first", "pay"), style=style)

    assert executed == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("call", NEVER_RUN.values(), ids=NEVER_RUN)
def test_a_plain_function_that_returns_what_has_not_run_is_a_defect(call: Any, style: str) -> None:
    """The step has not succeeded, and Python gives no warning of a coroutine that was never awaited."""
    services = {"first": Plain(), "pay": Plain(lambda reference: call(reference))}
    runner = InProcessRunner(services.__getitem__)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = runner.execute("saga-1", ("first", "pay"), style=style)
        gc.collect()

    assert outcome.state == "compensated"
    assert "expected a call that has run when it returns" in str(outcome.reason)


def test_a_compensation_that_has_not_run_has_not_compensated() -> None:
    """The saga is stuck, and says so."""
    services = {"pay": Plain(compensate=lambda reference, receipt: awaited(reference)), "ship": Plain()}
    outcome = InProcessRunner(services.__getitem__).execute("saga-1", ("pay", "ship"), "ship")

    assert outcome.state == "stuck"


def test_a_future_is_cancelled() -> None:
    """Work that an event loop would have done later is not done."""
    with closing(asyncio.new_event_loop()) as loop:
        future: asyncio.Future[None] = loop.create_future()

        with pytest.raises(TypeError, match="Future"):
            ran(future)

        assert future.cancelled()


@pytest.mark.parametrize("options", [(), ("--journal", "sagas.db")], ids=["plain", "durable"])
def test_a_node_refuses_it_and_serves_the_next(module: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """The reply names the step and the method; no step is reported as completed."""
    path = tmp_path / "in.jsonl"
    requests = [
        {"type": "execute", "msg_id": i, "saga_id": name, "steps": [name]} for i, name in enumerate(["pay", "later"])
    ]
    path.write_text("".join(f"{json.dumps(request)}\n" for request in requests))
    options = tuple(str(tmp_path / each) if each.endswith(".db") else each for each in options)

    with path.open("rb") as given:
        done = subprocess.run(
            [sys.executable, "-m", "choreo", "node", "--services", module, *options],
            stdin=given, capture_output=True, cwd=tmp_path, check=False, timeout=60,
            env=environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)])),
        )  # fmt: skip

    first, second = map(json.loads, done.stdout.splitlines())
    assert first["type"] == "error"
    assert "got async def Pay.execute()" in first["text"]
    assert second["type"] != "saga_completed"
    assert b"never awaited" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [("run", "pay"), ("compare", "pay"), ("explore", "PATH"), ("simulate", "PATH"), ("lint", "PATH")],
    ids=lambda words: words[0],
)
def test_a_command_refuses_it_as_wrong_use(module: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """The error says what to do."""
    path = tmp_path / "pay.toml"
    path.write_text('[saga]\nname = "pay"\n[[step]]\nname = "pay"\nservice = "pay"\n')

    result = choreo(words[0], str(path) if words[1] == "PATH" else words[1], "--services", module)

    assert result.exit_code == 2
    assert "got async def Pay.execute()" in prose(result.stderr)
    assert "make it a plain def" in prose(result.stderr)


def test_help_names_the_services_that_come_with_choreo() -> None:
    """They are looked up where none are given."""
    assert "default: services" in prose(spawn("lint", "--help", COLUMNS="100").stdout.decode())

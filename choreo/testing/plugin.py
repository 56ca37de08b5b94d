"""The pytest plugin: the fixture `choreo`, with which a test explores or simulates a saga and asserts that it is safe.

Laws: found by pytest through an entry point, and light until it is used. A failure shows the counterexample, its
diagram and the command that reproduces it, without choreo's own stack.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Generator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from choreo import laboratory
from choreo.laboratory import NotSafe

if TYPE_CHECKING:
    from choreo.invariants.own import OwnInvariant
    from choreo.lab.report import Report
    from choreo.laboratory import AnySaga, AnyServices, Findings
    from choreo.saga.definition import Saga

KEPT, INTERRUPTED = "choreo", "it was interrupted"
NAME_MAX = 60
SHORT = ("WrongDefinition", "NotFollowed")
"""Exceptions that are reported as text, without a stack."""


class Checked:
    """Reports of one style or both; `told` is the text of a failure."""

    def __init__(self, reports: Sequence[Report], told: str) -> None:
        self.reports = tuple(reports)
        self.told = told

    def assert_safe(self) -> None:
        """Raise `NotSafe` where an invariant is violated, the search is incomplete, or a fault never fired."""
        __tracebackhide__ = True
        if any(report.is_finding for report in self.reports):
            raise NotSafe(self.told)


class Choreo:
    """Explores and simulates sagas for a test. `folder` keeps the definitions for commands; `test` is the id of the
    test.
    """

    def __init__(self, folder: Path, test: str) -> None:
        self._folder = folder
        self._test = test
        self._kept = 0

    def explore(
        self,
        saga: AnySaga,
        input: Any = None,
        *,
        services: AnyServices = None,
        faults: Sequence[str] | None = None,
        max_faults: int | None = None,
        without: Sequence[str] = (),
        style: str = "both",
        invariants: Sequence[OwnInvariant] = (),
    ) -> Checked:
        """Explore every reachable state of the saga; the arguments are those of `choreo.explore`."""
        found = laboratory.explore(
            saga,
            input,
            services=services,
            faults=faults,
            max_faults=max_faults,
            without=without,
            style=style,
            invariants=invariants,
        )
        words = [*_option("--max-faults", max_faults), *_option("--faults", ",".join(faults) if faults else None)]
        return self._checked("explore", found, words, services)

    def simulate(
        self,
        saga: AnySaga,
        input: Any = None,
        *,
        seeds: int = 1000,
        services: AnyServices = None,
        faults: Mapping[str, float] | None = None,
        without: Sequence[str] = (),
        style: str = "both",
        invariants: Sequence[OwnInvariant] = (),
    ) -> Checked:
        """Simulate one history for each seed from 1 on; the arguments are those of `choreo.simulate`."""
        found = laboratory.simulate(
            saga,
            input,
            seeds=seeds,
            services=services,
            faults=faults,
            without=without,
            style=style,
            invariants=invariants,
        )
        told = ",".join(f"{kind}={rate:g}" for kind, rate in (faults or {}).items()) or None
        return self._checked("simulate", found, _option("--faults", told), services)

    def replays(
        self,
        path: str | Path,
        saga: AnySaga | None = None,
        *,
        services: AnyServices = None,
        without: Sequence[str] = (),
        invariants: Sequence[OwnInvariant] = (),
    ) -> None:
        """Follow a saved counterexample again, and assert that it breaks no invariant any more.

        The file is what `choreo.explore(...).counterexample.save(path)` or that of `choreo.simulate` has written.
        `saga` is the saga as it is now, by default the saved one; all guarantees of its definition hold, except those
        in `without`. Raises `NotSafe`, or `NotFollowed` where a move of it is not possible any more.
        """
        __tracebackhide__ = True
        laboratory.replay(path, saga, services=services, without=without, invariants=invariants).assert_safe()

    def _checked(self, command: str, found: Findings, words: Sequence[str], services: AnyServices) -> Checked:
        if any(report.stopped == INTERRUPTED for report in found.reports):
            raise KeyboardInterrupt  # pytest reports it
        if found.is_safe:
            return Checked(found.reports, "")
        if found.command is not None:
            return Checked(found.reports, found.text())
        has_own = any(report.own for report in found.reports)
        if has_own or not (services is None or isinstance(services, str)):  # no command has what the test made
            return Checked(found.reports, found.text(lambda report: ["pytest", self._test]))
        module = [] if services is None else ["--services", services]
        again = ["choreo", command, self._keep(found.definition), *words, *module]
        return Checked(found.reports, found.text(lambda report: [*again, *laboratory.options_of(report)]))

    def _keep(self, definition: Saga) -> str:
        """Write the definition to a file of this test alone, so that a command can read it."""
        from choreo.saga.file.writing import as_toml

        self._folder.mkdir(parents=True, exist_ok=True)
        self._kept += 1
        number = f"-{self._kept}" if self._kept > 1 else ""
        name = f"{_bare(definition.name)}-{_bare(self._test.rpartition('::')[2])}"
        path = self._folder / f"{name}-{zlib.crc32(self._test.encode(errors='replace')):08x}{number}.toml"
        whole = path.with_suffix(f".{os.getpid()}")  # another worker may run the same test
        whole.write_text(as_toml(definition), encoding="utf-8")
        whole.replace(path)
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


@pytest.fixture
def choreo(request: pytest.FixtureRequest) -> Choreo:
    """Explore or simulate a saga: `choreo.explore("order.toml", max_faults=1).assert_safe()`."""
    return Choreo(request.config.rootpath / ".pytest_cache" / KEPT, request.node.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Report an unsafe saga or a wrong definition as text, without choreo's own stack."""
    report = yield
    if call.excinfo is not None:
        if call.excinfo.errisinstance(NotSafe):
            report.longrepr = f"{_where(call.excinfo)}: not safe\n\n{call.excinfo.value}"
        elif (name := type(call.excinfo.value).__name__) in SHORT and _is_ours(call.excinfo):
            report.longrepr = f"{_where(call.excinfo)}: {name}: {call.excinfo.value}"
    return report


def _is_ours(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    return any(Path(entry.path) == Path(__file__) for entry in excinfo.traceback)


def _where(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the line of the test that made the call."""
    entries = list(takewhile(lambda entry: Path(entry.path) != Path(__file__), excinfo.traceback))
    entry = entries[-1] if entries else excinfo.traceback[-1]
    return f"{Path(entry.path).name}:{entry.lineno + 1}"


def _bare(name: str) -> str:
    """Convert a name to characters and a length that any file system accepts."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME_MAX]


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]

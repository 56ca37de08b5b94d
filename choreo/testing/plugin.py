"""The pytest plugin: the fixture `choreo`, with which a test explores or simulates a saga and asserts that it is safe.

Laws: found by pytest through an entry point, and light until it is used. A failure shows the counterexample, its
diagram and the command that reproduces it, without choreo's own stack.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from choreo.lab.report import Report
    from choreo.saga.definition import Definition, FaultKind
    from choreo.saga.service import Service, ServiceOf

    Saga = Definition | str | Sequence[str | Sequence[str]]

KEPT, INTERRUPTED = "choreo", "it was interrupted"
NAME_MAX = 60
WIDTH = 100


class NotSafe(AssertionError):
    """A saga that is not safe; the text has the reason and the counterexample."""


class Checked:
    """Results for one style or both; `reports` has the details."""

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
        saga: Saga,
        *,
        services: ServiceOf | Mapping[str, Service] | str | None = None,
        faults: Sequence[str] | None = None,
        max_faults: int | None = None,
        without: Sequence[str] = (),
        style: str = "both",
    ) -> Checked:
        """Explore every reachable state of the saga.

        `saga`: a definition, a name of one as on the command line, or step names; a nested list is a group in parallel.
        `services`: a module with `catalogue()`, a function from name to service, or services by name. Where services
        are given, a step that names no service has the one of its own name, and is simulated otherwise. `faults` and
        `max_faults` as for `choreo explore`; by default those of the definition. Raises `WrongDefinition` for invalid
        arguments.
        """
        from choreo.lab.explore.explorer import Explorer

        definition = _faulty(_defined(saga, without, services), faults, max_faults)
        words = [*_option("--max-faults", max_faults), *_option("--faults", ",".join(faults) if faults else None)]
        with _as_wrong_definition():
            reports = [Explorer(definition, name, _services(services)).explore() for name in _styles(style)]
        return self._checked(
            "explore",
            saga,
            definition,
            reports,
            definition.faults.budget if definition.faults.kinds else 0,
            [*words, *_without(without, saga), *_module(services)],
            is_repeatable=services is None or isinstance(services, str),
        )

    def simulate(
        self,
        saga: Saga,
        *,
        seeds: int = 1000,
        services: ServiceOf | Mapping[str, Service] | str | None = None,
        faults: Mapping[str, float] | None = None,
        without: Sequence[str] = (),
        style: str = "both",
    ) -> Checked:
        """Simulate one history for each seed from 1 on. `faults`: the rate of each kind, such as `{"drop": 0.1}`."""
        from choreo.lab.simulate.campaign import simulate

        definition = _defined(saga, without, services)
        rates = None if faults is None else _rates(faults)
        told = ",".join(f"{kind}={rate:g}" for kind, rate in (faults or {}).items()) or None
        with _as_wrong_definition():
            reports = [
                simulate(definition, name, lambda: _services(services), range(1, seeds + 1), rates, processes=1)
                for name in _styles(style)
            ]
        return self._checked(
            "simulate",
            saga,
            definition,
            reports,
            None,
            [*_option("--faults", told), *_without(without, saga), *_module(services)],
            is_repeatable=services is None or isinstance(services, str),
        )

    def _checked(
        self,
        command: str,
        saga: Saga,
        definition: Definition,
        reports: Sequence[Report],
        budget: int | None,
        words: Sequence[str],
        *,
        is_repeatable: bool,
    ) -> Checked:
        if any(report.stopped == INTERRUPTED for report in reports):
            raise KeyboardInterrupt  # pytest reports it
        if not any(report.is_finding for report in reports):
            return Checked(reports, "")
        if not is_repeatable:  # services made by the test cannot be opened by a command
            return Checked(reports, _told(definition, reports, budget, lambda report: ["pytest", self._test]))
        source = saga if isinstance(saga, str) else self._keep(definition)
        again = ["choreo", command, source, *words]
        return Checked(reports, _told(definition, reports, budget, lambda report: [*again, *_of_report(report)]))

    def _keep(self, definition: Definition) -> str:
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
        elif type(call.excinfo.value).__name__ == "WrongDefinition" and _is_ours(call.excinfo):
            report.longrepr = f"{_where(call.excinfo)}: WrongDefinition: {call.excinfo.value}"
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


def _of_report(report: Report) -> list[str]:
    """Return the options that reproduce this report and no other."""
    found = report.counterexample
    seed = ["--seed", str(found.seed)] if found is not None and found.seed is not None else []
    return [*seed, "--style", report.style]


def _told(
    definition: Definition, reports: Sequence[Report], budget: int | None, again_of: Callable[[Report], list[str]]
) -> str:
    import shlex

    from choreo.render.report import show_report
    from choreo.render.screen import Screen

    screen = Screen()
    screen.width = WIDTH
    with screen.capture() as captured:
        for report in reports:
            if report.is_finding:
                show_report(screen, definition.name, report, budget, shlex.join(again_of(report)))
    return captured.get()


def _defined(saga: Saga, without: Sequence[str], services: object) -> Definition:
    from choreo.lab.options import with_guarantees, with_services
    from choreo.saga.definition import Definition
    from choreo.saga.file import check, read_definition

    if isinstance(saga, str):
        definition = read_definition(saga)
    elif isinstance(saga, Definition):
        definition = saga
    else:
        definition = _of_names(saga)
    with _as_wrong_definition():
        definition = with_services(with_guarantees(definition, None, list(without)), services)
    check(definition)
    return definition


def _of_names(saga: Sequence[str | Sequence[str]]) -> Definition:
    """Build a definition from step names; a nested list runs in parallel, as in a message to the node."""
    from choreo.saga.definition import Definition, SagaName, Step
    from choreo.saga.file import WrongDefinition

    steps: list[Step] = []
    before: tuple[str, ...] = ()
    for index, group in enumerate(saga):
        names = (group,) if isinstance(group, str) else group
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise WrongDefinition(f"steps[{index}]: expected a step name or a list of step names, got {group!r}")
        steps += (Step(name, after=before) for name in names)
        before = tuple(names) or before
    return Definition(SagaName("saga"), tuple(steps))


def _faulty(definition: Definition, kinds: Sequence[str] | None, budget: int | None) -> Definition:
    from choreo.lab.options import with_faults

    with _as_wrong_definition():
        return with_faults(definition, None if kinds is None else list(kinds), budget)


def _rates(faults: Mapping[str, float]) -> Mapping[FaultKind, float]:
    from choreo.lab.options import rates_in

    with _as_wrong_definition():
        return rates_in([f"{kind}={rate}" for kind, rate in faults.items()])


@contextmanager
def _as_wrong_definition() -> Iterator[None]:
    """Convert errors that the command line treats as wrong use to `WrongDefinition`. A `KeyboardInterrupt` raised by a
    service is not treated as Ctrl-C.
    """
    from choreo.api import NoServices
    from choreo.runtime.process import ctrl_c_told_apart
    from choreo.saga.calling import UnfitService
    from choreo.saga.file import WrongDefinition
    from choreo.saga.lookup import UnknownService
    from choreo.saga.usage import UsageError
    from choreo.storage.copying import NoCopy

    try:
        with ctrl_c_told_apart():
            yield
    except (UsageError, NoServices, UnknownService, UnfitService, NoCopy) as error:
        raise WrongDefinition(str(error).removeprefix("--")) from None


def _services(services: ServiceOf | Mapping[str, Service] | str | None) -> ServiceOf:
    from choreo.api import open_services
    from choreo.saga.calling import checked
    from choreo.saga.file.modules import SERVICES

    if services is None or isinstance(services, str):
        return open_services(SERVICES if services is None else services)
    return checked(services.__getitem__ if isinstance(services, Mapping) else services)


def _styles(style: str) -> tuple[str, ...]:
    known = ("choreography", "orchestration", "both")
    if style not in known:
        from choreo.saga.spelling import suggestion

        near = suggestion(str(style), known)
        raise ValueError(f"style: expected 'choreography', 'orchestration' or 'both', got {style!r}{near}")
    return ("choreography", "orchestration") if style == "both" else (style,)


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]


def _without(names: Sequence[str], saga: object) -> list[str]:
    """Return the options for `without`; empty where the definition was written to a file, which has the guarantees."""
    return [word for name in names for word in ("--without", name)] if isinstance(saga, str) else []


def _module(services: object) -> list[str]:
    return ["--services", services] if isinstance(services, str) else []

"""The pytest plugin: the fixture `choreo`, with which a test explores or simulates a saga and asserts that it is safe.

Laws: found by pytest through an entry point, and light until it is used. A failure tells the counterexample, its
picture and the command that shows it again, and nothing of choreo's own stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from choreo.domain.definition import Definition, FaultKind
    from choreo.domain.service import Service, ServiceOf
    from choreo.lab.report import Report

KEPT, SERVICES, INTERRUPTED = "choreo", "services", "it was interrupted"
WIDTH = 100


class NotSafe(AssertionError):
    """A saga that is not safe; the text tells why, with the counterexample."""


class Checked:
    """What was found, in one style or two; `reports` for whoever wants to look closer."""

    def __init__(self, reports: Sequence[Report], told: str) -> None:
        self.reports = tuple(reports)
        self.told = told

    def assert_safe(self) -> None:
        """Raises `NotSafe` where an invariant breaks, where not everything was seen, or where a fault never fired."""
        __tracebackhide__ = True
        if any(report.is_finding for report in self.reports):
            raise NotSafe(self.told)


class Choreo:
    """What a test may ask for. `folder` is where definitions are kept that a command is to read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def explore(
        self,
        saga: Definition | str | Sequence[str],
        *,
        services: ServiceOf | Mapping[str, Service] | str = SERVICES,
        faults: Sequence[str] | None = None,
        max_faults: int | None = None,
        without: Sequence[str] = (),
        style: str = "both",
    ) -> Checked:
        """Look at every state that the saga can reach.

        `saga`: a definition, what names one on the command line, or step names, each with the service of that name.
        `services`: a module with `catalogue()`, a function from name to service, or services by name. `faults` and
        `max_faults` as for `choreo explore`; by default what the definition says. Raises `WrongDefinition` for whatever
        of that makes no sense.
        """
        from choreo.lab.explorer import Explorer

        definition = _faulty(_defined(saga, without, services), faults, max_faults)
        words = [*_option("--max-faults", max_faults), *_option("--faults", ",".join(faults) if faults else None)]
        return self._checked(
            "explore",
            saga,
            definition,
            [Explorer(definition, name, _services(services)).explore() for name in _styles(style)],
            definition.faults.budget if definition.faults.kinds else 0,
            [*words, *_without(without, saga), *_module(services)],
        )

    def simulate(
        self,
        saga: Definition | str | Sequence[str],
        *,
        seeds: int = 1000,
        services: ServiceOf | Mapping[str, Service] | str = SERVICES,
        faults: Mapping[str, float] | None = None,
        without: Sequence[str] = (),
        style: str = "both",
    ) -> Checked:
        """Play the histories of the seeds from 1 on. `faults`: the rate of each kind, such as `{"drop": 0.1}`."""
        from choreo.lab.campaign import simulate

        definition = _defined(saga, without, services)
        rates = None if faults is None else _rates(faults)
        told = ",".join(f"{kind}={rate:g}" for kind, rate in (faults or {}).items()) or None
        return self._checked(
            "simulate",
            saga,
            definition,
            [
                simulate(definition, name, lambda: _services(services), range(1, seeds + 1), rates, processes=1)
                for name in _styles(style)
            ],
            None,
            [*_option("--faults", told), *_without(without, saga), *_module(services)],
        )

    def _checked(
        self,
        command: str,
        saga: Definition | str | Sequence[str],
        definition: Definition,
        reports: Sequence[Report],
        budget: int | None,
        words: Sequence[str],
    ) -> Checked:
        if any(report.stopped == INTERRUPTED for report in reports):
            raise KeyboardInterrupt  # it is for pytest to say so
        if not any(report.is_finding for report in reports):
            return Checked(reports, "")
        source = saga if isinstance(saga, str) else self._keep(definition)
        return Checked(reports, _told(definition, reports, budget, ["choreo", command, source, *words]))

    def _keep(self, definition: Definition) -> str:
        """Where the definition is written, so that a command can read it."""
        from choreo.definitions.writing import as_toml

        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', definition.name)}.toml"
        path.write_text(as_toml(definition), encoding="utf-8")
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


@pytest.fixture
def choreo(request: pytest.FixtureRequest) -> Choreo:
    """Explore or simulate a saga: `choreo.explore("order.toml", max_faults=1).assert_safe()`."""
    return Choreo(request.config.rootpath / ".pytest_cache" / KEPT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Of a saga that is not safe the counterexample is told, without a stack of choreo's."""
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(NotSafe):
        text = str(call.excinfo.value)
        report.longrepr = f"{_where(call.excinfo)}: not safe\n\n{text}"
    return report


def _where(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """The line of the test that asked."""
    entries = [entry for entry in excinfo.traceback if Path(entry.path) != Path(__file__)]
    entry = entries[-1] if entries else excinfo.traceback[-1]
    return f"{Path(entry.path).name}:{entry.lineno + 1}"


def _told(definition: Definition, reports: Sequence[Report], budget: int | None, words: list[str]) -> str:
    import shlex

    from choreo.terminal.report_view import show_report
    from choreo.terminal.screen import Screen

    screen = Screen()
    screen.width = WIDTH
    with screen.capture() as captured:
        for report in reports:
            if report.is_finding:
                found = report.counterexample
                seed = ["--seed", str(found.seed)] if found is not None and found.seed is not None else []
                again = shlex.join([*words, *seed, "--style", report.style])
                show_report(screen, definition.name, report, budget, again)
    return captured.get()


def _defined(saga: Definition | str | Sequence[str], without: Sequence[str], services: object) -> Definition:
    from choreo.definitions import check, read_definition
    from choreo.domain.definition import Definition, SagaName, Step
    from choreo.terminal.lab_options import with_guarantees

    if isinstance(saga, str):
        definition = read_definition(saga)
    elif isinstance(saga, Definition):
        definition = saga
    else:
        own = services != SERVICES  # of ours, a step that has none is simulated
        definition = Definition(SagaName("saga"), tuple(Step(name, service=name if own else None) for name in saga))
    with _as_wrong_definition():
        definition = with_guarantees(definition, None, list(without))
    check(definition)
    return definition


def _faulty(definition: Definition, kinds: Sequence[str] | None, budget: int | None) -> Definition:
    from choreo.terminal.lab_options import with_faults

    with _as_wrong_definition():
        return with_faults(definition, None if kinds is None else list(kinds), budget)


def _rates(faults: Mapping[str, float]) -> Mapping[FaultKind, float]:
    from choreo.terminal.lab_options import rates_in

    with _as_wrong_definition():
        return rates_in([f"{kind}={rate}" for kind, rate in faults.items()])


@contextmanager
def _as_wrong_definition() -> Iterator[None]:
    """What the command line would call wrong use."""
    from choreo.definitions import WrongDefinition
    from choreo.terminal.arguments import WrongUse

    try:
        yield
    except WrongUse as error:
        raise WrongDefinition(str(error).removeprefix("--")) from None


def _services(services: ServiceOf | Mapping[str, Service] | str) -> ServiceOf:
    from choreo.composition import open_services

    if isinstance(services, str):
        return open_services(services)
    if isinstance(services, Mapping):
        return _by_name(services)
    return services


def _by_name(services: Mapping[str, Service]) -> Callable[[str], Service]:
    def service_of(name: str) -> Service:
        if name not in services:
            raise LookupError(f"services: expected a service for {name!r}, got {', '.join(map(repr, services))}")
        return services[name]

    return service_of


def _styles(style: str) -> tuple[str, ...]:
    if style not in ("choreography", "orchestration", "both"):
        raise ValueError(f"style: expected 'choreography', 'orchestration' or 'both', got {style!r}")
    return ("choreography", "orchestration") if style == "both" else (style,)


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]


def _without(names: Sequence[str], saga: object) -> list[str]:
    """Of a definition that was written to a file the guarantees are in the file."""
    return [word for name in names for word in ("--without", name)] if isinstance(saga, str) else []


def _module(services: object) -> list[str]:
    return ["--services", services] if isinstance(services, str) and services != SERVICES else []

"""The laboratory from Python: explore or simulate a saga, and assert that it is safe.

Laws: light to import; the explorer and the simulator are imported by the first call. The commands `choreo explore` and
`choreo simulate` find the same, since they call the same laboratory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

if TYPE_CHECKING:
    from pathlib import Path

    from choreo.compile.finding import Finding
    from choreo.invariants.own import OwnInvariant
    from choreo.lab.report import Report
    from choreo.lab.saved import SavedCounterexample
    from choreo.saga.definition import FaultKind, Saga
    from choreo.saga.service import ServiceOf

    AnySaga = Saga | str | Sequence[str | Sequence[str]]
    AnyServices = Any

WIDTH = 100


class NotSafe(AssertionError):
    """A saga that is not safe; the text has the reason and the counterexample."""


class NoCounterexample(LookupError):
    """Findings without a counterexample: no invariant is violated."""


class Findings:
    """Reports of one style or both, and the command that reproduces them.

    `command` is None where no command can: the services, or the definition, exist in this program alone.
    """

    def __init__(
        self,
        definition: Saga,
        reports: Sequence[Report],
        budget: int | None,
        command: Sequence[str] | None,
        as_given: Saga,
    ) -> None:
        """Keep the reports; `as_given` is the saga before guarantees were switched off for them."""
        self.definition = definition
        self._as_given = as_given
        self.reports = tuple(reports)
        self.command = command
        self._budget = budget

    @property
    def is_safe(self) -> bool:
        """Whether every invariant holds, every state was seen, and every kind of fault has fired."""
        return not any(report.is_finding for report in self.reports)

    @property
    def counterexample(self) -> SavedCounterexample:
        """The first counterexample, which `save(path)` writes to a file. Raises `NoCounterexample`."""
        from choreo.lab.saved import saved

        for report in self.reports:
            if report.counterexample is not None:
                return saved(report, self._as_given, _switched_off(self._as_given, self.definition))
        verdicts = ", ".join(f"{report.style}: {report.verdict}" for report in self.reports)
        raise NoCounterexample(f"expected a violation of {self.definition.name}, got none ({verdicts})")

    def assert_safe(self) -> None:
        """Raise `NotSafe` where an invariant is violated, the search is incomplete, or a fault never fired."""
        __tracebackhide__ = True
        if not self.is_safe:
            raise NotSafe(self.text())

    def text(self, again_of: Callable[[Report], Sequence[str] | None] | None = None) -> str:
        """Return the reports that are findings, each with its counterexample and the command that reproduces it."""
        import shlex

        from choreo.render.report import show_report
        from choreo.render.screen import Screen

        screen = Screen()
        screen.width = WIDTH
        with screen.capture() as captured:
            for report in self.reports:
                if report.is_finding:
                    again = (again_of or self._again)(report)
                    words = None if again is None else shlex.join(again)
                    show_report(screen, self.definition.name, report, self._budget, words)
        return captured.get()

    def _again(self, report: Report) -> list[str] | None:
        return None if self.command is None else [*self.command, *options_of(report)]


def explore(
    saga: AnySaga,
    input: Any = None,
    *,
    services: AnyServices = None,
    faults: Sequence[str] | None = None,
    max_faults: int | None = None,
    without: Sequence[str] = (),
    style: str = "both",
    invariants: Sequence[OwnInvariant] = (),
) -> Findings:
    """Explore every reachable state of a saga.

    `saga`: a `Saga`, the name of one as on the command line, or step names; a nested list is a group in parallel.
    `input` is the input of its runs. `services`: an object with steps, a list of such objects, services by step name,
    a function that makes these or that finds a service by step name, or a module with `catalogue()`. Where services are
    given, a step that names no service has the one of its own name, and is simulated otherwise. `faults` and
    `max_faults` as for `choreo explore`; by default those of the saga. `invariants` are your own: functions decorated
    with `@choreo.always`, `@choreo.sometimes` or `@choreo.eventually`. Raises `WrongDefinition` for invalid arguments.
    """
    from choreo.invariants.own import own_invariants
    from choreo.lab.explore.explorer import Explorer

    definition = _faulty(_defined(saga, without, services, input), faults, max_faults)
    with _as_wrong_definition():
        own = own_invariants(invariants)
        reports = [Explorer(definition, name, _services(services), own=own).explore() for name in _styles(style)]
    words = [*_option("--max-faults", max_faults), *_option("--faults", ",".join(faults) if faults else None)]
    budget = definition.faults.budget if definition.faults.kinds else 0
    command = None if own else _command("explore", saga, words, without, services)
    return Findings(definition, reports, budget, command, _defined(saga, (), services, input))


def simulate(
    saga: AnySaga,
    input: Any = None,
    *,
    seeds: int = 1000,
    services: AnyServices = None,
    faults: Mapping[str, float] | None = None,
    without: Sequence[str] = (),
    style: str = "both",
    invariants: Sequence[OwnInvariant] = (),
) -> Findings:
    """Simulate one history for each seed from 1 on, in this process.

    `faults`: the rate of each kind, such as `{"drop": 0.1}`. All else is as for `explore`.
    """
    from choreo.invariants.own import own_invariants
    from choreo.lab.simulate.campaign import simulate as play

    definition = _defined(saga, without, services, input)
    rates = None if faults is None else _rates(faults)
    with _as_wrong_definition():
        own = own_invariants(invariants)
        reports = [
            play(definition, name, lambda: _services(services), range(1, seeds + 1), rates, processes=1, own=own)
            for name in _styles(style)
        ]
    told = ",".join(f"{kind}={rate:g}" for kind, rate in (faults or {}).items()) or None
    command = None if own else _command("simulate", saga, _option("--faults", told), without, services)
    return Findings(definition, reports, None, command, _defined(saga, (), services, input))


def replay(
    path: str | Path,
    saga: AnySaga | None = None,
    *,
    services: AnyServices = None,
    without: Sequence[str] = (),
    invariants: Sequence[OwnInvariant] = (),
) -> Findings:
    """Follow the way of a saved counterexample again, delivery by delivery and fault by fault.

    `saga` is the saga as it is now, by default the saved one; all guarantees of its definition hold, except those in
    `without`. `invariants` are your own, as for `explore`. Where a guarantee that was off now holds, a move that it
    prevents is left out; any other move that is not possible raises `NotFollowed`. Raises `WrongDefinition`.
    """
    from choreo.invariants.own import own_invariants
    from choreo.lab.replay import report_of_way
    from choreo.lab.saved import read_saved

    kept = read_saved(path)
    current = kept.definition if saga is None else saga
    with _as_wrong_definition():
        as_given, definition = _defined(current, (), services), _defined(current, without, services)
        own = own_invariants(invariants)
        report = report_of_way(str(path), kept, definition, _services(services), own)
    return Findings(definition, [report], None, None, as_given)


def lint(saga: AnySaga, *, style: str = "both") -> list[Finding]:
    """Return the defects of the wiring of a saga; nothing is run. Raises `WrongDefinition`."""
    from choreo.compile.linting import lint as lint_definition

    definition = _defined(saga, (), None)
    return [finding for name in _styles(style) for finding in lint_definition(definition, name)]


def options_of(report: Report) -> list[str]:
    """Return the options that reproduce this report and no other."""
    found = report.counterexample
    seed = ["--seed", str(found.seed)] if found is not None and found.seed is not None else []
    return [*seed, "--style", report.style]


def _defined(saga: AnySaga, without: Sequence[str], services: object, given: Any = None) -> Saga:
    from choreo.lab.options import with_guarantees, with_services
    from choreo.saga.definition import Saga
    from choreo.saga.file import checked_saga, read_definition

    if isinstance(saga, str):
        definition = read_definition(saga)
    elif isinstance(saga, Saga):
        definition = saga if saga.itinerary is None else _of_names(saga.itinerary)
    else:
        definition = _of_names(saga)
    with _as_wrong_definition():
        definition = with_services(with_guarantees(definition, None, list(without)), services)
    definition = checked_saga(definition)
    if given is None:
        return definition
    runs = tuple(replace(run, input=given) for run in definition.all_runs())
    return replace(definition, runs=runs)


def _of_names(saga: Sequence[str | Sequence[str]]) -> Saga:
    """Build a definition from step names; a nested list runs in parallel, as in a message to the node."""
    from choreo.saga.definition import Saga
    from choreo.saga.file import WrongDefinition

    for index, group in enumerate(saga):
        names = (group,) if isinstance(group, str) else group
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise WrongDefinition(f"steps[{index}]: expected a step name or a list of step names, got {group!r}")
    return Saga("saga", *saga)


def _switched_off(before: Saga, after: Saga) -> tuple[str, ...]:
    """Return the guarantees that only the first saga has."""
    names = before.guarantees.__struct_fields__
    return tuple(name for name in names if getattr(before.guarantees, name) and not getattr(after.guarantees, name))


def _faulty(definition: Saga, kinds: Sequence[str] | None, budget: int | None) -> Saga:
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
    from choreo.saga.calls.calling import UnfitService
    from choreo.saga.calls.lookup import UnknownService
    from choreo.saga.file import WrongDefinition
    from choreo.saga.service import NotSnapshotable
    from choreo.saga.usage import UsageError

    try:
        with ctrl_c_told_apart():
            yield
    except (UsageError, NoServices, UnknownService, UnfitService, NotSnapshotable) as error:
        raise WrongDefinition(str(error).removeprefix("--")) from None


def _services(services: AnyServices) -> ServiceOf:
    from choreo.api import services_from

    return services_from(services)


def _styles(style: str) -> tuple[str, ...]:
    known = ("choreography", "orchestration", "both")
    if style not in known:
        from choreo.saga.spelling import suggestion

        near = suggestion(str(style), known)
        raise ValueError(f"style: expected 'choreography', 'orchestration' or 'both', got {style!r}{near}")
    return ("choreography", "orchestration") if style == "both" else (style,)


def _command(
    name: str, saga: AnySaga, words: Sequence[str], without: Sequence[str], services: AnyServices
) -> list[str] | None:
    """Return the command that does the same, where the saga and the services can be named on a command line."""
    if not isinstance(saga, str) or not (services is None or isinstance(services, str)):
        return None
    module = [] if services is None else ["--services", services]
    return ["choreo", name, saga, *words, *(word for each in without for word in ("--without", each)), *module]


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]

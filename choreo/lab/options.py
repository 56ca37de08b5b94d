"""Options of an exploration or a simulation: faults, guarantees to switch off, services.

Laws: pure; an error says what was expected and what came, before the run.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from choreo.lab.simulate.campaign import rates_of
from choreo.lab.simulate.faults import RATE, USUAL
from choreo.saga.definition import FaultKind, Faults, Saga
from choreo.saga.file.errors import quoted, suggestion
from choreo.saga.guarantees import Guarantees
from choreo.saga.usage import UsageError

BUDGET_MAX = 20


def with_guarantees(definition: Saga, on: list[str] | None, off: list[str] | None) -> Saga:
    """Return the definition with these guarantees switched on and off. Raises `UsageError`."""
    changes: dict[str, bool] = {}
    for names, value, where in ((on, True, "--with"), (off, False, "--without")):
        for name in _split(names):
            if name not in Guarantees.__struct_fields__:
                known = ", ".join(Guarantees.__struct_fields__)
                hint = suggestion(name, Guarantees.__struct_fields__)
                raise UsageError(where, f"expected a guarantee ({known}), got {quoted(name)}{hint}")
            if changes.setdefault(name, value) != value:
                raise UsageError(where, f"expected {name} with or without, got both")
    return replace(definition, guarantees=replace(definition.guarantees, **changes)) if changes else definition


def with_faults(definition: Saga, kinds: list[str] | None, budget: int | None) -> Saga:
    """Return the definition with these kinds of faults, and that budget. Raises `UsageError`."""
    faults = definition.faults
    if kinds is not None:
        faults = replace(faults, kinds=tuple(_kind(name) for name in _split(kinds)))
    elif not faults.kinds and budget:
        faults = Faults(USUAL)
    if budget is not None:
        if not 0 <= budget <= BUDGET_MAX:
            raise UsageError("--max-faults", f"expected a number from 0 to {BUDGET_MAX}, got {budget}")
        faults = replace(faults, budget=budget)
    return replace(definition, faults=faults)


def rates(definition: Saga, given: list[str] | None) -> Mapping[FaultKind, float]:
    """Return the rates of `--faults drop=0.05,crash=0.1`, or the usual ones. Raises `UsageError`."""
    return rates_of(definition) if given is None else rates_in(given)


def rates_in(given: list[str]) -> Mapping[FaultKind, float]:
    """Parse the rates of `drop=0.05,crash=0.1`. Raises `UsageError`."""
    wanted: dict[FaultKind, float] = {}
    for word in _split(given):
        name, equals, text = word.partition("=")
        rate = _rate(text, word) if equals else RATE
        wanted[_kind(name)] = rate
    if sum(wanted.values()) > 1:
        raise UsageError("--faults", f"expected rates that come to 1 at most, got {sum(wanted.values()):g}")
    return wanted


def _rate(text: str, word: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise UsageError("--faults", f"expected a rate from 0 to 1, such as drop=0.05, got {quoted(word)}")
    return rate


def _kind(name: str) -> FaultKind:
    try:
        return FaultKind(name)
    except ValueError:
        known = ", ".join(FaultKind)
        hint = suggestion(name, list(FaultKind))
        raise UsageError("--faults", f"expected a kind of fault ({known}), got {quoted(name)}{hint}") from None


def _split(words: list[str] | None) -> list[str]:
    return [part.strip() for word in words or () for part in word.split(",") if part.strip()]


def with_services(definition: Saga, module: object) -> Saga:
    """Return the definition; with given services, each step without a `service` gets the one of its own name."""
    if module is None:
        return definition
    steps = (replace(step, service=step.name) if step.service is None else step for step in definition.steps)
    return replace(definition, steps=tuple(steps))

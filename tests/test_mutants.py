"""The tools find bugs: small ones are planted in the protocol, and the explorer finds each of them, by looking at every
state, so that no seed and no luck is involved."""

import pytest

from choreo.compile import STYLES
from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.saga.definition import Saga
from services import catalogue
from tests.lab_sagas import SUITE
from tests.mutants import MUTANTS, Mutant


def first_violation(suite: dict[str, Saga]) -> tuple[str, Report] | None:
    """Return the first saga of the suite with a violation, in either style."""
    for name, definition in suite.items():
        for style in STYLES:
            report = Explorer(definition, style, catalogue()).explore()
            if report.verdict is not Conclusion.SAFE:
                return name, report
    return None


@pytest.mark.parametrize("name", SUITE)
@pytest.mark.parametrize("style", STYLES)
def test_without_a_bug_nothing_is_found(name: str, style: str) -> None:
    """Every state of every saga of the suite is safe, and every kind of fault has fired."""
    report = Explorer(SUITE[name], style, catalogue()).explore()

    assert report.verdict is Conclusion.SAFE, report.violations
    assert report.never_fired == ()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plant"), MUTANTS.items(), ids=list(MUTANTS))
def test_a_planted_bug_is_found(name: str, plant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thing changed, some state of some saga breaks an invariant, and the counterexample says which."""
    plant(monkeypatch)

    found = first_violation(SUITE)

    assert found is not None, f"survived: {name}"
    assert found[1].violations
    assert found[1].counterexample is not None


def test_there_are_enough_of_them() -> None:
    """At least twenty, in the participants, the styles, the coordinator, the orchestrator and the guarantees."""
    assert len(MUTANTS) >= 50

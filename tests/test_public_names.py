"""The public names of choreo: few, documented, and of the types that users rely on."""

import subprocess
import sys
from pathlib import Path

import pytest

import choreo

TYPED = Path(__file__).parent / "typed_api.py"
NAMES_MAX = 26


def test_the_public_names_are_few_and_each_is_documented() -> None:
    assert len(choreo.__all__) <= NAMES_MAX
    assert sorted(choreo.__all__) == sorted(dir(choreo))
    for name in choreo.__all__:
        assert name == "__version__" or getattr(choreo, name).__doc__, name


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    assert not hasattr(choreo, "explor")


@pytest.mark.slow
def test_the_types_of_the_public_names_are_as_users_rely_on() -> None:
    """mypy accepts the file, and finds nothing to ignore that is no error."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", str(TYPED)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout


def test_a_trace_of_a_run_is_checked() -> None:
    """And a planted bug is found: an undo without a failure."""
    run = choreo.run(["a", "b"], services=lambda step: Quiet(), fail="b")

    assert choreo.check(run.trace, choreo.Saga("saga", "a", "b")).holds
    backwards = [record for record in run.trace if record.event != "step.failed"]
    assert not choreo.check(backwards, choreo.Saga("saga", "a", "b")).holds


class Quiet:
    def execute(self, call: choreo.Call) -> None: ...

    def compensate(self, call: choreo.Call) -> None: ...

"""The wheel, as a project installs it that has a `services` package of its own, or none."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.stories import ROOT

pytestmark = pytest.mark.slow

OWN = """
class Ferries:
    def execute(self, reference): print("the ferry of this project")
    def compensate(self, reference, receipt): ...

def catalogue():
    ferries = Ferries()
    return lambda step: ferries
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed, without anything of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def choreo(site: Path, folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """`choreo …` in a folder; `-S`, so that nothing puts this checkout on the path."""
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{dependencies}", "COLUMNS": "100"}
    program = "import sys; from choreo.__main__ import main; sys.path.remove(''); main()"
    return subprocess.run(
        [sys.executable, "-S", "-c", program, *arguments],
        cwd=folder,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_but_choreo_stands_at_the_top_level(site: Path) -> None:
    """A project may have a package `services`, and a package `tests`."""
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"choreo"}


@pytest.mark.parametrize(
    "arguments",
    [("run", "book_flight", "book_hotel"), ("explore", "services.sagas:trip"), ("run", "services.sagas:order")],
    ids=["run", "explore", "definition"],
)
def test_the_services_that_come_with_choreo_are_found(site: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """By steps and as a module, as in a source checkout."""
    done = choreo(site, tmp_path, *arguments)

    assert done.returncode == 0, done.stderr
    assert "simulated: book" not in done.stdout


REQUEST = '{"type": "execute", "saga_id": "s", "steps": ["sail"]}\n'


@pytest.mark.parametrize("form", ["package", "module"])
@pytest.mark.parametrize("arguments", [("run", "sail"), ("node",), ("node", "--journal", "sagas.db")], ids=" ".join)
def test_a_project_with_services_of_its_own_has_these(
    site: Path, tmp_path: Path, form: str, arguments: tuple[str, ...]
) -> None:
    """Whichever face it uses."""
    file = tmp_path / ("services.py" if form == "module" else "services/__init__.py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(OWN)

    done = choreo(site, tmp_path, *arguments, given=REQUEST)

    assert done.returncode == 0, done.stderr
    assert "the ferry of this project" in done.stderr


def test_an_error_of_its_own_services_is_shown(site: Path, tmp_path: Path) -> None:
    """The services that come with choreo do not step in."""
    (tmp_path / "services.py").write_text("import nothing_of_that_name\n")

    done = choreo(site, tmp_path, "node", given=REQUEST)

    assert done.returncode == 2
    assert "No module named 'nothing_of_that_name'" in done.stderr

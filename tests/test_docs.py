"""The docs are run: every command prints what they say, every Python example passes, every link leads somewhere.

In a ```console block a line that begins with `$ ` is run in a shell, in a copy of the project; the lines below it are
what it prints, and `…` stands for any lines. A ```mermaid block below `<!-- mermaid: COMMAND -->` is what that
command prints. A ```python block below `<!-- file: NAME -->` is written to that file; any other is run, a page's
blocks one after the other.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import choreo

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if ".venv" not in path.parts)
BLOCK = re.compile(
    r"(?:<!-- (?:file: (?P<file>\S+)|mermaid: (?P<mermaid>[^\n]+)) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```",
    re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]+)?\)")
WIDTH = "100"
PYTHON_PAGE = ROOT / "docs" / "reference" / "python.md"

LONG = {
    "README.md",
    "docs/explanation/choreography-and-orchestration.md",
    "docs/explanation/durability.md",
    "docs/how-to/check-production-logs.md",
    "docs/how-to/find-a-bug.md",
    "docs/how-to/operate-a-journal.md",
    "docs/how-to/replay-a-seed.md",
    "docs/how-to/test-a-saga-with-pytest.md",
    "docs/reference/commands.md",
    "docs/reference/definition.md",
    "docs/tutorial.md",
}
"""The pages whose commands take more than a second."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


RUN = [pytest.param(page, marks=[pytest.mark.slow] if named(page) in LONG else []) for page in PAGES]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy of a user's project, to write new services into."""
    for name in ("choreo", "services", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "main.py", tmp_path)
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(project), "COLUMNS": WIDTH, "NO_COLOR": "1"}


def commands(text: str) -> list[tuple[str, str]]:
    """Yield each command of a console block, with its expected output."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def matches(expected: str, printed: str) -> bool:
    pattern = "".join(".*?" if part == "…\n" else re.escape(part) for part in re.split(r"(?m)^(…\n)", expected))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


@pytest.mark.parametrize("page", RUN, ids=named)
def test_what_a_page_says_is_what_happens(page: Path, project: Path) -> None:
    """Its blocks, from top to bottom."""
    program = ""
    for block in BLOCK.finditer(page.read_text()):
        language, text = block["language"], block["text"]
        if block["file"]:
            (project / block["file"]).write_text(text)
        elif language == "python":
            program += text
        elif language == "console" or block["mermaid"]:
            for command, expected in [(block["mermaid"], text)] if block["mermaid"] else commands(text):
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=project,
                    env=environment(project),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                printed = done.stdout
                assert matches(expected, printed), f"$ {command}\n{printed}"
    if program:
        subprocess.run([sys.executable, "-c", program], cwd=project, env=environment(project), check=True)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Within the project."""
    missing = [link for link, _ in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert missing == []


def test_a_page_that_says_something_else_is_found() -> None:
    """The checker itself: another text does not match, and the dots match any lines."""
    assert matches("one\n…\nfour\n", "one\ntwo\nthree\nfour\n")
    assert not matches("one\n…\nfour\n", "one\ntwo\n")
    assert not matches("one\n", "two\n")
    assert commands("$ echo a\na\n$ echo b\nb\n") == [("echo a", "a\n"), ("echo b", "b\n")]


def test_every_public_name_is_described() -> None:
    """In the reference of Python, as code."""
    described = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", PYTHON_PAGE.read_text()))))

    assert [name for name in choreo.__all__ if name not in described] == []


def test_every_page_that_the_code_names_exists() -> None:
    """A docstring may point to the docs."""
    sources = [*ROOT.glob("choreo/**/*.py"), *ROOT.glob("services/*.py"), ROOT / "main.py"]
    pages = {page for source in sources for page in re.findall(r"docs/[\w/.-]+\.md", source.read_text())}

    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []

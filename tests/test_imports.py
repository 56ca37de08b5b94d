"""Imports point one way, and each outside dependency has one owner."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.stories import ROOT

LAYERS = (
    "choreo.version",
    "choreo.saga",
    "choreo.protocol",
    "choreo.compile",
    "choreo.trace",
    "choreo.invariants",
    "choreo.storage",
    "choreo.runtime",
    "choreo.runtime.durable",
    "choreo.lab",
    "choreo.conformance",
    "choreo.analysis",
    "choreo.render",
    "choreo.api",
    "choreo.recorder",
    "choreo.comparison",
    "choreo.running",
    "choreo.checking",
    "choreo.laboratory",
    "choreo.lessons",
    "choreo.node",
    "choreo.terminal",
    "choreo.testing",
    "choreo.__main__",
    "choreo",
)
"""From left to right; a module imports from its own layer and those to the left. The last is the public surface."""

APART = {
    "choreo.trace": ("choreo.runtime", "choreo.runtime.durable"),
    "choreo.invariants": ("choreo.runtime", "choreo.runtime.durable"),
    "choreo.analysis": ("choreo.runtime", "choreo.runtime.durable", "choreo.lab"),
    "choreo.node": ("choreo.terminal", "choreo.testing"),
    "choreo.terminal": ("choreo.testing",),
    "choreo.testing": ("choreo.node", "choreo.terminal"),
    "choreo": ("choreo.node", "choreo.terminal", "choreo.__main__"),
}
"""To the left, and all the same not to be imported; or to the right, and named here once more."""

LAZY = {
    "choreo.node": ("choreo.trace", "choreo.storage", "choreo.runtime.durable"),
    "choreo.api": ("choreo.trace", "choreo.storage", "choreo.runtime.durable"),
    "choreo.terminal": ("choreo.node",),
    "choreo.__main__": ("choreo.node", "choreo.terminal"),
}
"""Imported only where it is needed, inside a function: a plain node starts without it."""

OWNERS = {
    "msgspec": ("choreo",),
    "pyee": ("choreo.runtime.bus",),
    "structlog": ("choreo.trace",),
    "typer": ("choreo.terminal",),
    "rich": ("choreo.render", "choreo.terminal"),
    "pytest": ("choreo.testing",),
    "random": ("choreo.lab.simulate.faults",),
    "secrets": (),
    "uuid": ("choreo.saga.codec.scalars",),
    "sqlite3": ("choreo.storage",),
    "asyncio": ("choreo.runtime",),
    "nats": (),
}
"""Owners of dependencies: modules that may import packages outside the standard library, or special ones."""

CLOCKS = ("asyncio", "datetime", "sched", "threading", "time")
IMPURE = (*CLOCKS, "io", "logging", "os", "pathlib", "select", "signal", "socket", "subprocess", "sys")
PURE = {"choreo.saga": IMPURE, "choreo.protocol": IMPURE, "choreo.compile": IMPURE, "services": CLOCKS}
"""No I/O, no clock."""

NO_PURITY = ("choreo.saga.file", "choreo.saga.calls.modules", "choreo.compile.cache", "choreo.saga.codec.scalars")
"""Part of a pure package, and all the same no part of its purity: reads definitions; measures objects in memory; names
the classes of times and paths."""


class Import(NamedTuple):
    """One import: the importing module, the imported one, the line, and whether it is deferred to a function call."""

    importer: str
    target: str
    line: int
    is_lazy: bool


def modules_in(root: Path) -> dict[str, Path]:
    """The modules of choreo and of the services below this folder, by name."""
    files = sorted(path for package in ("choreo", "services") for path in (root / package).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports_in(root: Path) -> list[Import]:
    """Every import of every module, wherever in the module it stands."""
    modules = modules_in(root)
    return [found for name, file in modules.items() for found in _imports_of(name, file, modules)]


def _imports_of(name: str, file: Path, modules: dict[str, Path]) -> Iterator[Import]:
    tree = ast.parse(file.read_text())
    lazy = {id(node) for scope in ast.walk(tree) if _is_lazy_scope(scope) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        for target in _targets_of(node, name, file, modules):
            yield Import(name, target, node.lineno, id(node) in lazy)


def _is_lazy_scope(node: ast.AST) -> bool:
    is_typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    return is_typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _targets_of(node: ast.AST, name: str, file: Path, modules: dict[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
    base = base if node.level else str(node.module)
    members = (f"{base}.{alias.name}" for alias in node.names)
    return [member if member in modules else base for member in members]


def violations_in(root: Path) -> list[str]:
    """Return the violations of the rules above, a line each."""
    return [
        f"{found.importer}:{found.line}: imports {found.target}, {why}"
        for found in imports_in(root)
        if (why := _objection(found)) is not None
    ]


def _objection(found: Import) -> str | None:
    """Why this import is wrong, or None if it is not."""
    top = found.target.split(".")[0]
    if found.importer.split(".")[0] == "services":
        objection = _objection_of_services(found, top)
    elif top == "services":
        objection = "but choreo knows no services"
    elif top == "choreo":
        objection = _objection_inside(found)
    else:
        objection = _objection_outside(found, top)
    return objection or _objection_of_purity(found, top)


def _objection_of_services(found: Import, top: str) -> str | None:
    if top == "services" or found.target == "choreo" or _is_within(found.target, ("choreo.saga",)):
        return None
    if top == "choreo" or top not in sys.stdlib_module_names or top in OWNERS:
        return "but services know the public names, the saga and the standard library only"
    return None


def _objection_inside(found: Import) -> str | None:
    mine, theirs = _layer_of(found.importer), _layer_of(found.target)
    if mine is None or theirs is None:
        return f"but {found.importer if mine is None else found.target} belongs to no layer"
    if LAYERS.index(theirs) > LAYERS.index(mine):
        return f"but {mine} stands to the left of {theirs}"
    if theirs in APART.get(mine, ()):
        return f"but {mine} does without {theirs}"
    if theirs in LAZY.get(mine, ()) and not found.is_lazy:
        return f"but {mine} imports {theirs} only where it is needed"
    return None


def _objection_outside(found: Import, top: str) -> str | None:
    if top in OWNERS:
        owners = OWNERS[top]
        return None if _is_within(found.importer, owners) else f"but the owner is {' and '.join(owners) or 'nobody'}"
    return None if top in sys.stdlib_module_names else "which has no owner"


def _objection_of_purity(found: Import, top: str) -> str | None:
    for part, impure in PURE.items():
        if _is_within(found.importer, (part,)) and top in impure and not _is_within(found.importer, NO_PURITY):
            return f"but {part} is pure"
    return None


def _layer_of(module: str) -> str | None:
    """The layer to which a module belongs, the innermost; the bare package is a layer of its own."""
    if module == "choreo":
        return module
    layers = [layer for layer in LAYERS if layer != "choreo" and _is_within(module, (layer,))]
    return max(layers, key=len, default=None)


def _is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def cycle_in(root: Path) -> list[str] | None:
    """Modules that import each other in a ring as they are loaded, or None."""
    graph: dict[str, list[str]] = {}
    for found in imports_in(root):
        if not found.is_lazy:
            graph.setdefault(found.importer, []).append(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        return list(cycle.args[1])
    return None


def test_imports_point_one_way() -> None:
    """In the order from the saga to the faces, no module imports from its right, or a dependency of another owner."""
    assert violations_in(ROOT) == []


def test_no_modules_import_each_other() -> None:
    """The modules have an order in which each comes after its dependencies."""
    assert cycle_in(ROOT) is None


def test_the_rules_are_applied_to_every_module() -> None:
    """The scan is complete: it finds the modules concerned and their imports."""
    found = {(each.importer, each.target) for each in imports_in(ROOT)}

    assert len(modules_in(ROOT)) > 20
    assert ("choreo.runtime.bus", "pyee") in found
    assert ("choreo.compile.choreography", "choreo.protocol.participant") in found
    assert any(each.importer == "services" or each.importer.startswith("services.") for each in imports_in(ROOT))


@pytest.mark.parametrize(
    ("file", "source", "objection"),
    [
        ("choreo/saga/bad.py", "import choreo.runtime.bus", "but choreo.saga stands to the left of choreo.runtime"),
        ("choreo/saga/bad.py", "from choreo import api", "imports choreo, but choreo.saga stands to the left of"),
        ("choreo/protocol/bad.py", "from ..compile import table", "imports choreo.compile, but choreo.protocol stands"),
        ("choreo/compile/bad.py", "def f():\n    from choreo.runtime import in_memory", "choreo.compile stands to the"),
        (
            "choreo/runtime/bad.py",
            "from choreo.runtime.durable.runner import DurableRunner",
            "but choreo.runtime stands to the left of choreo.runtime.durable",
        ),
        (
            "choreo/trace/bad.py",
            "from choreo.node import session",
            "but choreo.trace stands to the left of choreo.node",
        ),
        (
            "choreo/analysis/bad.py",
            "from choreo.runtime.in_memory import InProcessRunner",
            "but choreo.analysis does without choreo.runtime",
        ),
        ("choreo/render/bad.py", "import choreo.terminal.app", "but choreo.render stands to the left of"),
        ("choreo/node/bad.py", "def f():\n    import choreo.terminal.app", "choreo.node stands to the left of"),
        (
            "choreo/node/bad.py",
            "from choreo.trace.writer import Tracer",
            "imports choreo.trace only where it is needed",
        ),
        (
            "choreo/api.py",
            "from choreo.runtime.durable.runner import DurableRunner",
            "imports choreo.runtime.durable only where it is needed",
        ),
        (
            "choreo/__main__.py",
            "from choreo.terminal.app import main",
            "imports choreo.terminal only where it is needed",
        ),
        ("choreo/__init__.py", "from choreo.node.session import Session", "but choreo does without choreo.node"),
        ("choreo/terminal/bad.py", "import choreo", "but choreo.terminal stands to the left of choreo"),
        ("choreo/novel/bad.py", "import choreo.saga.plan", "but choreo.novel.bad belongs to no layer"),
        ("choreo/terminal/bad.py", "import choreo.novel", "but choreo.novel belongs to no layer"),
        (
            "choreo/runtime/bad.py",
            "from pyee.base import EventEmitter",
            "imports pyee.base, but the owner is choreo.runtime.bus",
        ),
        (
            "choreo/terminal/bad.py",
            "from choreo.node.session import Session",
            "imports choreo.node only where it is needed",
        ),
        ("choreo/testing/bad.py", "import choreo.terminal.app", "but choreo.testing does without choreo.terminal"),
        ("choreo/node/bad.py", "import structlog", "but the owner is choreo.trace"),
        ("choreo/trace/bad.py", "from rich.console import Console", "but the owner is choreo.render and"),
        ("choreo/runtime/bad.py", "from random import Random", "imports random, but the owner is choreo.lab.simulate"),
        ("choreo/runtime/bad.py", "import sqlite3", "imports sqlite3, but the owner is choreo.storage"),
        ("choreo/lab/bad.py", "import asyncio", "imports asyncio, but the owner is choreo.runtime"),
        ("choreo/runtime/bad.py", "import nats", "imports nats, but the owner is nobody"),
        ("choreo/runtime/bus.py", "import requests", "imports requests, which has no owner"),
        ("choreo/api.py", "import services.flights", "but choreo knows no services"),
        ("choreo/api.py", "def f():\n    from services import flights", "but choreo knows no services"),
        ("choreo/saga/bad.py", "import time", "but choreo.saga is pure"),
        ("choreo/protocol/bad.py", "import os", "but choreo.protocol is pure"),
        ("choreo/compile/bad.py", "import threading", "but choreo.compile is pure"),
        ("services/bad.py", "from choreo.runtime.bus import Bus", "but services know the public names, the saga and"),
        ("services/bad.py", "import msgspec", "but services know the public names, the saga and"),
        ("services/bad.py", "import random", "but services know the public names, the saga and"),
        ("services/bad.py", "from datetime import datetime", "but services is pure"),
    ],
)
def test_a_planted_violation_is_named(tmp_path: Path, file: str, source: str, objection: str) -> None:
    """The finding has the module's name, the line, and the broken rule."""
    _write(tmp_path, file, source)

    (violation,) = violations_in(tmp_path)

    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert violation.startswith(f"{module}:{len(source.splitlines())}: imports ")
    assert objection in violation


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("choreo/saga/good.py", "import msgspec\nfrom choreo.saga import plan"),
        ("choreo/saga/file/good.py", "import sys"),
        ("choreo/node/good.py", "def f():\n    from choreo.trace.writer import Tracer"),
        ("choreo/node/good.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import choreo.trace.writer"),
        ("choreo/terminal/good.py", "import typer\nfrom rich import print\nfrom choreo.render.screen import Screen"),
        ("choreo/__init__.py", "from choreo.runtime.in_memory import InProcessRunner"),
        ("choreo/runtime/bus.py", "from pyee import EventEmitter"),
        ("services/good.py", "from dataclasses import dataclass\nfrom choreo import Refused"),
    ],
)
def test_what_is_allowed_is_not_objected_to(tmp_path: Path, file: str, source: str) -> None:
    """A module that keeps the rules passes."""
    _write(tmp_path, file, source)

    assert violations_in(tmp_path) == []


def test_a_planted_cycle_is_named(tmp_path: Path) -> None:
    """Two modules of one layer that import each other are found; an import inside a function closes no ring."""
    _write(tmp_path, "choreo/saga/one.py", "import choreo.saga.two")
    _write(tmp_path, "choreo/saga/two.py", "def f():\n    import choreo.saga.one")

    before = cycle_in(tmp_path)
    _write(tmp_path, "choreo/saga/two.py", "from choreo.saga import one")
    after = cycle_in(tmp_path)

    assert before is None
    assert after is not None
    assert set(after) == {"choreo.saga.one", "choreo.saga.two"}


def _write(root: Path, file: str, source: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)

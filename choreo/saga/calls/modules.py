"""Import of the modules that users name: services, and definitions built in Python.

Laws: modules of the current directory count, and a `services` package there goes before the one that comes with choreo.
Every face imports through here, so all of them see the same module.
"""

import os
import sys
from importlib import import_module
from types import ModuleType

SERVICES = "services"
"""The package of the services that come with choreo, and of a project's own."""

SHIPPED = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), SERVICES)
"""Its place in an installed choreo; a source checkout has it beside the package `choreo`."""


def import_named(name: str) -> ModuleType:
    """Import a module by its name. Raises whatever the module raises."""
    here = os.getcwd()
    if name.partition(".")[0] != SERVICES:
        if here not in sys.path:
            sys.path.insert(0, here)
    elif _has_services(here):
        if sys.path[:1] not in ([here], [""]):
            sys.path.insert(0, here)
    elif SERVICES not in sys.modules and os.path.isdir(SHIPPED):
        _import_shipped()
    return import_module(name)


def _has_services(folder: str) -> bool:
    package, module = os.path.join(folder, SERVICES, "__init__.py"), os.path.join(folder, f"{SERVICES}.py")
    return os.path.isfile(package) or os.path.isfile(module)


def _import_shipped() -> None:
    """Import the services of an installed choreo under the name that they have in a source checkout."""
    from importlib.util import module_from_spec, spec_from_file_location  # slow to import, and seldom needed

    file = os.path.join(SHIPPED, "__init__.py")
    spec = spec_from_file_location(SERVICES, file, submodule_search_locations=[SHIPPED])
    assert spec is not None  # noqa: S101  # for mypy: a file with this suffix has a loader
    assert spec.loader is not None  # noqa: S101  # for mypy, likewise
    module = sys.modules[SERVICES] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[SERVICES]
        raise

"""Definitions: read from a file, from Python or from a lesson, checked, and their wiring looked through."""

from choreo.definitions.checking import check
from choreo.definitions.linting import Finding, lint
from choreo.definitions.reading import definition_from, read_definition
from choreo.definitions.writing import as_toml
from choreo.definitions.wrong import WrongDefinition

__all__ = ["Finding", "WrongDefinition", "as_toml", "check", "definition_from", "lint", "read_definition"]

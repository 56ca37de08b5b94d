"""Definitions: read from a TOML file, from Python or from a lesson, checked, and written."""

from choreo.saga.file.checking import check
from choreo.saga.file.errors import WrongDefinition
from choreo.saga.file.reading import checked_saga, definition_from, read_definition, read_toml
from choreo.saga.file.writing import as_toml

__all__ = ["WrongDefinition", "as_toml", "check", "checked_saga", "definition_from", "read_definition", "read_toml"]

"""Conformance: checks traces (choreo's own, CloudEvents, or JSON lines with a mapping) against the invariants."""

from choreo.conformance.mapping import Mapping, WrongMapping, read_mapping
from choreo.conformance.parsed_trace import NotOfThisSaga, ParsedTrace
from choreo.conformance.reading import Form, read_trace
from choreo.conformance.verdict import CheckReport, MissingEvents, check

__all__ = [
    "CheckReport",
    "Form",
    "Mapping",
    "MissingEvents",
    "NotOfThisSaga",
    "ParsedTrace",
    "WrongMapping",
    "check",
    "read_mapping",
    "read_trace",
]

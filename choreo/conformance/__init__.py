"""Conformance: checks traces (choreo's own, CloudEvents, or JSON lines with a mapping) against the invariants."""

from choreo.conformance.mapping import Mapping, WrongMapping, read_mapping
from choreo.conformance.parsed_trace import NotOfThisSaga, Told
from choreo.conformance.reading import Form, read_trace
from choreo.conformance.verdict import Deviation, Due, Judgement, check

__all__ = [
    "Deviation",
    "Due",
    "Form",
    "Judgement",
    "Mapping",
    "NotOfThisSaga",
    "Told",
    "WrongMapping",
    "check",
    "read_mapping",
    "read_trace",
]

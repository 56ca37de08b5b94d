"""Traces of any origin held against the invariants: choreo's own, CloudEvents, or any JSON lines with a mapping."""

from choreo.checking.mapping import Mapping, WrongMapping, read_mapping
from choreo.checking.reading import Form, read_trace
from choreo.checking.told import NotOfThisSaga, Told
from choreo.checking.verdict import Deviation, Due, Judgement, check

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

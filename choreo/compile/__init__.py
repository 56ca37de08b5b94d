"""Compiler of styles: each style compiles a plan to one table of subscriptions."""

from collections.abc import Mapping

from choreo.compile.choreography import choreography
from choreo.compile.orchestration import orchestration
from choreo.compile.table import Style, Table

__all__ = ["STYLES", "Style", "Table", "choreography", "orchestration"]

STYLES: Mapping[str, Style] = {"choreography": choreography, "orchestration": orchestration}

"""Check of a trace from Python: the invariants on the events of a run of any origin.

Laws: light to import; the reader of traces is imported by the first call. `choreo check` finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from choreo.conformance import CheckReport
    from choreo.saga.definition import Saga
    from choreo.trace.record import Record


def check(trace: str | Iterable[Record], saga: Saga | None = None) -> CheckReport:
    """Check a trace against every invariant.

    `trace`: a file, of choreo's own records or of CloudEvents, or records such as those of `SagaRun.trace`. `saga`: the
    saga that it is a trace of; without it the plan is inferred from the trace. `holds` of the report is true if nothing
    is violated. Raises `OSError` for a file that cannot be read, `NotATrace`, and `NotOfThisSaga`.
    """
    from choreo.conformance import Form, read_trace
    from choreo.conformance import check as check_parsed
    from choreo.trace.record import encode_record

    if isinstance(trace, str):
        with open(trace, "rb") as lines:
            return check_parsed(read_trace(lines, trace, Form.AUTO, None), saga)
    return check_parsed(read_trace(map(encode_record, trace), "trace", Form.AUTO, None), saga)

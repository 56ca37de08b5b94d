"""A parsed trace of any origin: records with their line numbers, run by run.

Laws: plain values. The order of the lines is the order of the events; no sorting here.
"""

from msgspec import Struct

from choreo.trace import vocabulary
from choreo.trace.record import Record


class NotOfThisSaga(ValueError):
    """A record names a step that the definition does not have."""


class Line(Struct, frozen=True, gc=False):
    """One record, and the number of its line in the file, counted from 1."""

    number: int
    record: Record


class ParsedRun(Struct):
    """One run: its records in order, and separately the effects of its steps on resources."""

    name: str
    saga_id: str | int | None = None
    process: int = 1
    """The process that executed it: 1 for the first of the processes that wrote the file in turn."""
    lines: list[Line] = []
    resources: list[Line] = []


class ParsedTrace(Struct):
    """A whole trace. `ignored` counts the lines that were not understood, by their word for the action.

    `resent` counts lines repeated with the same source and id, `missing` the gaps in the numbers of records, and
    `disorder` lists records in the wrong place. `has_…`: the kinds of records that the trace contains.
    """

    name: str
    form: str
    lines: int = 0
    runs: dict[str, ParsedRun] = {}
    ignored: dict[str, int] = {}
    resent: int = 0
    missing: int = 0
    disorder: list[str] = []
    has_deliveries: bool = False
    has_effects: bool = False
    has_replies: bool = False
    has_causes: bool = False

    def ignore(self, word: str) -> None:
        self.ignored[word] = self.ignored.get(word, 0) + 1

    def add(self, number: int, record: Record, key: str, process: int = 1) -> None:
        """Add a record to a run."""
        run = self.runs.get(key)
        if run is None:
            run = self.runs[key] = ParsedRun(key, process=process)
        if run.saga_id is None:
            run.saga_id = record.saga_id
        record.run = key
        if record.resource is not None:
            run.resources.append(Line(number, record))
            return
        run.lines.append(Line(number, record))
        match record.action:
            case vocabulary.DELIVER | vocabulary.TIMER:
                self.has_deliveries = self.has_effects = True
            case vocabulary.EXECUTE | vocabulary.COMPENSATE:
                self.has_effects = True
            case vocabulary.REPLY:
                self.has_replies = True
        if record.causation_id is not None:
            self.has_causes = True

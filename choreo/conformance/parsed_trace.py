"""What a trace tells, whoever wrote it: records with their line numbers, run by run.

Laws: plain values. The order of the lines is the order of what happened; nothing is sorted here.
"""

from msgspec import Struct

from choreo.trace.record import Record

OTHER = "other"
"""The action of a line that has no word of choreo's, and may all the same be the cause of one that has."""


class NotOfThisSaga(ValueError):
    """A record names a step that the definition does not have."""


class Line(Struct, frozen=True, gc=False):
    """One record, and the line of the file in which it stands, counted from 1."""

    number: int
    record: Record


class RunTold(Struct):
    """One run: its records in their order, and what its steps did to resources apart from them."""

    name: str
    saga_id: str | int | None = None
    process: int = 1
    """Which of the processes that wrote the file, one after the other, executed it."""
    lines: list[Line] = []
    resources: list[Line] = []


class Told(Struct):
    """A whole trace. `ignored` counts the lines that were not understood, by the word that they use for what happened.

    `resent` counts lines that came again with the same source and id, `missing` numbers of records that never came, and
    `disorder` says where a record stands in the wrong place. `has_…`: what the trace tells at all.
    """

    name: str
    form: str
    lines: int = 0
    runs: dict[str, RunTold] = {}
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
        """One more record of that run."""
        run = self.runs.get(key)
        if run is None:
            run = self.runs[key] = RunTold(key, process=process)
        if run.saga_id is None:
            run.saga_id = record.saga_id
        record.run = key
        if record.resource is not None:
            run.resources.append(Line(number, record))
            return
        run.lines.append(Line(number, record))
        match record.action:
            case "deliver" | "timer":
                self.has_deliveries = self.has_effects = True
            case "execute" | "compensate":
                self.has_effects = True
            case "reply":
                self.has_replies = True
        if record.causation_id is not None:
            self.has_causes = True

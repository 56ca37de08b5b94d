"""Timeline of a run: time since its start, participant, event received, events published in reaction.

Laws: one delivery is one line, and a reason one more below it; every line fits the width. Of a very long run only the
first and the last deliveries are shown.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.run_summary import RunSummary
from choreo.render.names import cut, cut_apart, padded
from choreo.render.screen import FAINT, STYLES, Screen
from choreo.terminal.views.durations import duration_text
from choreo.trace.record import Record
from choreo.trace.vocabulary import DELIVER, PUBLISH, RESUME, event_text, fact_of, fact_text

ROWS_MAX, ROWS_FIRST, ROWS_LAST = 150, 60, 40
WHO_MAX, HEARD_MIN, BELOW_MIN = 24, 24, 24


class Row(Struct, frozen=True):
    """One delivery, or a spontaneous action, which has no `heard`."""

    number: int
    offset_ms: int
    who: str
    heard: Record | None
    published: list[Record] = field(default_factory=list)

    @property
    def did_nothing(self) -> bool:
        return self.heard is not None and not self.published


def rows_of(summary: RunSummary) -> list[Row]:
    """Return every delivery in order; the first row is the request."""
    at_ms = {delivery.number: delivery.at_ms for delivery in summary.deliveries}
    begun_ms = summary.row.begun_ms
    rows: list[Row] = []
    for line in summary.history.lines:
        record, who = line.record, str(line.record.source)
        offset_ms = at_ms.get(line.number, begun_ms) - begun_ms
        if record.action == DELIVER:
            rows.append(Row(line.number, offset_ms, who, record))
        elif record.action in (PUBLISH, RESUME):
            if not rows or rows[-1].number != line.number:
                rows.append(Row(line.number, offset_ms, who, None))
            rows[-1].published.append(record)
    return rows


class Timeline:
    """Lays out the rows for a screen."""

    def __init__(self, screen: Screen, rows: Sequence[Row]) -> None:
        self._screen = screen
        self._rows = rows
        self._ellipsis = screen.glyphs.ellipsis
        names = list(dict.fromkeys(row.who for row in rows))
        texts = [screen.name(name) for name in names]
        self._who = min(max(map(cell_len, texts), default=0), WHO_MAX, screen.width // 5)
        self._labels = dict(zip(names, cut_apart(texts, self._who, self._ellipsis), strict=True))
        self._number = max((len(str(row.number)) for row in rows), default=1)
        self._offset = max((len(duration_text(row.offset_ms)) for row in rows), default=1)
        heard = [cell_len(self._heard(row)) for row in rows]
        self._heard_width = min(max(heard, default=0), max(HEARD_MIN, screen.width * 2 // 5))

    def lines(self) -> Iterator[Text]:
        rows = self._rows
        if len(rows) <= ROWS_MAX:
            yield from self._all(rows)
            return
        yield from self._all(rows[:ROWS_FIRST])
        left_out = len(rows) - ROWS_FIRST - ROWS_LAST
        yield Text(f"  {self._ellipsis} {left_out:,} more, which --json has", FAINT)
        yield from self._all(rows[-ROWS_LAST:])

    def _all(self, rows: Sequence[Row]) -> Iterator[Text]:
        for row in rows:
            line, published = self._begin(row), self._all_published(row)
            if line.cell_len + 2 + published.cell_len <= self._screen.width:
                yield _stripped(line + "  " + published)
            else:
                yield _stripped(line)
                yield from self._below(published)
            reason = next((each.reason for each in row.published if each.reason and each.step is not None), None)
            if reason is not None:
                yield from self._below(Text(self._screen.prose(reason), "red"))

    def _begin(self, row: Row) -> Text:
        """Return the beginning of a row: its number, its time, its participant, and the event received."""
        when = f"  {row.number:>{self._number}}  {duration_text(row.offset_ms):>{self._offset}}  "
        line = Text.assemble((when, FAINT))
        line.append(padded(self._label(row.who), self._who) + "  ")
        width = min(self._heard_width, self._screen.width - line.cell_len)
        line.append(padded(cut(self._heard(row), width, self._ellipsis), width), FAINT)
        return line

    def _all_published(self, row: Row) -> Text:
        texts = (Text(self._published(each), STYLES.get(fact_of(each.event), "")) for each in row.published)
        return Text(", ").join(texts)

    def _below(self, text: Text) -> Iterator[Text]:
        """Yield continuation lines, indented below the event received."""
        indent = " " * min(self._number + self._offset + self._who + 8, self._screen.width - BELOW_MIN)
        for line in self._screen.wrapped(text, 0, self._screen.width - len(indent)):
            yield Text(indent) + line

    def _label(self, name: str | None) -> str:
        return self._labels.get(str(name)) or self._screen.name(str(name))

    def _heard(self, row: Row) -> str:
        return "" if row.heard is None else f"{self._screen.glyphs.because} {self._event(row.heard)}"

    def _event(self, record: Record) -> str:
        return event_text(fact_of(record.event), self._step(record))

    def _published(self, record: Record) -> str:
        return fact_text(fact_of(record.event), self._step(record))

    def _step(self, record: Record) -> str | None:
        return None if record.step is None else self._label(record.step)


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line

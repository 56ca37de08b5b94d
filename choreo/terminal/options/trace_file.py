"""Records of one saga, selected from a trace of any size.

Laws: memory is bounded by the one saga, and a few similar names.
"""

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

from choreo.analysis.naming import enumerated
from choreo.saga.usage import UsageError
from choreo.terminal.options.trace_lines import bounded, opened
from choreo.trace.record import NotATrace, Record, read_records
from choreo.trace.vocabulary import PUBLISH

SIMILAR_MAX, SIMILAR_CHARACTERS, SIMILAR_FROM = 3, 60, 0.6


def events_of_saga(trace: str, saga_id: str, run: str | None = None) -> list[Record]:
    """Return the events of a saga, or of one run of it. Raises `UsageError` for no such saga, or no trace."""
    alike = Alike(saga_id)
    try:
        with opened(trace) as lines:
            found = list(_of_saga(read_records(bounded(lines, trace, "a trace record"), trace), saga_id, alike))
    except NotATrace as error:
        raise UsageError("TRACE", str(error)) from None
    except OSError as error:
        raise UsageError("TRACE", f"expected a file that can be read, got {trace!r} ({error.strerror})") from None
    if not found:
        raise UsageError("SAGA_ID", f"expected the saga_id of a saga in {trace}, got {saga_id!r}{alike.suggestion()}")
    return found if run is None else _of_run(found, run)


def _of_run(events: list[Record], run: str) -> list[Record]:
    found = [event for event in events if event.run == run]
    if not found:
        runs = enumerated([str(name) for name in dict.fromkeys(event.run for event in events)])
        raise UsageError("--run", f"expected a run of this saga ({runs}), got {run!r}")
    return found


def _of_saga(records: Iterable[Record], saga_id: str, alike: "Alike") -> Iterator[Record]:
    for record in records:
        if record.action != PUBLISH or record.id is None:
            continue
        name = text_of(record.saga_id)
        if name == saga_id:
            yield record
        elif name is not None:
            alike.meet(name)


def text_of(saga_id: str | int | None) -> str | None:
    """Return the id as a caller would type it."""
    if saga_id is None or isinstance(saga_id, str):
        return saga_id
    try:
        return str(saga_id)
    except ValueError:  # more digits than Python converts to text
        return hex(saga_id)


class Alike:
    """Closest matches: keeps the few names most similar to a given one, out of any number."""

    def __init__(self, name: str, nothing: str = "the trace tells of no saga") -> None:
        """Set the name to match. `nothing` is the error text for an empty set of names."""
        self._nothing = nothing
        self._matcher = SequenceMatcher(b=name[:SIMILAR_CHARACTERS])
        self._best: list[tuple[float, str]] = []
        self._last: str | None = None
        self.is_empty = True

    def meet(self, name: str) -> None:
        if name == self._last:
            return
        self._last, self.is_empty = name, False
        ratio = self._ratio(name[:SIMILAR_CHARACTERS])
        if ratio >= SIMILAR_FROM and all(name != other for _, other in self._best):
            self._best = sorted([*self._best, (ratio, name)], key=lambda pair: -pair[0])[:SIMILAR_MAX]

    def suggestion(self) -> str:
        if self.is_empty:
            return f"; {self._nothing}"
        names = " or ".join(repr(name[:SIMILAR_CHARACTERS]) for _, name in self._best)
        return f"; did you mean {names}?" if names else ""

    def _ratio(self, name: str) -> float:
        """Return the similarity; tries cheap upper bounds first, since most names are very different."""
        matcher = self._matcher
        matcher.set_seq1(name)
        for bound in (matcher.real_quick_ratio, matcher.quick_ratio):
            if bound() < SIMILAR_FROM:
                return 0.0
        return matcher.ratio()

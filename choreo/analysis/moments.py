"""Moments of a history: a record that opens a message, with the records that follow from it.

Laws: pure. Relates each fault to the deliveries that it affected, so that a fault is told once, and never left out.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    CALLS,
    CRASH,
    DEAD_LETTER,
    DELAY,
    DROP,
    DUPLICATE,
    INVARIANT,
    PARTITION,
    POISON,
    PUBLISH,
    RECEIPTS,
    RESOURCE_ACTIONS,
    STEP_ATTEMPT,
    TIMER,
    UNREADABLE,
)

EFFECTS = (*CALLS, *RESOURCE_ACTIONS, INVARIANT)
LOST = (DROP, PARTITION)
CANNOT_BE_READ = (POISON, UNREADABLE)
ARRIVALS = (*RECEIPTS, *LOST, *CANNOT_BE_READ, CRASH, DUPLICATE, DELAY)
"""Actions of a record that deliver an event to its subscriber, or prevent or defer the delivery."""

Key = tuple[str | None, str | None]
"""Id of an event and its subscriber."""


class Moment(Struct, eq=False):
    """A record that opens a message, the effects of services that follow, and the events published then."""

    head: Record
    effects: list[Record] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    marks: tuple[str, ...] = ()
    """Faults of this delivery, as text."""
    is_told_elsewhere: bool = False
    matters: bool = False
    """Shown even without effect: its subscriber's local transaction was running."""
    is_struck: bool = False
    times: int = 1
    """Number of failed attempts to decode it."""

    @property
    def key(self) -> Key:
        return self.head.id, self.head.source

    @property
    def did_nothing(self) -> bool:
        return not self.effects and not self.published

    def read_again(self, moment: "Moment") -> None:
        """Merge another failed attempt to decode the same delivery."""
        moment.is_told_elsewhere = True
        self.times += self.head.action == UNREADABLE
        self.head = replace(moment.head, seq=self.head.seq)


def moments_of(records: Iterable[Record]) -> list[Moment]:
    """Return the moments of a history, each fault related to its deliveries."""
    moments = list(_grouped(records))
    _relate(moments)
    _mark_those_at_work(moments)
    return moments


def run_of(record: Record) -> str:
    return record.run or ""


def _grouped(records: Iterable[Record]) -> Iterator[Moment]:
    moment: Moment | None = None
    for record in records:
        if moment is not None and record.action in EFFECTS:
            moment.effects.append(record)
        elif moment is not None and record.action == PUBLISH and moment.head.action in (*RECEIPTS, DEAD_LETTER):
            moment.published.append(record)
        else:
            if moment is not None:
                yield moment
            moment = Moment(record)
    if moment is not None:
        yield moment


class _Coming(Struct, frozen=True, eq=False):
    """Expected delivery: the fault marks that it will show, and the faults that those marks report."""

    marks: tuple[str, ...] = ()
    causes: tuple[Moment, ...] = ()


_AGAIN = _Coming(("again",))


def _relate(moments: Iterable[Moment]) -> None:
    """Attach each delay and duplication to the deliveries that it caused, and each crash to the delivery that it
    interrupted.
    """
    coming: dict[Key, list[_Coming]] = {}
    unread: dict[Key, Moment] = {}
    before: Moment | None = None
    for moment in moments:
        action, key = moment.head.action, moment.key
        if action == CRASH and before is not None and before.head.action in RECEIPTS and before.key == key:
            moment.is_struck = before.is_told_elsewhere = before.did_nothing
            moment.marks = before.marks if before.did_nothing else ()
            coming.setdefault(key, []).append(_AGAIN)
        elif action in CANNOT_BE_READ and key in unread:
            unread[key].read_again(moment)
        elif action == DEAD_LETTER:
            unread.pop(key, None)
        elif action in ARRIVALS:
            expected = coming.setdefault(key, [])
            arrived = expected.pop(0) if expected else _Coming()
            expected += _expected_after(moment, arrived)
            if action in CANNOT_BE_READ:
                unread[key] = moment
        before = moment


def _expected_after(moment: Moment, arrived: _Coming) -> list[_Coming]:
    """Return the deliveries still expected after this arrival or fault."""
    action = moment.head.action
    if action == DELAY:
        marks = [mark for mark in arrived.marks if mark != "late"]
        return [_Coming((*marks, "late"), (*arrived.causes, moment))]
    if action == DUPLICATE:
        return [arrived, _Coming(("twice",), (moment,))]
    for cause in arrived.causes:
        cause.is_told_elsewhere = True
    moment.marks = arrived.marks
    moment.is_struck = action == CRASH
    return [_AGAIN] if action == CRASH or action in LOST else []


def _mark_those_at_work(moments: Iterable[Moment]) -> None:
    """Mark every delivery to a participant whose local transaction is running, so that it is shown even without
    effect.
    """
    at_work: dict[tuple[str, str | None], None] = {}
    for moment in moments:
        head, subscriber = moment.head, (run_of(moment.head), moment.head.source)
        if head.action == TIMER and head.event == STEP_ATTEMPT:
            at_work.pop(subscriber, None)
        moment.matters = subscriber in at_work and head.action in RECEIPTS
        for record in moment.published:
            if record.event == STEP_ATTEMPT:
                at_work[run_of(record), record.source] = None

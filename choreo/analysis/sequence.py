"""Sequence of one history of the lab, from its trace records alone: each happening is one line of the diagram.

Laws: pure; knows no screen. A delivery and the subscriber's reaction to it are one happening. Names and every other
text from outside pass through `show` before they become part of a text. A fault is never left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import replace

from choreo.protocol.event import Timer
from choreo.saga.roles import CLIENT, COORDINATOR, DEAD_LETTERS, IDEMPOTENT_RECEIVER, ORCHESTRATOR
from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    CALLS,
    CRASH,
    DEAD_LETTER,
    DELAY,
    DELIVER,
    DROP,
    DUPLICATE,
    EXECUTE,
    LOCK,
    OPERATOR,
    PARTITION,
    POISON,
    PUBLISH,
    READ,
    RECEIPTS,
    RELEASE,
    RESOURCE_ACTIONS,
    RESTART,
    RESUME,
    STEP_ATTEMPT,
    TIMER,
    TIMERS,
    UNREADABLE,
    event_text,
    fact_of,
)

Show = Callable[[str], str]

AT_THE_RIGHT = (COORDINATOR, IDEMPOTENT_RECEIVER, DEAD_LETTERS, OPERATOR)

IN_WORDS = {
    str(Timer.ATTEMPT): "is done",
    str(Timer.RETRY): "tries again",
    str(Timer.TIMED_OUT): "time is up",
    str(Timer.ASK): "asks again",
}
"""Timer events of a participant, in words for the reader of a diagram."""

NOTES = (*CALLS, *RESOURCE_ACTIONS)

CRASHED = {
    "before": "crashes before it did anything",
    "unpublished": "crashes between commit and publish",
    "uncommitted": "crashes between publish and commit",
    "after": "crashes after commit and publish",
}
LOST = {DROP: "lost", PARTITION: "lost: cut off"}
CANNOT_BE_READ = (POISON, UNREADABLE)
ARRIVALS = (*RECEIPTS, *LOST, *CANNOT_BE_READ, CRASH, DUPLICATE, DELAY)
"""Actions of a record that deliver an event to its subscriber, or prevent or defer the delivery."""


class Form(Enum):
    """Shape of a happening in the diagram."""

    ARROW = "arrow"
    """From the publisher to the subscriber."""
    TIMER = "timer"
    """A timer that a participant set for itself, or a delivery of unknown publisher."""
    DOT = "dot"
    """A published event whose delivery is not drawn."""
    SPOT = "spot"
    """A fault or restart of one participant."""


class Arrival(Enum):
    """Result of a delivery."""

    HEARD = "heard"
    IGNORED = "ignored"
    """Delivered without effect."""
    LOST = "lost"
    STRUCK = "struck"
    """The subscriber crashed during the delivery, or could not decode the event."""


class Tone(Enum):
    PLAIN = "plain"
    SEEN = "seen"
    """Already visible in a diagram with lifelines."""
    BAD = "bad"
    PUBLISHED = "published"
    """A published event whose delivery is not drawn here."""


DEEDS_ORDER = (Tone.BAD, Tone.SEEN, Tone.PLAIN)
"""Order of the texts: effects on the local transaction first, effects on the resources last."""


class Word(Struct, frozen=True):
    """Short text about a happening, safe to display."""

    text: str
    tone: Tone = Tone.PLAIN


class Happening(Struct, frozen=True):
    """One line of the sequence. `number` is that of its first record; `fact` is the event published or delivered.

    `who` is the subscriber, or the participant that a fault hit; `source` is the publisher, where it is another
    participant. `in_force` are the steps whose local transaction is in force in this run from now on, `in_doubt` the
    steps whose effect is unknown.
    """

    number: int
    run: str
    form: Form
    who: str
    source: str | None
    fact: str
    told: str
    """The fact with its publisher: `charge succeeded`."""
    arrival: Arrival
    words: tuple[Word, ...]
    in_force: frozenset[str]
    in_doubt: frozenset[str] = frozenset()

    @property
    def is_bad(self) -> bool:
        """Return whether the delivery was lost or struck by a fault."""
        return self.arrival in (Arrival.LOST, Arrival.STRUCK)

    @property
    def participants(self) -> tuple[str, ...]:
        return (self.who,) if self.source is None else (self.source, self.who)


def happenings(records: Iterable[Record], show: Show, show_all: bool = False) -> list[Happening]:
    """Return the happenings in order. Deliveries without effect are left out, unless `show_all`."""
    return _Teller(list(_moments(records)), show, show_all).told()


def runs_of(records: Iterable[Record]) -> dict[str, str]:
    """Return the runs of a history in order, each with a unique name: its saga id, or else its own id."""
    saga_of = {run_of(each): run_of(each) if each.saga_id is None else str(each.saga_id) for each in records}
    return saga_of if len(set(saga_of.values())) == len(saga_of) else {run: run for run in saga_of}


def run_of(record: Record) -> str:
    return record.run or ""


def in_order(participants: Iterable[str], records: Iterable[Record]) -> list[str]:
    """Return the participants from left to right: client, orchestrator, steps by their first positions, then the
    others.
    """
    position_of: dict[str, int] = {}
    for record in records:
        if record.step is not None and record.position is not None:
            position_of.setdefault(record.step, record.position)
    last = len(position_of)  # a step that only receives events comes after the steps that act

    def place(participant: str) -> tuple[int, int]:
        if participant in position_of:
            return 2, position_of[participant]
        if participant in AT_THE_RIGHT:
            return 3, AT_THE_RIGHT.index(participant)
        return {CLIENT: (0, 0), ORCHESTRATOR: (1, 0)}.get(participant, (2, last))

    return sorted(dict.fromkeys(participants), key=place)


def is_role(participant: str) -> bool:
    """Return whether the participant is a role and not a step. The names of roles are short and well known."""
    return participant in (CLIENT, ORCHESTRATOR, *AT_THE_RIGHT)


class _Moment(Struct, eq=False):
    """A record that opens a happening, with the records that follow from it."""

    head: Record
    notes: list[Record] = field(default_factory=list)
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
    def key(self) -> "_Key":
        return self.head.id, self.head.source

    @property
    def did_nothing(self) -> bool:
        return not self.notes and not self.published

    def read_again(self, moment: "_Moment") -> None:
        """Merge another failed attempt to decode the same delivery."""
        moment.is_told_elsewhere = True
        self.times += self.head.action == UNREADABLE
        self.head = replace(moment.head, seq=self.head.seq)


_Key = tuple[str | None, str | None]
"""Id of an event and its subscriber."""


class _Coming(Struct, frozen=True, eq=False):
    """Expected delivery: the fault marks that it will show, and the faults that those marks report."""

    marks: tuple[str, ...] = ()
    causes: tuple[_Moment, ...] = ()


_AGAIN = _Coming(("again",))


def _come_of(moment: _Moment, arrived: _Coming) -> list[_Coming]:
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


def _moments(records: Iterable[Record]) -> Iterator[_Moment]:
    moment: _Moment | None = None
    for record in records:
        if moment is not None and record.action in NOTES:
            moment.notes.append(record)
        elif moment is not None and record.action == PUBLISH and moment.head.action in (*RECEIPTS, DEAD_LETTER):
            moment.published.append(record)
        else:
            if moment is not None:
                yield moment
            moment = _Moment(record)
    if moment is not None:
        yield moment


class _Teller:
    """Builds happenings from moments. First relates each fault to the deliveries that it affected."""

    def __init__(self, moments: Sequence[_Moment], show: Show, show_all: bool) -> None:
        self._moments, self._show, self._show_all = moments, show, show_all
        self._publisher_of = {
            record.id: record.source
            for moment in moments
            for record in (moment.head, *moment.published)
            if record.action == PUBLISH
        }
        self._arriving = {moment.head.id for moment in moments if moment.head.action != PUBLISH}
        self._standing: dict[str, dict[str, int]] = {}
        """By run and step: how often the local transaction was executed and not compensated."""
        self._in_doubt: dict[str, set[str]] = {}
        """By run: the steps whose answer is unknown and that are not undone."""

    def told(self) -> list[Happening]:
        self._relate()
        self._look_for_those_at_work()
        kept = [moment for moment in self._moments if self._is_kept(moment)]
        arrives = {moment.head.id: index for index, moment in enumerate(kept) if moment.head.action != PUBLISH}
        return [self._tell(moment, index, arrives) for index, moment in enumerate(kept)]

    # Relating faults and deliveries

    def _relate(self) -> None:
        """Attach each delay and duplication to the deliveries that it caused, and each crash to the delivery that it
        interrupted.
        """
        coming: dict[_Key, list[_Coming]] = {}
        unread: dict[_Key, _Moment] = {}
        before: _Moment | None = None
        for moment in self._moments:
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
                expected += _come_of(moment, arrived)
                if action in CANNOT_BE_READ:
                    unread[key] = moment
            before = moment

    def _look_for_those_at_work(self) -> None:
        """Mark every delivery to a participant whose local transaction is running, so that it is shown even without
        effect.
        """
        at_work: dict[tuple[str, str | None], None] = {}
        for moment in self._moments:
            head, hearer = moment.head, (run_of(moment.head), moment.head.source)
            if head.action == TIMER and head.event == STEP_ATTEMPT:
                at_work.pop(hearer, None)
            moment.matters = hearer in at_work and head.action in RECEIPTS
            for record in moment.published:
                if record.event == STEP_ATTEMPT:
                    at_work[run_of(record), record.source] = None

    def _is_kept(self, moment: _Moment) -> bool:
        if moment.is_told_elsewhere:
            return False
        head = moment.head
        if head.action == PUBLISH:
            return head.id not in self._arriving and not self._is_timer(head)
        return head.action not in (DELIVER, TIMER) or self._is_worth_telling(moment)

    def _is_worth_telling(self, moment: _Moment) -> bool:
        return self._show_all or moment.matters or bool(moment.marks) or not moment.did_nothing

    # Building happenings

    def _tell(self, moment: _Moment, index: int, arrives: dict[str | None, int]) -> Happening:
        head = moment.head
        who = "" if head.source is None else head.source
        source = self._publisher_of.get(head.id, head.step)
        source = None if source == who else source
        form = self._form(moment, source)
        if form is Form.DOT and source is not None:
            who, source = source, None
        words = [*self._faults(moment), *sorted(self._deeds(moment), key=lambda word: DEEDS_ORDER.index(word.tone))]
        words += [
            Word(self._fact(record), Tone.PUBLISHED)
            for record in moment.published
            if not self._is_timer(record) and arrives.get(record.id, -1) <= index
        ]
        run = run_of(head)
        in_force = frozenset(step for step, times in self._standing.get(run, {}).items() if times)
        return Happening(
            head.seq,
            run,
            form,
            who,
            source if form is Form.ARROW else None,
            self._fact(head),
            self._told(head),
            self._arrival(moment),
            tuple(words),
            in_force,
            frozenset(self._in_doubt.get(run, ())),
        )

    def _form(self, moment: _Moment, source: str | None) -> Form:
        action = moment.head.action
        if action in (PUBLISH, DUPLICATE, DELAY, RESUME):
            return Form.DOT
        if action in (RESTART, DEAD_LETTER) or (action == CRASH and not moment.is_struck):
            return Form.SPOT
        return Form.TIMER if source is None or self._is_timer(moment.head) else Form.ARROW

    def _arrival(self, moment: _Moment) -> Arrival:
        action = moment.head.action
        if action in LOST:
            return Arrival.LOST
        if action in (CRASH, DEAD_LETTER, *CANNOT_BE_READ):
            return Arrival.STRUCK
        return Arrival.IGNORED if action in (DELIVER, TIMER) and moment.did_nothing else Arrival.HEARD

    def _faults(self, moment: _Moment) -> Iterator[Word]:
        """Yield the faults of a moment, and recovery from them."""
        head = moment.head
        for mark in moment.marks:
            yield Word(mark, Tone.BAD)
        if head.action == CRASH:
            reason = head.reason or ""
            yield Word(CRASHED.get(reason) or f"crashes {self._show(reason)}".rstrip(), Tone.BAD)
        elif head.action in LOST:
            yield Word(f"lost: {self._show(head.reason)}" if head.reason else LOST[head.action], Tone.BAD)
        elif head.action in CANNOT_BE_READ:
            yield Word("cannot be read" if moment.times == 1 else f"cannot be read ({moment.times} times)", Tone.BAD)
        elif head.action == DEAD_LETTER:
            yield Word("put aside as a dead letter", Tone.BAD)
        elif head.action == DUPLICATE:
            yield Word("on its way twice", Tone.BAD)
        elif head.action == DELAY:
            yield Word("late", Tone.BAD)
        elif head.action == RESTART:
            yield Word("is up again")

    def _deeds(self, moment: _Moment) -> Iterator[Word]:
        """Yield the calls of services and the effects on the resources."""
        for note in moment.notes:
            standing = self._standing.setdefault(run_of(note), {})
            if note.action in CALLS:
                yield self._transaction(note, standing)
            else:
                yield Word(self._resource(note))

    def _transaction(self, note: Record, standing: dict[str, int]) -> Word:
        """Describe a local transaction or its compensation, and update the steps in force and in doubt."""
        step, in_doubt = note.step or "", self._in_doubt.setdefault(run_of(note), set())
        times = standing.get(step, 0)
        if note.action == EXECUTE:
            if note.reason is not None:
                if note.in_doubt:
                    in_doubt.add(step)
                return Word(self._show(note.reason), Tone.BAD)
            standing[step] = times + 1
            in_doubt.discard(step)
            return Word("executed again", Tone.BAD) if times else Word("executed", Tone.SEEN)
        if note.reason is not None:
            return Word(f"not undone: {self._show(note.reason)}", Tone.BAD)
        if step in in_doubt:
            in_doubt.remove(step)
            return Word("undone")
        standing[step] = max(times - 1, 0)
        return Word("compensated", Tone.SEEN) if times else Word("compensated, and was not in force", Tone.BAD)

    def _resource(self, note: Record) -> str:
        name = self._show(note.resource or "")
        if note.action in (LOCK, RELEASE):
            return f"{'locks' if note.action == LOCK else 'frees'} {name}"
        value = name if note.value is None else f"{name} {self._show(str(note.value))}"
        return f"reads {value}" if note.action == READ else value

    def _is_timer(self, record: Record) -> bool:
        return fact_of(record.event) in TIMERS

    def _fact(self, record: Record) -> str:
        fact = fact_of(record.event)
        return IN_WORDS.get(fact) or self._show(fact)

    def _told(self, record: Record) -> str:
        return event_text(self._fact(record), None if record.step is None else self._show(record.step))

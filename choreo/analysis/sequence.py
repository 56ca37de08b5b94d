"""What happened in one history of the lab, from its trace records alone: each happening is one line of its picture.

Laws: pure; knows no screen. A delivery and what its hearer did because of it are one happening. Names and every other
text from outside pass through `show` before they become part of a text. A fault is never left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import replace

from choreo.protocol.event import Command, Timer
from choreo.trace.record import Record

Show = Callable[[str], str]

CLIENT, ORCHESTRATOR = "client", "orchestrator"
AT_THE_RIGHT = ("coordinator", "front door", "dead letters", "operator")

TIMERS = frozenset(Timer)
IN_WORDS = {
    str(Timer.ATTEMPT): "is done",
    str(Timer.RETRY): "tries again",
    str(Timer.TIMED_OUT): "time is up",
    str(Timer.ASK): "asks again",
}
"""What a participant tells itself, in the words of whoever looks on."""
COMMANDS = frozenset(Command)

HEARD = ("deliver", "timer", "reply")
NOTES = ("execute", "compensate", "read", "write", "lock", "release")

CRASHED = {
    "before": "crashes before it did anything",
    "unpublished": "crashes between commit and publish",
    "uncommitted": "crashes between publish and commit",
    "after": "crashes after commit and publish",
}
LOST = {"drop": "lost", "partition": "lost: cut off"}
CANNOT_BE_READ = ("poison", "unreadable")
ARRIVALS = (*HEARD, *LOST, *CANNOT_BE_READ, "crash", "duplicate", "delay")
"""An event reaches its hearer, or something prevents it."""


class Form(Enum):
    """How a happening is drawn."""

    ARROW = "arrow"
    """From who published something to who heard it."""
    TIMER = "timer"
    """What a participant told itself to do later, or nobody knows who told it."""
    DOT = "dot"
    """Published, and no arrival of it is drawn."""
    SPOT = "spot"
    """Something befalls one participant."""


class Arrival(Enum):
    """What became of a delivery."""

    HEARD = "heard"
    IGNORED = "ignored"
    """Heard, and nothing came of it."""
    LOST = "lost"
    STRUCK = "struck"
    """Its hearer crashed over it, or could not read it."""


class Tone(Enum):
    PLAIN = "plain"
    SEEN = "seen"
    """A picture with lifelines shows this already."""
    BAD = "bad"
    PUBLISHED = "published"
    """A fact that was published; nobody is seen hearing it."""


DEEDS_ORDER = (Tone.BAD, Tone.SEEN, Tone.PLAIN)
"""First what became of the local transaction, then what happened to the resources."""


class Word(Struct, frozen=True):
    """A few words about a happening, fit to be shown."""

    text: str
    tone: Tone = Tone.PLAIN


class Happening(Struct, frozen=True):
    """One thing that happened. `number` is that of its first record; `fact` is what was published or heard.

    `who` heard it, or it befell them; `source` published it, where that is somebody else. `in_force` are the steps
    whose local transaction is in force in this run from now on, `in_doubt` those of which nobody knows.
    """

    number: int
    run: str
    form: Form
    who: str
    source: str | None
    fact: str
    told: str
    """The fact with who says it: `charge succeeded`."""
    arrival: Arrival
    words: tuple[Word, ...]
    in_force: frozenset[str]
    in_doubt: frozenset[str] = frozenset()

    @property
    def is_bad(self) -> bool:
        """Whether something went wrong on the way."""
        return self.arrival in (Arrival.LOST, Arrival.STRUCK)

    @property
    def participants(self) -> tuple[str, ...]:
        return (self.who,) if self.source is None else (self.source, self.who)


def happenings(records: Iterable[Record], show: Show, show_all: bool = False) -> list[Happening]:
    """What happened, in order. Deliveries of which nothing came are left out, unless `show_all`."""
    return _Teller(list(_moments(records)), show, show_all).told()


def runs_of(records: Iterable[Record]) -> dict[str, str]:
    """The runs of a history in order, each with the name that tells it apart: the caller's, or else its own."""
    saga_of = {run_of(each): run_of(each) if each.saga_id is None else str(each.saga_id) for each in records}
    return saga_of if len(set(saga_of.values())) == len(saga_of) else {run: run for run in saga_of}


def run_of(record: Record) -> str:
    return record.run or ""


def in_order(participants: Iterable[str], records: Iterable[Record]) -> list[str]:
    """The participants from left to right: client, orchestrator, the steps by their first positions, and the others."""
    position_of: dict[str, int] = {}
    for record in records:
        if record.step is not None and record.position is not None:
            position_of.setdefault(record.step, record.position)
    last = len(position_of)  # a step that only hears comes behind those that do something

    def place(participant: str) -> tuple[int, int]:
        if participant in position_of:
            return 2, position_of[participant]
        if participant in AT_THE_RIGHT:
            return 3, AT_THE_RIGHT.index(participant)
        return {CLIENT: (0, 0), ORCHESTRATOR: (1, 0)}.get(participant, (2, last))

    return sorted(dict.fromkeys(participants), key=place)


def is_role(participant: str) -> bool:
    """Whether it is no step; their names are short, and known to everybody."""
    return participant in (CLIENT, ORCHESTRATOR, *AT_THE_RIGHT)


class _Moment(Struct, eq=False):
    """A record that something begins with, and those that follow from it."""

    head: Record
    notes: list[Record] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    marks: tuple[str, ...] = ()
    """What is wrong with this delivery, in words."""
    is_told_elsewhere: bool = False
    matters: bool = False
    """Whether it is told although nothing came of it: its hearer was at work."""
    is_struck: bool = False
    times: int = 1
    """How often it could not be read."""

    @property
    def key(self) -> "_Key":
        return self.head.id, self.head.source

    @property
    def did_nothing(self) -> bool:
        return not self.notes and not self.published

    def read_again(self, moment: "_Moment") -> None:
        """It could not be read this time either."""
        moment.is_told_elsewhere = True
        self.times += self.head.action == "unreadable"
        self.head = replace(moment.head, seq=self.head.seq)


_Key = tuple[str | None, str | None]
"""An event and its hearer."""


class _Coming(Struct, frozen=True, eq=False):
    """A delivery that is still to come: what there will be to say of it, which tells of these causes."""

    marks: tuple[str, ...] = ()
    causes: tuple[_Moment, ...] = ()


_AGAIN = _Coming(("again",))


def _come_of(moment: _Moment, arrived: _Coming) -> list[_Coming]:
    """Something arrives, or a fault befalls it first: what is still to come because of that."""
    action = moment.head.action
    if action == "delay":
        marks = [mark for mark in arrived.marks if mark != "late"]
        return [_Coming((*marks, "late"), (*arrived.causes, moment))]
    if action == "duplicate":
        return [arrived, _Coming(("twice",), (moment,))]
    for cause in arrived.causes:
        cause.is_told_elsewhere = True
    moment.marks = arrived.marks
    moment.is_struck = action == "crash"
    return [_AGAIN] if action == "crash" or action in LOST else []


def _moments(records: Iterable[Record]) -> Iterator[_Moment]:
    moment: _Moment | None = None
    for record in records:
        if moment is not None and record.action in NOTES:
            moment.notes.append(record)
        elif moment is not None and record.action == "publish" and moment.head.action in (*HEARD, "dead_letter"):
            moment.published.append(record)
        else:
            if moment is not None:
                yield moment
            moment = _Moment(record)
    if moment is not None:
        yield moment


class _Teller:
    """Tells moments as happenings; first relates each fault to the deliveries that it befell."""

    def __init__(self, moments: Sequence[_Moment], show: Show, show_all: bool) -> None:
        self._moments, self._show, self._show_all = moments, show, show_all
        self._publisher_of = {
            record.id: record.source
            for moment in moments
            for record in (moment.head, *moment.published)
            if record.action == "publish"
        }
        self._arriving = {moment.head.id for moment in moments if moment.head.action != "publish"}
        self._standing: dict[str, dict[str, int]] = {}
        """By run and step, how often its local transaction was executed and not compensated."""
        self._in_doubt: dict[str, set[str]] = {}
        """By run, the steps whose answer is unknown, and that are not undone."""

    def told(self) -> list[Happening]:
        self._relate()
        self._look_for_those_at_work()
        kept = [moment for moment in self._moments if self._is_kept(moment)]
        arrives = {moment.head.id: index for index, moment in enumerate(kept) if moment.head.action != "publish"}
        return [self._tell(moment, index, arrives) for index, moment in enumerate(kept)]

    # What belongs together

    def _relate(self) -> None:
        """A delay and a doubling are told of the deliveries that come of them; a crash, of the one that it struck."""
        coming: dict[_Key, list[_Coming]] = {}
        unread: dict[_Key, _Moment] = {}
        before: _Moment | None = None
        for moment in self._moments:
            action, key = moment.head.action, moment.key
            if action == "crash" and before is not None and before.head.action in HEARD and before.key == key:
                moment.is_struck = before.is_told_elsewhere = before.did_nothing
                moment.marks = before.marks if before.did_nothing else ()
                coming.setdefault(key, []).append(_AGAIN)
            elif action in CANNOT_BE_READ and key in unread:
                unread[key].read_again(moment)
            elif action == "dead_letter":
                unread.pop(key, None)
            elif action in ARRIVALS:
                expected = coming.setdefault(key, [])
                arrived = expected.pop(0) if expected else _Coming()
                expected += _come_of(moment, arrived)
                if action in CANNOT_BE_READ:
                    unread[key] = moment
            before = moment

    def _look_for_those_at_work(self) -> None:
        """What somebody hears while its local transaction runs matters, the more so if it does nothing about it."""
        at_work: dict[tuple[str, str | None], None] = {}
        for moment in self._moments:
            head, hearer = moment.head, (run_of(moment.head), moment.head.source)
            if head.action == "timer" and head.event == "step.attempt":
                at_work.pop(hearer, None)
            moment.matters = hearer in at_work and head.action in HEARD
            for record in moment.published:
                if record.event == "step.attempt":
                    at_work[run_of(record), record.source] = None

    def _is_kept(self, moment: _Moment) -> bool:
        if moment.is_told_elsewhere:
            return False
        head = moment.head
        if head.action == "publish":
            return head.id not in self._arriving and not self._is_timer(head)
        return head.action not in ("deliver", "timer") or self._is_worth_telling(moment)

    def _is_worth_telling(self, moment: _Moment) -> bool:
        return self._show_all or moment.matters or bool(moment.marks) or not moment.did_nothing

    # Telling

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
        if action in ("publish", "duplicate", "delay", "resume"):
            return Form.DOT
        if action in ("restart", "dead_letter") or (action == "crash" and not moment.is_struck):
            return Form.SPOT
        return Form.TIMER if source is None or self._is_timer(moment.head) else Form.ARROW

    def _arrival(self, moment: _Moment) -> Arrival:
        action = moment.head.action
        if action in LOST:
            return Arrival.LOST
        if action in ("crash", "dead_letter", *CANNOT_BE_READ):
            return Arrival.STRUCK
        return Arrival.IGNORED if action in ("deliver", "timer") and moment.did_nothing else Arrival.HEARD

    def _faults(self, moment: _Moment) -> Iterator[Word]:
        """What went wrong with it, or is over."""
        head = moment.head
        for mark in moment.marks:
            yield Word(mark, Tone.BAD)
        if head.action == "crash":
            reason = head.reason or ""
            yield Word(CRASHED.get(reason) or f"crashes {self._show(reason)}".rstrip(), Tone.BAD)
        elif head.action in LOST:
            yield Word(f"lost: {self._show(head.reason)}" if head.reason else LOST[head.action], Tone.BAD)
        elif head.action in CANNOT_BE_READ:
            yield Word("cannot be read" if moment.times == 1 else f"cannot be read ({moment.times} times)", Tone.BAD)
        elif head.action == "dead_letter":
            yield Word("put aside as a dead letter", Tone.BAD)
        elif head.action == "duplicate":
            yield Word("on its way twice", Tone.BAD)
        elif head.action == "delay":
            yield Word("late", Tone.BAD)
        elif head.action == "restart":
            yield Word("is up again")

    def _deeds(self, moment: _Moment) -> Iterator[Word]:
        """What the services did, and what happened to the resources."""
        for note in moment.notes:
            standing = self._standing.setdefault(run_of(note), {})
            if note.action in ("execute", "compensate"):
                yield self._transaction(note, standing)
            else:
                yield Word(self._resource(note))

    def _transaction(self, note: Record, standing: dict[str, int]) -> Word:
        """A local transaction or its compensation, and from then on what is in force, or in doubt."""
        step, in_doubt = note.step or "", self._in_doubt.setdefault(run_of(note), set())
        times = standing.get(step, 0)
        if note.action == "execute":
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
        if note.action in ("lock", "release"):
            return f"{'locks' if note.action == 'lock' else 'frees'} {name}"
        value = name if note.value is None else f"{name} {self._show(str(note.value))}"
        return f"reads {value}" if note.action == "read" else value

    def _is_timer(self, record: Record) -> bool:
        return record.event.partition(".")[2] in TIMERS

    def _fact(self, record: Record) -> str:
        fact = record.event.partition(".")[2] or record.event
        return IN_WORDS.get(fact) or self._show(fact)

    def _told(self, record: Record) -> str:
        fact = self._fact(record)
        if record.step is None:
            return f"saga {fact}"
        step = self._show(record.step)
        return f"{fact} {step}" if fact in COMMANDS else f"{step} {fact}"

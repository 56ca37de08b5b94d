"""Sequence of one history, from its trace records alone: a message for each delivery, with what came of it.

Laws: pure; knows no screen. A delivery and the subscriber's reaction to it are one message. Names and every other text
from outside pass through `show` before they become part of a text. A fault is never left out.
"""

from collections.abc import Iterable, Iterator

from choreo.analysis.moments import CANNOT_BE_READ, Moment, moments_of, run_of
from choreo.analysis.sequence import Arrival, Form, Message, Note, Participant, Sequence, Show, Standing, Target, Tone
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
    INVARIANT,
    LOCK,
    OPERATOR,
    PARTITION,
    PUBLISH,
    READ,
    RELEASE,
    RESTART,
    RESUME,
    TIMER,
    TIMERS,
    event_text,
    fact_of,
)

AT_THE_RIGHT = (COORDINATOR, IDEMPOTENT_RECEIVER, DEAD_LETTERS, OPERATOR)

IN_WORDS = {
    str(Timer.ATTEMPT): "is done",
    str(Timer.RETRY): "tries again",
    str(Timer.TIMED_OUT): "time is up",
    str(Timer.ASK): "asks again",
}
"""Timer events of a participant, in words for the reader of a diagram."""

CRASHED = {
    "before": "crashes before it did anything",
    "unpublished": "crashes between commit and publish",
    "uncommitted": "crashes between publish and commit",
    "after": "crashes after commit and publish",
}
LOST = {DROP: "lost", PARTITION: "lost: cut off"}
OTHER_FAULTS = {DUPLICATE: "on its way twice", DELAY: "late", DEAD_LETTER: "put aside as a dead letter"}

TONES_IN_ORDER = (Tone.BAD, Tone.SEEN, Tone.PLAIN)
"""Order of the texts: effects on the local transaction first, effects on the resources last."""


def record_sequence(records: Iterable[Record], show: Show, show_all: bool = False) -> Sequence:
    """Return the sequence of a history. Deliveries without effect are left out, unless `show_all`."""
    records = list(records)
    messages = _Builder(moments_of(records), show, show_all).messages()
    keys = (key for each in messages for key in (each.source, each.who) if key is not None)
    participants = (Participant(key, key, is_role(key)) for key in in_order(keys, records))
    return Sequence(tuple(participants), tuple(messages), runs_of(records))


def runs_of(records: Iterable[Record]) -> dict[str, str]:
    """Return the runs of a history in order, each with a unique name: its saga id, or else its own id."""
    saga_of = {run_of(each): run_of(each) if each.saga_id is None else str(each.saga_id) for each in records}
    return saga_of if len(set(saga_of.values())) == len(saga_of) else {run: run for run in saga_of}


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


class _Builder:
    """Builds messages from moments."""

    def __init__(self, moments: list[Moment], show: Show, show_all: bool) -> None:
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

    def messages(self) -> list[Message]:
        kept = [moment for moment in self._moments if self._is_kept(moment)]
        arrives = {moment.head.id: index for index, moment in enumerate(kept) if moment.head.action != PUBLISH}
        return [self._message(moment, index, arrives) for index, moment in enumerate(kept)]

    def _is_kept(self, moment: Moment) -> bool:
        if moment.is_told_elsewhere:
            return False
        head = moment.head
        if head.action == PUBLISH:
            return head.id not in self._arriving and not self._is_timer(head)
        return head.action not in (DELIVER, TIMER) or self._is_worth_telling(moment)

    def _is_worth_telling(self, moment: Moment) -> bool:
        return self._show_all or moment.matters or bool(moment.marks) or not moment.did_nothing

    def _message(self, moment: Moment, index: int, arrives: dict[str | None, int]) -> Message:
        head, run = moment.head, run_of(moment.head)
        who = "" if head.source is None else head.source
        source = self._publisher_of.get(head.id, head.step)
        source = None if source == who else source
        form = self._form(moment, source)
        if form is Form.DOT and source is not None:
            who, source = source, None
        notes = (*self._faults(moment), *self._effects(moment), *self._published(moment, index, arrives))
        return Message(
            head.seq,
            run,
            form,
            who,
            source if form is Form.ARROW else None,
            () if form is Form.DOT else (Target(who, self._arrival(moment)),),
            self._fact(head),
            event_text(self._fact(head), None if head.step is None else self._show(head.step)),
            notes,
            tuple(self._changes(moment)),
        )

    def _changes(self, moment: Moment) -> Iterator[tuple[str, Standing]]:
        """Yield the states of the local transactions that the services called in this moment."""
        for call in moment.effects:
            if call.action in CALLS:
                run, step = run_of(call), call.step or ""
                if step in self._in_doubt[run]:
                    yield step, Standing.IN_DOUBT
                else:
                    yield step, Standing.IN_FORCE if self._standing[run].get(step) else Standing.NOT_IN_FORCE

    def _form(self, moment: Moment, source: str | None) -> Form:
        action = moment.head.action
        if action in (PUBLISH, DUPLICATE, DELAY, RESUME):
            return Form.DOT
        if action in (RESTART, DEAD_LETTER) or (action == CRASH and not moment.is_struck):
            return Form.SPOT
        return Form.TIMER if source is None or self._is_timer(moment.head) else Form.ARROW

    def _arrival(self, moment: Moment) -> Arrival:
        action = moment.head.action
        if action in LOST:
            return Arrival.LOST
        if action in (CRASH, DEAD_LETTER, *CANNOT_BE_READ):
            return Arrival.STRUCK
        return Arrival.IGNORED if action in (DELIVER, TIMER) and moment.did_nothing else Arrival.HEARD

    # Notes

    def _faults(self, moment: Moment) -> Iterator[Note]:
        """Yield the faults of a moment, and recovery from them."""
        head = moment.head
        for mark in moment.marks:
            yield Note(mark, Tone.BAD)
        if head.action == CRASH:
            reason = head.reason or ""
            yield Note(CRASHED.get(reason) or f"crashes {self._show(reason)}".rstrip(), Tone.BAD)
        elif head.action in LOST:
            yield Note(f"lost: {self._show(head.reason)}" if head.reason else LOST[head.action], Tone.BAD)
        elif head.action in CANNOT_BE_READ:
            yield Note("cannot be read" if moment.times == 1 else f"cannot be read ({moment.times} times)", Tone.BAD)
        elif head.action in OTHER_FAULTS:
            yield Note(OTHER_FAULTS[head.action], Tone.BAD)
        elif head.action == RESTART:
            yield Note("is up again")

    def _effects(self, moment: Moment) -> list[Note]:
        """Return the calls of services and the effects on the resources."""
        notes = [self._effect(each) for each in moment.effects]
        return sorted(notes, key=lambda note: TONES_IN_ORDER.index(note.tone))

    def _effect(self, effect: Record) -> Note:
        if effect.action == INVARIANT:
            return Note(f"violates: {self._show(effect.reason or '')}", Tone.BAD)
        return self._call(effect) if effect.action in CALLS else Note(self._resource(effect))

    def _published(self, moment: Moment, index: int, arrives: dict[str | None, int]) -> Iterator[Note]:
        """Yield the published events whose delivery is not drawn further down."""
        for record in moment.published:
            if not self._is_timer(record) and arrives.get(record.id, -1) <= index:
                yield Note(self._fact(record), Tone.PUBLISHED)

    def _call(self, call: Record) -> Note:
        """Describe a local transaction or its compensation, and update the steps in force and in doubt."""
        step, in_doubt = call.step or "", self._in_doubt.setdefault(run_of(call), set())
        standing = self._standing.setdefault(run_of(call), {})
        times = standing.get(step, 0)
        if call.action == EXECUTE:
            if call.reason is not None:
                if call.in_doubt:
                    in_doubt.add(step)
                return Note(self._show(call.reason), Tone.BAD)
            standing[step] = times + 1
            in_doubt.discard(step)
            return Note("executed again", Tone.BAD) if times else Note("executed", Tone.SEEN)
        if call.reason is not None:
            return Note(f"not undone: {self._show(call.reason)}", Tone.BAD)
        if step in in_doubt:
            in_doubt.remove(step)
            return Note("undone")
        standing[step] = max(times - 1, 0)
        return Note("compensated", Tone.SEEN) if times else Note("compensated, and was not in force", Tone.BAD)

    def _resource(self, effect: Record) -> str:
        name = self._show(effect.resource or "")
        if effect.action in (LOCK, RELEASE):
            return f"{'locks' if effect.action == LOCK else 'frees'} {name}"
        value = name if effect.value is None else f"{name} {self._show(str(effect.value))}"
        return f"reads {value}" if effect.action == READ else value

    def _is_timer(self, record: Record) -> bool:
        return fact_of(record.event) in TIMERS

    def _fact(self, record: Record) -> str:
        fact = fact_of(record.event)
        return IN_WORDS.get(fact) or self._show(fact)

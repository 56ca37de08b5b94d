"""Counterexamples: from the actions that lead to a violation to the trace, the faults, and the free choices.

Laws: repeats the actions from the start, over the same transitions; the report contains only events of that replay.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from choreo.lab.explore.transitions import Transitions
from choreo.lab.model.actions import HAPPENINGS, Action, encoded, in_words
from choreo.lab.model.records import fault, first_records, received
from choreo.lab.model.world import Delivery
from choreo.lab.report import Counterexample
from choreo.lab.way import Choice, Move, Way, move_of
from choreo.saga.definition import FaultKind
from choreo.trace.record import Record
from choreo.trace.records import published_record
from choreo.trace.vocabulary import CRASH, DEAD_LETTER, UNREADABLE

FAILS = "it fails"


class Replay:
    """Replays paths through the state space.

    `is_reduced`: dead deliveries are made at once, as they were in the search.
    """

    def __init__(self, transitions: Transitions, is_reduced: bool) -> None:
        self._transitions = transitions
        self._is_reduced = is_reduced

    def counterexample(self, acts: Sequence[Action], is_at_rest: bool) -> Counterexample:
        """Return the records of a path from the start, its faults, and its free choices.

        Dead deliveries are reported if the path ends at rest; elsewhere they are irrelevant.
        """
        ground, flight = self._transitions.start
        records = list(first_records(self._transitions.world))
        faults: list[str] = []
        choices: list[str] = []
        moves: list[Move] = []
        chosen: list[str] = []
        for act in acts:
            delivery = self._transitions.channels.deliveries[act.number]
            if act.fault is not None:
                faults.append(in_words(act.fault, delivery, act.point))
            records += self._records_of(act, delivery, ground)
            moves.append(move_of(delivery, act.fault, act.point))
            asked = self._choices_of(act, delivery, ground)
            chosen += asked
            if act.fault is None:
                choices += asked
            ground, flight = self._led_to(act, ground, flight)
            if self._is_reduced:
                ground, flight, dead = self._transitions.settled(ground, flight)
                moves += [move_of(self._transitions.channels.deliveries[number]) for number, _ in dead]
                for _, effect in dead if is_at_rest else ():
                    records += map(replace, self._transitions.reactions.effects[effect])
        for number, record in enumerate(records, start=1):
            record.seq = number
            record.time = number
        way = Way(tuple(moves), tuple(map(_choice, chosen)))
        return Counterexample(tuple(faults), tuple(records), None, tuple(choices), way)

    def _choices_of(self, act: Action, delivery: Delivery, ground: int) -> tuple[str, ...]:
        """Return the free choices of an action; a crash before the local transaction asks for none."""
        if delivery.poison or act.fault not in (None, FaultKind.CRASH):
            return ()
        if act.point is not None:
            left = self._transitions.world.after_crash(act.point)
            if not (left.is_committed or left.is_published):
                return ()
        return self._transitions.arrive(ground, act.number)[act.alternative][1].choices

    def _led_to(self, act: Action, ground: int, flight: int) -> tuple[int, int]:
        """Return the local state and the in-flight deliveries after an action."""
        wanted = encoded(act.number, act.alternative, HAPPENINGS.index((act.fault, act.point)))
        steps = (
            self._transitions.steps(ground, flight) if act.fault is None else self._transitions.faults(ground, flight)
        )
        return next((g, f) for g, f, _, each in steps if each == wanted)

    def _records_of(self, act: Action, delivery: Delivery, ground: int) -> list[Record]:
        """Return the trace records of an action."""
        if delivery.poison:
            return self._records_of_unreadable(delivery)
        if act.fault not in (None, FaultKind.CRASH):
            return [fault(delivery, str(act.fault))]
        _, reaction = self._transitions.arrive(ground, act.number)[act.alternative]
        if act.point is None:
            return [replace(record) for record in self._transitions.reactions.effects[reaction.effect]]
        left = self._transitions.world.after_crash(act.point)
        if not (left.is_committed or left.is_published):
            return [replace(received(delivery.event, delivery.route)), fault(delivery, CRASH, act.point)]
        effect = reaction.only_committed if not left.is_published else reaction.only_published
        effect = reaction.effect if left.is_committed and left.is_published else effect
        return [
            *(replace(record) for record in self._transitions.reactions.effects[effect]),
            fault(delivery, CRASH, act.point),
        ]

    def _records_of_unreadable(self, delivery: Delivery) -> list[Record]:
        if not self._transitions.world.puts_aside(delivery.poison):
            return [fault(delivery, UNREADABLE)]
        letter = self._transitions.world.dead_letter(delivery)
        return [fault(delivery, DEAD_LETTER), published_record(letter)]


def _choice(words: str) -> Choice:
    call, _, answer = words.rpartition(": ")
    return Choice(call, answer == FAILS)

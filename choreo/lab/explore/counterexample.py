"""From the acts that lead to a violation to its story: the trace, the faults, and how free choices fell.

Laws: plays the acts once more, from the start, over the same transitions; what it tells is what happened.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from choreo.lab.explore.transitions import Transitions
from choreo.lab.model.actions import HAPPENINGS, Act, encoded, in_words
from choreo.lab.model.records import delivered, fault, published
from choreo.lab.model.world import Delivery, World
from choreo.lab.report import Counterexample
from choreo.saga.definition import FaultKind
from choreo.trace.record import Record


def first_records(world: World) -> Iterator[Record]:
    """What is published to begin with."""
    for _, event in world.first_events():
        yield published(event)


class Replay:
    """Tells ways through the states. `is_reduced`: dead deliveries are made at once, as they were in the search."""

    def __init__(self, transitions: Transitions, is_reduced: bool) -> None:
        self._transitions = transitions
        self._is_reduced = is_reduced

    def tell(self, acts: Sequence[Act], is_at_rest: bool) -> Counterexample:
        """The records of a way from the start, the faults on it, and how its free choices fell.

        Deliveries of which nothing can come are told where the way ends at rest; elsewhere they are beside the point.
        """
        ground, flight = self._transitions.start
        records = list(first_records(self._transitions.world))
        faults: list[str] = []
        choices: list[str] = []
        for act in acts:
            delivery = self._transitions.channels.deliveries[act.number]
            if act.fault is not None:
                faults.append(in_words(act.fault, delivery, act.point))
            records += self._records_of(act, delivery, ground)
            if not delivery.poison and act.fault is None:
                choices += self._transitions.arrive(ground, act.number)[act.alternative][1].choices
            ground, flight = self._led_to(act, ground, flight)
            if self._is_reduced:
                ground, flight, dead = self._transitions.settled(ground, flight)
                for _, effect in dead if is_at_rest else ():
                    records += map(replace, self._transitions.reactions.effects[effect])
        for number, record in enumerate(records, start=1):
            record.seq = number
            record.time = number
        return Counterexample(tuple(faults), tuple(records), None, tuple(choices))

    def _led_to(self, act: Act, ground: int, flight: int) -> tuple[int, int]:
        """Where an act leads."""
        wanted = encoded(act.number, act.alternative, HAPPENINGS.index((act.fault, act.point)))
        steps = (
            self._transitions.steps(ground, flight) if act.fault is None else self._transitions.faults(ground, flight)
        )
        return next((g, f) for g, f, _, each in steps if each == wanted)

    def _records_of(self, act: Act, delivery: Delivery, ground: int) -> list[Record]:
        """What an act has in the trace."""
        if delivery.poison:
            return self._records_of_unreadable(delivery)
        if act.fault not in (None, FaultKind.CRASH):
            return [fault(delivery, str(act.fault))]
        _, reaction = self._transitions.arrive(ground, act.number)[act.alternative]
        if act.point is None:
            return [replace(record) for record in self._transitions.reactions.effects[reaction.effect]]
        left = self._transitions.world.after_crash(act.point)
        if not (left.is_committed or left.is_published):
            return [replace(delivered(delivery.event, delivery.lane)), fault(delivery, "crash", act.point)]
        effect = reaction.only_committed if not left.is_published else reaction.only_published
        effect = reaction.effect if left.is_committed and left.is_published else effect
        return [
            *(replace(record) for record in self._transitions.reactions.effects[effect]),
            fault(delivery, "crash", act.point),
        ]

    def _records_of_unreadable(self, delivery: Delivery) -> list[Record]:
        if not self._transitions.world.puts_aside(delivery.poison):
            return [fault(delivery, "unreadable")]
        letter = self._transitions.world.dead_letter(delivery)
        return [fault(delivery, "dead_letter"), published(letter)]

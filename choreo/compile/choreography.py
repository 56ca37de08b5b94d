"""Choreography: every participant subscribes to its neighbours; there is no central control.

The table has a row for each event that a participant needs: the success of its predecessors, the end of its successors,
and, at a join, that a predecessor will never succeed. A chain needs the first two only.
"""

from collections.abc import Iterator

from choreo.compile.participants import participants_of, timer_rows
from choreo.compile.table import STARTED, Table, hear_outcomes
from choreo.protocol.coordinator import Coordinator, CoordinatorState
from choreo.protocol.event import Topic
from choreo.protocol.participant import Participant, Signal
from choreo.protocol.reaction import Cell, Join, Moves, Subscription
from choreo.saga.definition import Saga
from choreo.saga.plan import Plan
from choreo.saga.roles import CLIENT
from choreo.saga.service import ServiceOf


def choreography(saga: Saga, service_of: ServiceOf) -> Table:
    """Compile a saga to a table in which the participants coordinate by events alone.

    Raises `ValueError` if the steps form a cycle, and `PlanTooLarge`.
    """
    plan = saga.plan
    coordinator = Coordinator(plan)
    tells = tellers(plan)
    participants = participants_of(saga, plan, service_of, [not each for each in tells])
    count = len(participants)
    rows = [
        *_forward_rows(plan, participants),
        *_stop_rows(plan, participants, tells),
        *_backward_rows(plan, participants, coordinator),
        *_coordinator_rows(plan, participants, coordinator),
        *timer_rows(participants),
        *hear_outcomes(count + 1, coordinator.outcomes),
    ]
    cells = (*[Cell()] * count, CoordinatorState(), Cell())
    return Table(plan, tuple(rows), (*plan.steps, Coordinator.NAME, CLIENT), cells)


def tellers(plan: Plan) -> list[bool]:
    """Return, for each step, whether it publishes `cancelled`: a predecessor may need that event to compensate.

    A join does, and a step before a join. In a graph, so does every step on a path to a join: another path to that join
    may fail before this one has begun. In an itinerary, all paths lead through the same groups, so one step suffices.
    """
    tells = [len(before) > 1 for before in plan.predecessors]
    for position in sorted(range(len(tells)), key=plan.depths.__getitem__, reverse=True):
        after = plan.successors[position]
        tells[position] |= (
            any(len(plan.predecessors[s]) > 1 or (tells[s] and not plan.is_levelled) for s in after)
            if after
            else len(plan.last) > 1
        )
    return tells


def _forward_rows(plan: Plan, participants: list[Participant]) -> Iterator[Subscription]:
    for me in participants:
        before = plan.predecessors[me.position]
        go = me.moves(Signal.GO)
        if len(before) > 1:
            go = Join(before).before(go)
        for topic in [participants[p].succeeded for p in before] or [STARTED]:
            yield _row(topic, me, go)


def must_be_stopped(plan: Plan, position: int, tells: bool) -> bool:
    """True if a step must learn that a predecessor will not succeed, because another step waits for it to be cancelled.

    At a join, that other step is another predecessor. In a graph, it may also be a step beside a longer path to the
    same join.
    """
    before = plan.predecessors[position]
    return len(before) > 1 or (tells and bool(before) and not plan.is_levelled)


def _stop_rows(plan: Plan, participants: list[Participant], tells: list[bool]) -> Iterator[Subscription]:
    for me in participants:
        before = plan.predecessors[me.position]
        if must_be_stopped(plan, me.position, tells[me.position]):
            stop = me.moves(Signal.STOP)
            for predecessor in before:
                for topic in _ends(participants[predecessor]):
                    yield _row(topic, me, stop)
                yield _row(participants[predecessor].compensation_failed, me, stop)  # given up, and not compensated


def _backward_rows(plan: Plan, participants: list[Participant], coordinator: Coordinator) -> Iterator[Subscription]:
    """Yield the rows of the last step first, so that a group compensates in the reverse of its order of execution."""
    for me in reversed(participants):
        after = plan.successors[me.position]
        back = me.moves(Signal.BACK)
        if len(after) > 1:
            back = Join(after, offset=len(plan.predecessors[me.position])).before(back)
        for successor in after:
            for topic in _ends(participants[successor]):
                yield _row(topic, me, back)
        if not after and coordinator.is_join:
            yield _row(coordinator.cancelled, me, back)


def _coordinator_rows(plan: Plan, participants: list[Participant], coordinator: Coordinator) -> Iterator[Subscription]:
    def row(topic: Topic, moves: Moves) -> Subscription:
        return Subscription(topic, len(participants), Coordinator.NAME, moves)

    if not participants:
        yield row(STARTED, coordinator.started)
    for position in plan.last:
        yield row(participants[position].succeeded, coordinator.succeeded)
    for participant in participants:
        ended = coordinator.ended if plan.successors[participant.position] else coordinator.last_ended
        for topic in _ends(participant):
            yield row(topic, ended)
        yield row(participant.compensation_failed, coordinator.compensation_failed)


def _ends(participant: Participant) -> Iterator[Topic]:
    """Yield the topics under which a participant publishes that it ended backward."""
    yield participant.failed
    if participant.cancelled is not None:
        yield participant.cancelled
    yield participant.compensated


def _row(topic: Topic, participant: Participant, moves: Moves) -> Subscription:
    return Subscription(topic, participant.position, participant.step, moves)

"""Orchestration: one participant commands all others, and they communicate only with it.

Plan, participants and services are the same as in choreography; only the table differs. A participant subscribes to its
own two commands, and the orchestrator to every reply.
"""

from collections.abc import Iterator

from choreo.compile.participants import participants_of, timer_rows
from choreo.compile.table import STARTED, Table, hear_outcomes
from choreo.protocol.event import Command
from choreo.protocol.orchestrator import Orchestrator, OrchestratorState
from choreo.protocol.participant import Participant, Signal
from choreo.protocol.reaction import Cell, Subscription
from choreo.saga.definition import Saga
from choreo.saga.roles import CLIENT
from choreo.saga.service import ServiceOf


def orchestration(saga: Saga, service_of: ServiceOf) -> Table:
    """Compile a saga to a table in which every event passes through the orchestrator.

    Raises `ValueError` if the steps form a cycle, and `PlanTooLarge`.
    """
    plan = saga.plan
    orchestrator = Orchestrator(plan, awaits_running=saga.guarantees.undo_running)
    participants = participants_of(saga, plan, service_of, [True] * len(plan.steps))
    rows = [
        *_command_rows(participants, orchestrator),
        *_reply_rows(participants, orchestrator),
        *timer_rows(participants),
        *hear_outcomes(len(participants) + 1, orchestrator.outcomes),
    ]
    cells = (*[Cell()] * len(participants), OrchestratorState(), Cell())
    return Table(plan, tuple(rows), (*plan.steps, Orchestrator.NAME, CLIENT), cells)


def _command_rows(participants: list[Participant], orchestrator: Orchestrator) -> Iterator[Subscription]:
    for me in participants:
        for command, signal in ((Command.EXECUTE, Signal.GO), (Command.COMPENSATE, Signal.BACK)):
            topic = orchestrator.commands[command][me.position]
            yield Subscription(topic, me.position, me.step, me.moves(signal))


def _reply_rows(participants: list[Participant], orchestrator: Orchestrator) -> Iterator[Subscription]:
    seat = len(participants)
    yield Subscription(STARTED, seat, Orchestrator.NAME, orchestrator.started)
    for participant in participants:
        for topic, moves in (
            (participant.succeeded, orchestrator.succeeded),
            (participant.failed, orchestrator.failed),
            (participant.compensated, orchestrator.compensated),
            (participant.compensation_failed, orchestrator.compensation_failed),
        ):
            yield Subscription(topic, seat, Orchestrator.NAME, moves)

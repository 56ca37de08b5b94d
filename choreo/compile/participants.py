"""Participants of a saga: one for each step, with the step's policy under the saga's guarantees.

Laws: a step with the default policy, under every guarantee, gets the plain participant; any other the timed one. Both
styles build their tables from here, so each obeys the same policies.
"""

from collections.abc import Iterator, Sequence

from choreo.protocol.participant import Participant
from choreo.protocol.reaction import Subscription
from choreo.saga.definition import Kind, Saga
from choreo.saga.guarantees import ALL_ON
from choreo.saga.plan import Plan
from choreo.saga.service import ServiceOf


def participants_of(saga: Saga, plan: Plan, service_of: ServiceOf, are_quiet: Sequence[bool]) -> list[Participant]:
    """Return the participants by position. A quiet one need not publish that it was cancelled."""
    if saga.itinerary is None or saga.guarantees != ALL_ON:
        participants = _with_policies(saga, plan, service_of, are_quiet)
    else:
        participants = [
            Participant(plan, position, service_of(step), quiet)
            for position, (step, quiet) in enumerate(zip(plan.steps, are_quiet, strict=True))
        ]
    if not any(participant.takes_call for participant in participants):
        for participant in participants:
            participant.passes_data = False
    return participants


def _with_policies(saga: Saga, plan: Plan, service_of: ServiceOf, are_quiet: Sequence[bool]) -> list[Participant]:
    from choreo.protocol.timed import PLAIN, StepPolicy, TimedParticipant, transitions  # a list of names needs none

    kind = Kind.COMPENSATABLE
    is_plain_table = transitions(saga.guarantees, kind) == transitions(ALL_ON, kind)
    participants: list[Participant] = []
    for position, (step, quiet) in enumerate(zip(saga.steps, are_quiet, strict=True)):
        policy, service = StepPolicy.of(step), service_of(step.name)
        if policy == PLAIN and is_plain_table:
            participants.append(Participant(plan, position, service, quiet))
        else:
            participants.append(TimedParticipant(plan, position, service, quiet, policy, saga.guarantees))
    return participants


def timer_rows(participants: Sequence[Participant]) -> Iterator[Subscription]:
    """Yield the subscriptions of participants to their own timers."""
    for me in participants:
        for topic, moves in me.timer_moves():
            yield Subscription(topic, me.position, me.step, moves)

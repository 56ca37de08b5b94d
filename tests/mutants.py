"""Small bugs to plant in the protocol, each as a patch: plausible coding mistakes.

Laws: a mutant changes one thing. No mutant disables a guarantee; the lessons cover those.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from typing import Any

import pytest
from msgspec.structs import replace

from choreo.lab.model import resources as books
from choreo.lab.model import services
from choreo.lab.model.resources import ResourceStore
from choreo.protocol import dead_letter, delivery, participant, relay, timed
from choreo.protocol import idempotent_receiver as front_door
from choreo.protocol.coordinator import Coordinator
from choreo.protocol.event import Command, Event, Fact, Timer
from choreo.protocol.orchestrator import Orchestrator
from choreo.protocol.participant import Participant, Signal
from choreo.protocol.reaction import (
    ABORTED,
    CANCELLED,
    COMPENSATED,
    FAILED,
    NOTHING,
    RUNNING,
    SUCCEEDED,
    TIMED_OUT,
    UNDOING,
    WAITING,
    Cell,
    Join,
    Phase,
)
from choreo.protocol.timed import TimedParticipant
from choreo.saga.definition import CrashPoint
from choreo.saga.keys import read_key
from choreo.saga.outcome import Outcome, State

# The modules, not the functions of the same name that the package exports.
choreography = import_module("choreo.compile.choreography")
orchestration = import_module("choreo.compile.orchestration")

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]

MUTANTS: dict[str, Mutant] = {}


def mutant(plant: Mutant) -> Mutant:
    MUTANTS[plant.__name__.replace("_", " ")] = plant
    return plant


def without_row(patch: Patch, signal: Signal | Timer, phase: Phase) -> None:
    """Remove a transition."""
    _with_table(patch, lambda table: table[signal].pop(phase, None))


def with_row(patch: Patch, signal: Signal | Timer, phase: Phase, rule: Any) -> None:
    """Add a transition."""
    _with_table(patch, lambda table: table[signal].update({phase: rule}))


def _with_table(patch: Patch, change: Callable[[Any], object]) -> None:
    """Change both tables: that of the node's participant, and that of the participant with timers."""
    original = timed.transitions

    def transitions(guarantees: Any, kind: Any) -> Any:
        table = {signal: dict(row) for signal, row in original(guarantees, kind).items()}
        change(table)
        return table

    plain: dict[Any, Any] = {timer: dict.fromkeys(Phase) for timer in Timer}
    plain |= {signal: dict(row) for signal, row in participant.TRANSITIONS.items()}
    change(plain)
    rows = {s: {p: OF_THE_NODE.get(rule, rule) for p, rule in row.items()} for s, row in plain.items() if s in Signal}
    patch.setattr(timed, "transitions", transitions)
    patch.setattr(participant, "TRANSITIONS", rows)


OF_THE_NODE = {TimedParticipant.begin: Participant.forward, TimedParticipant.backward: Participant.backward}


def changed(patch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Make a method pass its result to `change`, with its own arguments."""
    original = getattr(owner, name)

    @wraps(original)
    def method(*arguments: Any) -> Any:
        return change(original(*arguments), *arguments)

    patch.setattr(owner, name, method)


# Participants


@mutant
def a_cancelled_step_begins_after_all(patch: Patch) -> None:
    with_row(patch, Signal.GO, CANCELLED, TimedParticipant.begin)


@mutant
def a_compensated_step_begins_again(patch: Patch) -> None:
    with_row(patch, Signal.GO, COMPENSATED, TimedParticipant.begin)


@mutant
def a_step_that_succeeded_begins_again(patch: Patch) -> None:
    with_row(patch, Signal.GO, SUCCEEDED, TimedParticipant.begin)


@mutant
def a_failed_step_is_tried_again(patch: Patch) -> None:
    with_row(patch, Signal.GO, FAILED, TimedParticipant.begin)


@mutant
def the_failed_step_is_compensated(patch: Patch) -> None:
    def fail(result: tuple[Cell, Any], me: TimedParticipant, cell: Cell, event: Event) -> Any:
        if result[0].phase is FAILED:
            me._try_to_compensate(event.run, None, None)
        return result

    changed(patch, TimedParticipant, "attempt", fail)


@mutant
def a_step_compensates_without_being_told_twice(patch: Patch) -> None:
    with_row(patch, Signal.BACK, COMPENSATED, TimedParticipant.backward)


@mutant
def a_step_that_succeeded_does_not_hear_that_it_goes_back(patch: Patch) -> None:
    without_row(patch, Signal.BACK, SUCCEEDED)


@mutant
def a_step_that_waits_does_not_hear_that_it_goes_back(patch: Patch) -> None:
    without_row(patch, Signal.BACK, WAITING)


@mutant
def a_join_does_not_hear_that_a_branch_has_failed(patch: Patch) -> None:
    without_row(patch, Signal.STOP, WAITING)


@mutant
def a_running_step_does_not_hear_that_it_goes_back(patch: Patch) -> None:
    without_row(patch, Signal.BACK, RUNNING)


@mutant
def a_compensation_is_never_tried_again(patch: Patch) -> None:
    without_row(patch, Timer.RETRY, UNDOING)


@mutant
def what_was_aborted_stays(patch: Patch) -> None:
    with_row(patch, Timer.ATTEMPT, ABORTED, TimedParticipant.attempt)


@mutant
def what_was_late_counts_as_success(patch: Patch) -> None:
    with_row(patch, Timer.ATTEMPT, TIMED_OUT, TimedParticipant.attempt)


@mutant
def compensated_is_said_and_nothing_done(patch: Patch) -> None:
    patch.setattr(Participant, "_try_to_compensate", lambda me, run, receipt, data: None)


@mutant
def succeeded_is_said_and_nothing_done(patch: Patch) -> None:
    patch.setattr(TimedParticipant, "_try", lambda me, run, data: (None, None))


@mutant
def a_failure_is_told_as_success(patch: Patch) -> None:
    def lie(result: tuple[Cell, Any], me: TimedParticipant, cell: Cell, event: Event) -> Any:
        after, events = result
        return after, tuple(replace(e, topic=me.succeeded) if e.topic is me.failed else e for e in events)

    changed(patch, TimedParticipant, "attempt", lie)


@mutant
def a_failure_is_told_to_nobody(patch: Patch) -> None:
    changed(
        patch,
        TimedParticipant,
        "attempt",
        lambda result, *_: result if result[0].phase is not FAILED else (result[0], NOTHING),
    )


@mutant
def the_cause_is_lost(patch: Patch) -> None:
    changed(patch, TimedParticipant, "_because", lambda event, me, topic, *_: replace(event, cause=topic))


@mutant
def the_pivot_is_compensated(patch: Patch) -> None:
    patch.setattr(TimedParticipant, "refuse_to_undo", TimedParticipant.backward)


@mutant
def a_retriable_step_gives_up_at_once(patch: Patch) -> None:
    def init(result: None, me: TimedParticipant, *_: Any) -> None:
        me._attempts = 1

    changed(patch, TimedParticipant, "__init__", init)


# The node's own participant, for steps on plain terms


@mutant
def the_node_compensates_the_step_that_failed(patch: Patch) -> None:
    def fail(result: tuple[Cell, Any], me: Participant, event: Event, why: Any) -> Any:
        me._try_to_compensate(event.run, None, None)
        return result

    changed(patch, Participant, "_fail", fail)


@mutant
def the_node_forgets_that_it_was_cancelled(patch: Patch) -> None:
    with_row(patch, Signal.BACK, WAITING, lambda me, cell, event: (cell, me.cancel(cell, event)[1]))


@mutant
def the_node_loses_the_cause(patch: Patch) -> None:
    def forward(me: Participant, cell: Cell, event: Event) -> Any:
        after, events = me.forward(cell, event)
        return after, tuple(replace(each, cause=each.topic) for each in events)

    with_row(patch, Signal.GO, WAITING, forward)


@mutant
def the_node_says_that_it_succeeded_and_runs_nothing(patch: Patch) -> None:
    def init(result: None, me: Participant, *_: Any) -> None:
        me._execute = lambda reference: None

    changed(patch, Participant, "__init__", init)


# Styles


def _rows(patch: Patch, function: str, keep: Callable[[Any], bool], module: Any = choreography) -> None:
    original = getattr(module, function)
    patch.setattr(module, function, lambda *arguments: (row for row in original(*arguments) if keep(row)))


@mutant
def a_step_listens_to_the_wrong_neighbour(patch: Patch) -> None:
    original = choreography._backward_rows

    def rows(plan: Any, participants: Any, coordinator: Any) -> Iterator[Any]:
        further = [plan.successors[after[0]] if after else () for after in plan.successors]
        return original(replace(plan, successors=tuple(map(tuple, further))), participants, coordinator)

    patch.setattr(choreography, "_backward_rows", rows)


@mutant
def a_step_is_deaf_to_failures(patch: Patch) -> None:
    _rows(patch, "_backward_rows", lambda row: row.topic.fact is not Fact.FAILED)


@mutant
def a_step_is_deaf_to_cancellations(patch: Patch) -> None:
    _rows(patch, "_backward_rows", lambda row: row.topic.fact is not Fact.CANCELLED)


@mutant
def the_coordinator_is_deaf_to_failures(patch: Patch) -> None:
    _rows(patch, "_coordinator_rows", lambda row: row.topic.fact is not Fact.FAILED)


@mutant
def the_coordinator_is_deaf_to_what_cannot_be_compensated(patch: Patch) -> None:
    _rows(patch, "_coordinator_rows", lambda row: row.topic.fact is not Fact.COMPENSATION_FAILED)


@mutant
def nobody_says_that_it_was_cancelled(patch: Patch) -> None:
    patch.setattr(choreography, "tellers", lambda plan: [False] * len(plan.steps))


@mutant
def only_joins_say_that_they_were_cancelled(patch: Patch) -> None:
    patch.setattr(choreography, "tellers", lambda plan: [len(before) > 1 for before in plan.predecessors])


@mutant
def nobody_waits_for_all_neighbours(patch: Patch) -> None:
    patch.setattr(Join, "before", lambda me, reactions: reactions)


@mutant
def the_orchestrator_is_deaf_to_failures(patch: Patch) -> None:
    _rows(patch, "_reply_rows", lambda row: row.topic.fact is not Fact.FAILED, orchestration)


@mutant
def participants_are_deaf_to_the_command_to_compensate(patch: Patch) -> None:
    _rows(patch, "_command_rows", lambda row: "compensate" not in row.topic.name, orchestration)


# Coordinator


@mutant
def the_coordinator_does_not_wait_for_what_it_can_infer(patch: Patch) -> None:
    patch.setattr(Coordinator, "_is_missing_any", lambda me, ends: False)
    patch.setattr(Coordinator, "_missing_beside_stuck", lambda me, ends: 0)


@mutant
def the_coordinator_reports_at_the_first_end(patch: Patch) -> None:
    def init(result: None, me: Coordinator, *_: Any) -> None:
        me._first_all = 0

    changed(patch, Coordinator, "__init__", init)
    patch.setattr(Coordinator, "_is_missing_any", lambda me, ends: False)


@mutant
def the_coordinator_calls_stuck_compensated(patch: Patch) -> None:
    def close(result: Any, me: Coordinator, *_: Any) -> Any:
        cell, events = result
        lie = Outcome(State.COMPENSATED)
        return cell, tuple(
            replace(e, topic=me.outcomes.compensated, detail=lie) if _is_outcome(e) else e for e in events
        )

    changed(patch, Coordinator, "_close", close)


@mutant
def the_coordinator_reports_again(patch: Patch) -> None:
    changed(patch, Coordinator, "_complete", lambda result, me, cell, event: (cell, result[1]))


@mutant
def the_coordinator_does_not_cancel_the_other_ends(patch: Patch) -> None:
    patch.setattr(Coordinator, "_cancel", Coordinator._collect)


# Orchestrator


@mutant
def the_orchestrator_compensates_in_any_order(patch: Patch) -> None:
    def compensate(me: Orchestrator, cell: Any, event: Event, positions: Any) -> Any:
        return me._command(cell, event, Command.COMPENSATE, [p for p in positions if p in cell.standing])

    patch.setattr(Orchestrator, "_compensate", compensate)


@mutant
def the_orchestrator_turns_back_while_steps_run(patch: Patch) -> None:
    def note(me: Orchestrator, cell: Any, event: Event) -> Any:
        return me._turn(replace(me._note(cell, event), phase=FAILED, awaited=0), event)

    patch.setattr(Orchestrator, "_note_failure", note)


@mutant
def the_orchestrator_counts_a_success_twice(patch: Patch) -> None:
    original = Orchestrator._advance

    def advance(me: Orchestrator, cell: Any, event: Event) -> Any:
        if event.topic.position in cell.standing:
            cell = replace(cell, standing=cell.standing.remove(event.topic.position))
        return original(me, cell, event)

    patch.setattr(Orchestrator, "_advance", advance)


@mutant
def the_orchestrator_calls_everything_completed(patch: Patch) -> None:
    def close(result: Any, me: Orchestrator, *_: Any) -> Any:
        cell, events = result
        truth = Outcome(State.COMPLETED, len(me.plan.steps))
        return cell, tuple(replace(e, topic=me.outcomes.completed, detail=truth) for e in events)

    changed(patch, Orchestrator, "_close", close)


@mutant
def the_orchestrator_forgets_what_succeeded_while_it_waited(patch: Patch) -> None:
    def note(me: Orchestrator, cell: Any, event: Event) -> Any:
        return me._turn(replace(cell, awaited=cell.awaited - 1), cell.log[0])

    patch.setattr(Orchestrator, "_note_success", note)


# Guarantees, books, front door, dead letters


@mutant
def the_outbox_is_not_read_after_a_crash(patch: Patch) -> None:
    _leaves_behind(patch, CrashPoint.UNPUBLISHED, delivery.CrashEffect(True, False))


@mutant
def what_was_published_is_not_committed(patch: Patch) -> None:
    _leaves_behind(patch, CrashPoint.UNCOMMITTED, delivery.CrashEffect(False, True))


def _leaves_behind(patch: Patch, point: CrashPoint, remains: delivery.CrashEffect) -> None:
    """Change the effect of a crash at that point, for a participant with an outbox."""
    table = {**delivery.AFTER_CRASH, True: {**delivery.AFTER_CRASH[True], point: remains}}
    patch.setattr(delivery, "AFTER_CRASH", table)


@mutant
def nobody_looks_at_the_minimum(patch: Patch) -> None:
    patch.setattr(ResourceStore, "_check_minima", lambda me, step: None)


@mutant
def nobody_looks_at_the_version(patch: Patch) -> None:
    patch.setattr(ResourceStore, "_check_writes", lambda me, step, run: None)


@mutant
def nobody_looks_whether_a_value_has_changed(patch: Patch) -> None:
    patch.setattr(ResourceStore, "_check_reads", lambda me, step, run: None)


@mutant
def nobody_takes_the_lock(patch: Patch) -> None:
    patch.setattr(ResourceStore, "_locks_to_take", lambda me, step, run: [])


@mutant
def locks_are_taken_in_any_order(patch: Patch) -> None:
    def init(result: None, me: ResourceStore, *_: Any) -> None:
        me._guarantees = replace(me._guarantees, lock_order=False)

    changed(patch, ResourceStore, "__init__", init)


@mutant
def locks_are_not_released_at_the_end(patch: Patch) -> None:
    patch.setattr(ResourceStore, "release", lambda me, *_: None)


@mutant
def a_compensation_writes_over_what_others_have_written(patch: Patch) -> None:
    def compensate(me: ResourceStore, step: Any, run: str, position: int, overwritten: Any) -> None:
        for name, value, version in overwritten:
            me._change(step, run, position, name, value, None, version)
        me.release(run, step.locks, step.name, position)

    patch.setattr(ResourceStore, "compensate", compensate)


@mutant
def a_repeated_request_is_executed(patch: Patch) -> None:
    def init(result: None, me: Any, *_: Any) -> None:
        me.heard_request = (me._start_again,) * len(me.heard_request)

    changed(patch, front_door.IdempotentReceiver, "__init__", init)


@mutant
def a_repeated_request_is_told_another_outcome(patch: Patch) -> None:
    def answer(result: Any, *_: Any) -> Any:
        cell, events = result
        return cell, tuple(replace(e, topic=front_door.RECORDED.stuck) for e in events)

    changed(patch, front_door.IdempotentReceiver, "_answer", answer)


@mutant
def a_dead_letter_is_told_to_nobody(patch: Patch) -> None:
    patch.setattr(dead_letter, "give_up", lambda plan, topics: (None,) * len(Phase))


@mutant
def hops_are_not_counted(patch: Patch) -> None:
    patch.setattr(relay, "HOPS_MAX", 10**6)


@mutant
def a_refused_step_has_taken_its_effect(patch: Patch) -> None:
    original = services.LabService.execute

    def execute(me: services.LabService, reference: str) -> object:
        key = read_key(reference)
        me._note(books.Effect("execute", me.step.name, key.position, key.run))
        return original(me, reference)

    patch.setattr(services.LabService, "execute", execute)


def _is_outcome(event: Event) -> bool:
    return event.detail.__class__ is Outcome

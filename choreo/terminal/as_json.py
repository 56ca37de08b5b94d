"""Runs and comparisons for programs: plain values, to be written as JSON."""

from typing import Any

import msgspec

from choreo.domain.event import Event
from choreo.domain.outcome import Outcome
from choreo.terminal.arguments import Saga
from choreo.terminal.comparison import Comparison, Figures
from choreo.terminal.names import numbered
from choreo.terminal.recording import Message, Recording
from choreo.terminal.records import records_of
from choreo.terminal.words import story_of


def run_as_json(saga: Saga, recording: Recording) -> dict[str, Any]:
    """One run: what was asked, how it ended, every event with who heard it, and what the services' records show."""
    return {
        **_asked(saga),
        "style": recording.style,
        "outcome": _outcome(recording.outcome),
        "story": story_of(recording, str),
        "in_force": [recording.plan.steps[position] for position in recording.in_force()],
        "events": [_message(message, recording) for message in recording.messages()],
        "records": records_of(recording.services),
    }


def comparison_as_json(saga: Saga, comparison: Comparison) -> dict[str, Any]:
    """Both styles: whether they did the same, and every number in which they differ."""
    one, other = comparison.recordings
    styles = zip((one, other), comparison.figures, strict=True)
    return {
        **_asked(saga),
        "same_outcome": comparison.is_same_outcome,
        "same_records": not comparison.differing,
        "differing_records": {step: list(records) for step, records in comparison.differing.items()},
        **{recording.style: _style(recording, figures) for recording, figures in styles},
    }


def _asked(saga: Saga) -> dict[str, Any]:
    return {"steps": saga.itinerary, "fail": saga.fail_step, "fail_compensation": saga.fail_compensation}


def _style(recording: Recording, figures: Figures) -> dict[str, Any]:
    counted = msgspec.to_builtins(figures)
    return {
        "outcome": _outcome(recording.outcome),
        "messages": figures.messages,
        **counted,
        "keepers": figures.keepers,
        "records": records_of(recording.services),
    }


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else msgspec.to_builtins(outcome)


def _message(message: Message, recording: Recording) -> dict[str, Any]:
    names = numbered(recording.table.hearers)
    return {
        "number": message.number,
        **_event(message.event),
        "heard_by": [names[seat] for seat in message.reacted],
        "ignored_by": [names[seat] for seat in message.ignored],
    }


def _event(event: Event) -> dict[str, Any]:
    """The fields of a trace record that a run alone has."""
    topic = event.topic
    return {
        "event": topic.event,
        "source": topic.source,
        "step": topic.step,
        "position": None if topic.step is None else topic.position,
        "id": event.id,
        "causation_id": event.causation_id,
        "reason": event.reason,
    }

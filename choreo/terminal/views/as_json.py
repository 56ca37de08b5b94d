"""Runs and comparisons as plain values, to be written as JSON."""

import json
from typing import Any

import msgspec

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Recording
from choreo.analysis.service_state import Record, records_of
from choreo.comparison import Comparison, Figures
from choreo.protocol.event import Event
from choreo.recorder import Scenario
from choreo.render.words import story_of
from choreo.saga.outcome import Outcome
from choreo.saga.plan import itinerary_of


def run_as_json(saga: Scenario, recording: Recording) -> dict[str, Any]:
    """Convert one run: the request, the outcome, every event with its subscribers, and the services' records."""
    return {
        **_asked(saga),
        "style": recording.style,
        "outcome": _outcome(recording.outcome),
        "story": story_of(recording, str),
        "in_force": [recording.plan.steps[position] for position in recording.in_force()],
        "events": _messages(recording),
        "records": _records(recording),
        "simulated": recording.simulated,
    }


def comparison_as_json(saga: Scenario, comparison: Comparison) -> dict[str, Any]:
    """Convert both styles: whether they agree, and every metric in which they differ."""
    one, other = comparison.recordings
    styles = zip((one, other), comparison.figures, strict=True)
    return {
        **_asked(saga),
        "simulated": one.simulated,
        "same_outcome": comparison.is_same_outcome,
        "same_records": not comparison.differing,
        "differing_records": {
            step: [_plain(record) for record in records] for step, records in comparison.differing.items()
        },
        **{recording.style: _style(recording, figures) for recording, figures in styles},
    }


def _asked(saga: Scenario) -> dict[str, Any]:
    steps = itinerary_of(saga.plan) or saga.plan.steps
    return {"steps": steps, "fail": saga.fail_step, "fail_compensation": saga.fail_compensation}


def _style(recording: Recording, figures: Figures) -> dict[str, Any]:
    counted = msgspec.to_builtins(figures)
    return {
        "outcome": _outcome(recording.outcome),
        "messages": figures.messages,
        **counted,
        "keepers": figures.keepers,
        "records": _records(recording),
    }


def _records(recording: Recording) -> dict[str, Any]:
    return {service: _plain(record) for service, record in records_of(recording.services).items()}


def _plain(record: Record) -> dict[str, Any]:
    """Convert the fields of a service; a value without a JSON form becomes text."""
    return {name: value if _is_json(value) else repr(value) for name, value in record.items()}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else msgspec.to_builtins(outcome)


def _messages(recording: Recording) -> list[dict[str, Any]]:
    names = numbered(recording.table.subscribers)
    return [
        {
            "number": recorded.number,
            **_event(recorded.event),
            "heard_by": [names[seat] for seat in recorded.reacted],
            "ignored_by": [names[seat] for seat in recorded.ignored],
        }
        for recorded in recording.recorded_events()
    ]


def _event(event: Event) -> dict[str, Any]:
    """Return those fields of a trace record that exist for a run alone."""
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

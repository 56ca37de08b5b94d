"""Run as text: its events as they happen, its diagram, and its outcome."""

from collections.abc import Sequence

from choreo.analysis.recording import Recording
from choreo.analysis.service_state import differing_records
from choreo.comparison import is_same_outcome
from choreo.recorder import Scenario, Seen
from choreo.render.diagram import diagram
from choreo.render.screen import TITLE, Screen
from choreo.render.words import no_effect_of, state_of, story_of
from choreo.terminal.views.event_list import EventList

STATE_STYLES = {"completed": "bold green", "compensated": "bold yellow"}


def telling(screen: Screen, saga: Scenario, style: str) -> Seen:
    """Announce a run; return a function that prints each of its events as it happens."""
    screen.one_line((style, TITLE))
    return EventList(screen, saga.plan.steps, style).show


def show_picture(screen: Screen, recording: Recording, show_all: bool) -> None:
    screen.one_line()
    screen.lines(diagram(recording, screen, screen.width, show_all))
    screen.one_line()


def show_end(screen: Screen, saga: Scenario, recording: Recording) -> None:
    state = state_of(recording)
    screen.sentence((state, STATE_STYLES.get(state, "bold red")), f": {story_of(recording, screen.name)}")
    note = no_effect_of(recording, saga.fail_compensation, screen.name)
    if note is not None:
        screen.sentence(note)


def is_same(recordings: Sequence[Recording]) -> bool:
    """Return whether all the runs ended with the same outcome and the same records."""
    first = recordings[0]
    return all(
        is_same_outcome(first.outcome, other.outcome)
        and not differing_records(first.services, other.services, (first.origin, other.origin))
        for other in recordings[1:]
    )


def show_sameness(screen: Screen, recordings: Sequence[Recording]) -> None:
    screen.one_line()
    if is_same(recordings):
        screen.sentence("Both styles ended with the same outcome and left the same records.")
    else:
        screen.sentence(("The styles differ", "bold red"), ": choreo compare tells in what.")

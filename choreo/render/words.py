"""Descriptions of an event and of a run.

Laws: pure; names pass through `show` before they become part of a text. States only known facts of a run.
"""

from collections.abc import Callable

from choreo.analysis.naming import enumerated, numbered
from choreo.analysis.recording import Recording
from choreo.protocol.event import Event, Fact
from choreo.saga.outcome import State
from choreo.trace.vocabulary import event_text, fact_text

Show = Callable[[str], str]

NO_OUTCOME = "no outcome"


def what(event: Event, show: Show) -> str:
    """Describe an event without its publisher: `succeeded`, `execute book_hotel`, `saga completed`."""
    topic = event.topic
    return fact_text(topic.fact, None if topic.step is None else show(topic.step))


def who_and_what(event: Event, show: Show) -> str:
    """Describe an event with its publisher: `book_hotel succeeded`, `execute book_hotel`, `saga completed`."""
    topic = event.topic
    return event_text(topic.fact, None if topic.step is None else show(topic.step))


def state_of(recording: Recording) -> str:
    return NO_OUTCOME if recording.outcome is None else str(recording.outcome.state)


def story_of(recording: Recording, show: Show) -> str:
    """Describe the end of a run in a sentence or two: failures, compensations, steps still in force."""
    state = None if recording.outcome is None else recording.outcome.state
    if state is State.COMPLETED:
        return _completed(recording)
    parts = [_failures(recording, show), _undone(recording, show), _standing(recording, show)]
    if state is None:
        parts.insert(0, "nothing is left to deliver, and nobody has reported how the run ended")
    parts.append(_in_doubt(recording, show))
    return "; ".join(filter(None, parts)) + "."


def no_effect_of(recording: Recording, fail_compensation: str | None, show: Show) -> str | None:
    """Return the notice that a compensation that was to fail was never called; None where it was called."""
    if fail_compensation is None:
        return None
    tried = recording.having(Fact.COMPENSATED, Fact.COMPENSATION_FAILED)
    if any(event.topic.step == fail_compensation for event in tried):
        return None
    return f"--fail-compensation had no effect: {show(fail_compensation)} never came to be compensated."


def names_of(recording: Recording, positions: list[int], show: Show) -> str:
    """Name the steps at these positions; the second of two equal names has its number appended."""
    names = numbered(recording.plan.steps)
    return enumerated([show(names[position]) for position in positions])


def _completed(recording: Recording) -> str:
    count = len(recording.plan.steps)
    if count == 0:
        return "there was nothing to do."
    return "its only step is in force." if count == 1 else f"all {count} steps are in force."


def _failures(recording: Recording, show: Show) -> str:
    failed = [_because(event, "failed", recording, show) for event in recording.having(Fact.FAILED)]
    stuck = [
        _because(event, "could not be compensated", recording, show)
        for event in recording.having(Fact.COMPENSATION_FAILED)
    ]
    return enumerated(failed + stuck)


def _because(event: Event, how: str, recording: Recording, show: Show) -> str:
    name = names_of(recording, [event.topic.position], show)
    return f"{name} {how}" + (f" ({show(event.reason)})" if event.reason else "")


def _undone(recording: Recording, show: Show) -> str:
    undone = [event.topic.position for event in recording.having(Fact.COMPENSATED)]
    if not undone:
        return "nothing was undone" if recording.in_force() else "nothing had to be undone"
    order = ", in this order" if len(undone) > 1 else ""
    return f"{names_of(recording, undone, show)} {'was' if len(undone) == 1 else 'were'} compensated{order}"


def _in_doubt(recording: Recording, show: Show) -> str:
    """Describe the steps whose answer was unknown."""
    in_doubt = recording.in_doubt()
    if in_doubt:
        return f"in doubt, and perhaps in force: {names_of(recording, in_doubt, show)}"
    undone = recording.outcome.in_doubt_steps if recording.outcome is not None else ()
    if not undone:
        return ""
    verb = "was" if len(undone) == 1 else "were"
    return f"{enumerated([show(step) for step in undone])} raised an exception, {verb} in doubt, and {verb} undone"


def _standing(recording: Recording, show: Show) -> str:
    standing = recording.in_force()
    if not standing:
        return "nothing is in force" if recording.having(Fact.SUCCEEDED) and not recording.in_doubt() else ""
    return f"still in force: {names_of(recording, standing, show)}"

"""One run of a journal as text: its request, its timeline, its diagram, and its present state.

Laws: shows a run summary, and adds no fact to it. The facts that an operator needs come last, where they are seen.
"""

import shlex
from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from rich.text import Text

from choreo.analysis.naming import enumerated
from choreo.analysis.next_events import next_events_text
from choreo.analysis.run_summary import RunSummary
from choreo.render.diagram import history_diagram
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.saga.outcome import Outcome, State
from choreo.saga.plan import Itinerary
from choreo.saga.request import Sender
from choreo.storage.rows import HELD, RUNNING
from choreo.storage.sqlite.holds import HeldRow
from choreo.terminal.commands.sagas import STATES
from choreo.terminal.options.trace_file import text_of
from choreo.terminal.views.durations import age_text, duration_text, now_ms, when_text
from choreo.terminal.views.explain import phrase, sentence_of
from choreo.terminal.views.timeline import Timeline, rows_of
from choreo.trace.record import Record
from choreo.trace.vocabulary import CALLS, REPLY

LABEL_WIDTH = 14
PICTURED_STEPS_MAX = 300
WRONG = "wrong"


def show_summary(
    screen: Screen, summary: RunSummary, path: str, is_asked: bool, show_all: bool, held: HeldRow | None = None
) -> None:
    row, state = summary.row, summary.row.state if held is None else HELD
    name = f"saga {screen.name(str(text_of(row.request.saga_id)))}, run-{row.number}"
    screen.sentence((name, TITLE), ": ", (screen.prose(state), STATES.get(state, "")), indent=2)
    _show_lines(screen, _about(screen, summary))
    screen.one_line()
    rows = [each for each in rows_of(summary) if show_all or not each.did_nothing]
    screen.lines(list(Timeline(screen, rows).lines()))
    screen.one_line()
    steps = len(summary.plan.steps)
    if steps <= PICTURED_STEPS_MAX:
        screen.lines(history_diagram(picture_records(summary), screen, screen.width, show_all))
    else:
        screen.one_line((f"the picture of {steps:,} steps is left out: nobody could read it", FAINT))
    screen.one_line()
    _show_lines(screen, _standing(screen, summary))
    _show_lines(screen, _next(screen, summary, is_asked, held))
    if state in (State.STUCK, HELD) and not is_asked:
        command = shlex.join(["choreo", "resume", str(text_of(row.request.saga_id)), "--journal", path])
        screen.one_line((f"  {'resume it':<{LABEL_WIDTH - 2}}", FAINT), screen.prose(command))


def picture_records(summary: RunSummary) -> list[Record]:
    """Return the records numbered by delivery, as the diagram needs them; reasons are left to the timeline."""
    return [
        replace(line.record, seq=line.number, reason=_in_a_word(line.record))
        if line.record.action in CALLS
        else replace(line.record, seq=line.number)
        for line in summary.history.lines
        if line.record.action != REPLY
    ]


def _in_a_word(record: Record) -> str | None:
    if record.reason is None:
        return None
    return "in doubt" if record.in_doubt else "refused"


Lines = Iterator[tuple[str, str]]


def _show_lines(screen: Screen, lines: Lines) -> None:
    for label, text in lines:
        first, *others = screen.wrapped(Text(text), 0, screen.width - LABEL_WIDTH)
        heading = f"  {label:<{LABEL_WIDTH - 2}}", "bold red" if label == WRONG else FAINT
        screen.lines([Text.assemble(heading, first), *(Text(" " * LABEL_WIDTH) + line for line in others)])


def _about(screen: Screen, summary: RunSummary) -> Lines:
    row, request = summary.row, summary.row.request
    yield "steps", f"{_itinerary(screen, request.steps)} ({request.style})"
    mishaps = [
        *([f"{screen.name(request.fail_step)} is to refuse"] if request.fail_step is not None else []),
        *(
            [f"{screen.name(request.fail_compensation)} is not to be undone"]
            if request.fail_compensation is not None
            else []
        ),
    ]
    if mishaps:
        yield "asked for", enumerated(mishaps)
    yield "begun", f"{when_text(row.begun_ms)}, {age_text(now_ms() - row.begun_ms)} ago{_sender(screen, row.sender)}"
    if row.ended_ms is not None:
        yield "ended", f"after {duration_text(row.ended_ms - row.begun_ms)}"
    yield "client", _client(screen, row.outcome)


def _itinerary(screen: Screen, steps: Itinerary) -> str:
    """Format the itinerary as on the command line, in the order of the steps; a group is joined by +."""
    groups = [" + ".join(map(screen.name, (group,) if isinstance(group, str) else group)) for group in steps]
    return enumerated(groups) if groups else "none"


def _sender(screen: Screen, sender: Sender) -> str:
    by = "" if sender.src is None else f", by {screen.name(sender.src)}"
    return by if sender.msg_id is None else f"{by}, message {text_of(sender.msg_id)}"


def _client(screen: Screen, outcome: Outcome | None) -> str:
    if outcome is None:
        return "has not been told anything yet"
    if outcome.defect is None:
        return f"was told {outcome.state}"
    if outcome.failed_step is None:  # recorded by choreo 0.1
        return f"was told of a crash: {screen.prose(outcome.defect)}"
    return f"was told {outcome.state}; {screen.name(outcome.failed_step)} raised {screen.prose(outcome.defect)}"


def _standing(screen: Screen, summary: RunSummary) -> Lines:
    def names(positions: Sequence[int]) -> str:
        return enumerated([screen.name(name) for name in summary.names(positions)]) or "nothing"

    yield "took effect", names(summary.executed)
    if summary.compensated or (summary.explanation is not None and summary.explanation.failures):
        yield "compensated", names(summary.compensated)
    yield "in force", names(summary.in_force)
    if summary.in_doubt:
        yield "in doubt", f"{names(summary.in_doubt)}: may have taken effect, and is not undone"
    for position, reason in summary.not_compensated.items():
        yield "not undone", f"{names([position])}: {screen.prose(reason)}"
    for why in _why(screen, summary):
        yield "why", why
    if summary.resumed:
        times = {1: "once", 2: "twice"}.get(len(summary.resumed), f"{len(summary.resumed):,} times")
        yield "resumed", f"{times}: {enumerated([str(number) for number in summary.resumed])} in the timeline"


def _why(screen: Screen, summary: RunSummary) -> Iterator[str]:
    """Yield the causes of backward recovery: of the outcome, else of the last compensation, else the failures."""
    explanation = summary.explanation
    if explanation is None:
        return
    stuck = [chain for chain in explanation.compensations if chain.is_stuck]
    if stuck and explanation.outcome is not None:
        for chain in stuck:
            yield f"the saga ended stuck, because {sentence_of(chain, screen)}"
    elif explanation.outcome_chain is not None:
        yield sentence_of(explanation.outcome_chain, screen)
    elif explanation.compensations:
        yield sentence_of(explanation.compensations[-1], screen)
    else:
        for failure in explanation.failures:
            reason = f": {screen.prose(failure.reason)}" if failure.reason else ""
            yield f"{phrase(failure, screen)}{reason}."


def _next(screen: Screen, summary: RunSummary, is_asked: bool, held: HeldRow | None) -> Lines:
    row = summary.row
    if summary.history.error is not None:
        yield WRONG, screen.prose(summary.history.error)
    if held is not None:
        at = "" if held.step is None else f", at {screen.name(held.step)}"
        yield "held", f"since {when_text(held.at_ms)}{at}: {screen.prose(held.reason)}"
    if (row.state == State.STUCK or held is not None) and is_asked:
        yield "next", "an operator has asked to resume it, and a node will see to it"
    elif row.state == State.STUCK:
        yield "next", "nothing: waits for an operator"
    elif held is not None:
        yield "next", "nothing, until what holds it is gone"
    elif row.state == RUNNING:
        yield "next", next_events_text(row, summary.next_events, screen.name)

"""Explanations of compensations, as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.causes import Chain, Explanation, Origin
from choreo.render.names import cut
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.trace.record import Record
from choreo.trace.vocabulary import (
    COMMANDS,
    SAGA_CANCELLED,
    SAGA_COMPENSATED,
    SAGA_COMPLETED,
    SAGA_STUCK,
    STEP_CANCELLED,
    STEP_COMPENSATE,
    STEP_COMPENSATED,
    STEP_COMPENSATION_FAILED,
    STEP_EXECUTE,
    STEP_FAILED,
    STEP_SUCCEEDED,
    event_text,
    fact_of,
)

CAUSES_SHOWN = 6
BECAUSES_MAX = 3

PHRASES = {
    SAGA_COMPENSATED: "the saga ended compensated",
    SAGA_STUCK: "the saga ended stuck",
    SAGA_CANCELLED: "the {source} called off what had not begun",
    STEP_SUCCEEDED: "{step} succeeded",
    STEP_FAILED: "{step} failed",
    STEP_CANCELLED: "{step} was cancelled",
    STEP_COMPENSATED: "{step} was compensated",
    STEP_COMPENSATION_FAILED: "{step} could not be compensated",
    STEP_EXECUTE: "the {source} had {step} execute",
    STEP_COMPENSATE: "the {source} had {step} compensate",
}

IN_DOUBT = "{step} was in doubt, and could not be undone"


def show_explanations(screen: Screen, saga_id: str, explanations: Sequence[Explanation]) -> None:
    """Print one run after the other, separated by blank lines."""
    for index, explanation in enumerate(explanations):
        if index:
            screen.one_line()
        _show_explanation(screen, saga_id, explanation)


def _show_explanation(screen: Screen, saga_id: str, explanation: Explanation) -> None:
    """Print one run: its outcome, and the reason of each compensation, as a sentence and as the chain of causes."""
    outcome = explanation.outcome
    ended = "no outcome in this trace" if outcome is None else fact_of(outcome.event)
    screen.one_line((f"saga {screen.name(saga_id)}, {screen.name(explanation.run or 'run unknown')}: {ended}", TITLE))
    for sentence in _without_compensation(screen, explanation):
        screen.sentence(f"  {sentence}", indent=2)
    for chain in explanation.compensations:
        _show_chain(screen, chain)
    if explanation.outcome_chain and not explanation.outcome_chain.is_known:
        _show_chain(screen, explanation.outcome_chain)


def explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    """Convert one run to JSON values; of a very long chain only the nearest causes and the last one."""
    outcome = explanation.outcome
    return {
        "run": explanation.run,
        "outcome": None if outcome is None else fact_of(outcome.event),
        "explained": explanation.is_explained,
        "failures": [_event(record) for record in explanation.failures],
        "compensations": [_chain(chain) for chain in explanation.compensations],
        "outcome_chain": None if explanation.outcome_chain is None else _chain(explanation.outcome_chain),
    }


def sentence_of(chain: Chain, screen: Screen) -> str:
    """Return `A was compensated, because B failed: sold out.`, or the part of the chain that is missing.

    Of a failed compensation, its own reason comes first, then the reason why it was requested.
    """
    if not chain.is_stuck:
        return _because_of(chain, screen)
    stuck = chain.nearest[0]
    own = _with_reason(IN_DOUBT.format(step=screen.name(stuck.step or "unknown")), stuck, screen)
    if chain.is_in_doubt:
        return own
    because = _because_of(chain, screen).removeprefix(phrase(stuck, screen)).removeprefix(", ").removeprefix("; ")
    return f"{_with_reason(phrase(stuck, screen), stuck, screen)} It was to be compensated, {because}"


def _with_reason(text: str, record: Record, screen: Screen) -> str:
    return f"{text}: {screen.prose(record.reason)}." if record.reason else f"{text}."


def _because_of(chain: Chain, screen: Screen) -> str:
    phrases = [phrase(record, screen) for record in chain.nearest if fact_of(record.event) not in COMMANDS]
    shown = phrases[:BECAUSES_MAX]
    if chain.hops >= len(chain.nearest) or len(phrases) > BECAUSES_MAX:
        shown.append(f"and so on back to where {phrase(chain.last, screen)}")
    text = ", because ".join(shown).replace(", because and so on", ", and so on")
    if chain.is_known:
        return _with_reason(text, chain.last, screen)
    return f"{text}; {_lost(chain, screen)}."


def phrase(record: Record, screen: Screen) -> str:
    template = PHRASES.get(record.event, "{event}")
    names = {"step": record.step, "source": record.source, "event": record.event}
    return template.format(**{key: screen.name(name or "unknown") for key, name in names.items()})


def _lost(chain: Chain, screen: Screen) -> str:
    last = f"{chain.last.seq} {screen.name(chain.last.event)}"
    if chain.origin is Origin.MISSING:
        return f"the cause of {last}, {screen.name(chain.missing or '')}, is not in the trace"
    if chain.origin is Origin.CIRCLE:
        return f"the causes go round in a circle at {last}"
    return f"the causes end at {last}, and none of them is a failure"


def _without_compensation(screen: Screen, explanation: Explanation) -> Iterator[str]:
    """Yield the sentences for a run without compensation."""
    if explanation.compensations:
        return
    outcome = explanation.outcome
    if outcome is not None and outcome.event == SAGA_COMPLETED:
        yield "Nothing was compensated, the saga completed."
        return
    for failure in explanation.failures:
        yield _with_reason(phrase(failure, screen), failure, screen)
    yield "Nothing was compensated." if outcome is None else "Nothing had to be compensated: nothing was in force."


def _show_chain(screen: Screen, chain: Chain) -> None:
    screen.one_line()
    style = "" if chain.is_known else "bold red"
    screen.sentence("  ", (sentence_of(chain, screen), style), indent=2)
    links = [_link(record, screen) for record in chain.nearest[: CAUSES_SHOWN + 1]]
    left_out = chain.hops - len(links)
    if left_out >= 0:
        links += [f"{left_out} more"] if left_out else []
        links.append(_link(chain.last, screen))
    screen.lines([Text(f"    {line}", FAINT) for line in _in_lines(links, screen)])


def _in_lines(links: Sequence[str], screen: Screen) -> Iterator[str]:
    """Join the links with arrows and wrap them; a line ends with an arrow."""
    arrow, room = f" {screen.glyphs.because} ", screen.width - 4
    line = ""
    for link in (cut(link, room, screen.glyphs.ellipsis) for link in links):
        if line and cell_len(line + arrow + link) + 2 > room:
            yield (line + arrow).rstrip()
            line = ""
        line += arrow + link if line else link
    yield line


def _link(record: Record, screen: Screen) -> str:
    fact = screen.prose(fact_of(record.event))
    return f"{record.seq} {event_text(fact, None if record.step is None else screen.name(record.step))}"


def _event(record: Record) -> dict[str, Any]:
    return {
        "seq": record.seq,
        "event": record.event,
        "step": record.step,
        "position": record.position,
        "id": record.id,
        "reason": record.reason,
    }


def _chain(chain: Chain) -> dict[str, Any]:
    first, *causes = chain.nearest
    return {
        **_event(first),
        "explained": chain.is_known,
        "ends_at": chain.origin,
        "missing": chain.missing,
        "hops": chain.hops,
        "causes": [_event(record) for record in causes],
        "last": _event(chain.last),
    }

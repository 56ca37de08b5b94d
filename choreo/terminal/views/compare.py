"""Comparison as text: both diagrams, whether the results agree, and a table of the differences."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from choreo.analysis.naming import enumerated
from choreo.analysis.recording import Recording
from choreo.analysis.service_state import Record, records_of
from choreo.comparison import Comparison, Coupling, Figures, Outage
from choreo.recorder import Scenario
from choreo.render.diagram import diagram
from choreo.render.names import cut
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.terminal.views.run import show_end

BESIDE_FROM, BETWEEN = 150, 4
NAMES_MAX = 6
"""Number of names in a cell of a table; the others are only counted."""

Row = tuple[str, str, str]


def show_comparison(screen: Screen, saga: Scenario, comparison: Comparison, show_all: bool) -> None:
    _show_pictures(screen, comparison.recordings, show_all)
    _show_sameness(screen, saga, comparison)
    _show_table(screen, "what differs", comparison.recordings, _rows(screen, comparison))
    _show_table(screen, "who knows whom", comparison.recordings, _coupling(screen, comparison.figures))


def _show_pictures(screen: Screen, recordings: Sequence[Recording], show_all: bool) -> None:
    is_beside = screen.width >= BESIDE_FROM
    width = (screen.width - BETWEEN) // 2 if is_beside else screen.width
    one, other = (
        [Text(recording.style, TITLE), Text(), *diagram(recording, screen, width, show_all), Text()]
        for recording in recordings
    )
    screen.lines(_beside(one, other, width) if is_beside else one + other)


def _beside(left: list[Text], right: list[Text], width: int) -> list[Text]:
    lines = []
    for one, other in zip_longest(left, right, fillvalue=Text()):
        line = Text.assemble(one, " " * (width + BETWEEN - one.cell_len), other)
        line.rstrip()
        lines.append(line)
    return lines


def _show_sameness(screen: Screen, saga: Scenario, comparison: Comparison) -> None:
    one, other = comparison.recordings
    if comparison.is_same_outcome:
        screen.sentence(("The same outcome in both styles", TITLE), ", and this is it:")
        show_end(screen, saga, one)
    else:
        screen.sentence(("The outcomes differ:", "bold red"))
        for recording in (one, other):
            screen.one_line((f"in {recording.style}:", FAINT))
            show_end(screen, saga, recording)
    screen.one_line()
    if comparison.differing:
        _show_differing_records(screen, comparison)
    else:
        screen.sentence(("The same records", TITLE), " in two separate sets of services:")
        _show_records(screen, one)


def _show_records(screen: Screen, recording: Recording) -> None:
    for service, record in records_of(recording.services).items():
        screen.sentence(f"  {screen.name(service)}: {screen.prose(_fields(record))}", indent=4)


def _fields(record: Record) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in record.items()) or "no fields"


def _show_differing_records(screen: Screen, comparison: Comparison) -> None:
    screen.sentence(("The records differ", "bold red"), " between the two sets of services:")
    styles = [recording.style for recording in comparison.recordings]
    for step, records in comparison.differing.items():
        for style, record in zip(styles, records, strict=True):
            screen.sentence(f"  {screen.name(step)}, {style}: {screen.prose(_fields(record))}", indent=4)


def _show_table(screen: Screen, title: str, recordings: Sequence[Recording], rows: Iterator[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style=TITLE)
    table.add_column(title, no_wrap=True)
    for recording in recordings:
        table.add_column(recording.style, overflow="fold")
    for label, *values in rows:
        style = FAINT if label.startswith(" ") else ""
        table.add_row(Text(label, style), *(Text(value) for value in values))
    screen.one_line()
    screen.table(table)


def _rows(screen: Screen, comparison: Comparison) -> Iterator[Row]:
    def row(label: str, *values: Any) -> Row:
        one, other = (value if isinstance(value, str) else str(value) for value in values)
        return label, one, other

    one, other = comparison.figures
    yield row("messages published", one.messages, other.messages)
    yield row("  events", one.events, other.events)
    yield row("  commands", one.commands, other.commands)
    yield row("deliveries", one.deliveries, other.deliveries)
    yield row("  nothing came of", one.ignored, other.ignored)
    yield row("hops to the outcome", one.hops, other.hops)
    yield row("subscriptions", one.subscriptions, other.subscriptions)
    yield row("state kept by", _keepers(one), _keepers(other))
    yield row("  that one alone holds", *(", ".join(f.held_by_reporter_alone) or "nothing" for f in (one, other)))
    yield row("a new step touches", "", "")
    yield row("  in the middle", *(_touched(f.step_in_the_middle.touched, screen) for f in (one, other)))
    yield row("  at the end", *(_touched(f.step_at_the_end.touched, screen) for f in (one, other)))
    yield row("while this one is down", *(f.reporter_down.subscriber for f in (one, other)))
    yield row("  executed", *(_named(f.reporter_down.executed, screen) for f in (one, other)))
    yield row("  compensated", *(_named(f.reporter_down.compensated, screen) for f in (one, other)))
    yield row("  left in force", *(_named(f.reporter_down.left_in_force, screen) for f in (one, other)))
    yield row("  outcome", *(_reported(f.reporter_down) for f in (one, other)))


def _keepers(figures: Figures) -> str:
    """Describe the participants that stored state: the number of steps, and whether the reporter did."""
    steps = sum(bool(memory.during) for memory in figures.memories[:-2])
    reporter = figures.memories[-2]
    also = f", {reporter.subscriber}" if reporter.during else ""
    return f"{steps} step{'s' if steps != 1 else ''}{also}"


def _touched(names: Sequence[str], screen: Screen) -> str:
    return f"{len(names)}: {_named(names, screen)}"


def _named(names: Sequence[str], screen: Screen) -> str:
    shown = [cut(screen.name(name), 24, screen.glyphs.ellipsis) for name in names]
    return enumerated(shown, NAMES_MAX) or "nothing"


def _reported(absence: Outage) -> str:
    return "reported" if absence.has_outcome else "never reported"


def _coupling(screen: Screen, figures: Sequence[Figures]) -> Iterator[Row]:
    """Yield a row for each subscriber; the coordinator and the orchestrator each exist in one style only."""
    one, other = (f.acquaintances for f in figures)
    steps = zip(one[:-2], other[:-2], strict=True)
    pairs: list[tuple[Coupling | None, Coupling | None]] = [
        *steps,
        (one[-2], None),
        (None, other[-2]),
        (one[-1], other[-1]),
    ]
    for pair in pairs:
        subscriber = next(known.subscriber for known in pair if known is not None)
        name = cut(screen.name(subscriber), 24, screen.glyphs.ellipsis)
        yield name, _heard(pair[0], screen), _heard(pair[1], screen)


def _heard(acquaintance: Coupling | None, screen: Screen) -> str:
    if acquaintance is None:
        return screen.glyphs.dot
    count = len(acquaintance.topics)
    return f"{_named(acquaintance.publishers, screen)} ({count} topic{'s' if count != 1 else ''})"

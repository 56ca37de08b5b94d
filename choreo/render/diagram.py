"""Diagram of a run in the form that fits the width: lifelines side by side, or steps one below the other."""

from collections.abc import Sequence

from msgspec.structs import replace
from rich.text import Text

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Recording
from choreo.render.lanes import draw, lay_out, seats_in_order
from choreo.render.screen import FAINT, Screen
from choreo.render.served import told_of
from choreo.render.steps import draw_steps


def diagram(recording: Recording, screen: Screen, width: int, show_all: bool = False) -> list[Text]:
    """Draw the run in lines of at most `width` columns. With `show_all`, include subscribers that ignored an event."""
    messages = recording.messages()
    if not show_all:
        messages = [replace(message, ignored=()) for message in messages]
    hearers = [screen.name(hearer) for hearer in numbered(recording.table.hearers)]
    seats = seats_in_order(recording)
    names = [hearers[seat] for seat in seats]
    lanes = lay_out(seats, names, messages, width, screen.glyphs.ellipsis)
    if lanes is None:
        drawing, labels = draw_steps(recording, hearers, screen, width)
        explained = _legend(hearers, labels, screen, width)
    else:
        drawing = draw(messages, lanes, screen, width)
        explained = _legend(names, lanes.names, screen, width)
    signs = _signs(recording, screen, lanes is not None, show_all, width)
    return [*drawing, Text(), *signs, *explained, *_simulated(recording, screen, width)]


def _signs(recording: Recording, screen: Screen, has_arrows: bool, show_all: bool, width: int) -> list[Text]:
    glyphs = screen.glyphs
    signs = [f"{glyphs.source} published", f"{glyphs.heads[1]} heard"] if has_arrows else []
    if has_arrows and show_all:
        signs.append(f"{glyphs.ignored[1]} nothing came of it")
    signs.append(f"{glyphs.in_force} in force")
    if recording.in_doubt():
        signs.append(f"{glyphs.in_doubt} in doubt")
    return screen.wrapped(Text(f"  {'   '.join(signs)}", FAINT), 2, width)


def _simulated(recording: Recording, screen: Screen, width: int) -> list[Text]:
    """Name the simulated steps, which none of the author's services serves."""
    told = told_of(recording.simulated, screen.name)
    return screen.wrapped(Text(f"  {told}", FAINT), 4, width) if told else []


def _legend(names: Sequence[str], labels: Sequence[str], screen: Screen, width: int) -> list[Text]:
    """List the full names of abbreviated labels."""
    lines = []
    for name, label in zip(names, labels, strict=True):
        if name != label:
            lines += screen.wrapped(Text.assemble("  ", (label, "bold"), (f" = {name}", FAINT)), 4, width)
    return lines

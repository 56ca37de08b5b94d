"""Sequence diagram as text, in the form that fits: lifelines side by side, or a line for each step or message.

Laws: the recording of a run and the records of a history give the same picture. Every line fits the width.
"""

from collections.abc import Iterable

from rich.text import Text

from choreo.analysis.naming import numbered
from choreo.analysis.record_sequence import record_sequence
from choreo.analysis.recording import Recording
from choreo.analysis.run_sequence import run_sequence
from choreo.analysis.sequence import Arrival, Message, Sequence, Standing
from choreo.render.layout import lay_out, scene_of
from choreo.render.message_list import MessageList
from choreo.render.message_text import packed
from choreo.render.pen import Pen
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.render.served import simulated_text
from choreo.render.steps import draw_steps
from choreo.trace.record import Record


def diagram(recording: Recording, screen: Screen, width: int, show_all: bool = False) -> list[Text]:
    """Draw a run in lines of at most `width` columns. With `show_all`, include subscribers that ignored an event."""
    lines = _draw(run_sequence(recording, screen.name, show_all), screen, width) or _steps(recording, screen, width)
    return [*lines, *_simulated(recording, screen, width)]


def history_diagram(records: Iterable[Record], screen: Screen, width: int, show_all: bool = False) -> list[Text]:
    """Draw a history in lines of at most `width` columns. With `show_all`, include deliveries without effect."""
    sequence = record_sequence(records, screen.name, show_all)
    if not sequence.messages:
        return []
    drawing = _draw(sequence, screen, width)
    return drawing or list(MessageList(scene_of(sequence, screen), screen, width).lines(sequence.messages))


def _draw(sequence: Sequence, screen: Screen, width: int) -> list[Text]:
    """Draw the lifelines and explain the signs; empty where they do not fit."""
    scene = scene_of(sequence, screen)
    layout = lay_out(sequence, scene, screen, width)
    if layout is None:
        return []
    picture = Pen(scene, layout, screen).lines(sequence.messages)
    signs = _signs(sequence.messages, screen, width)
    return [*picture, Text(), *signs, *_legend(scene.names, layout.labels, screen, width)]


def _steps(recording: Recording, screen: Screen, width: int) -> list[Text]:
    """Draw the steps one below the other."""
    names = [screen.name(name) for name in numbered(recording.table.subscribers)]
    drawing, labels = draw_steps(recording, names, screen, width)
    signs = [f"{screen.glyphs.in_force} in force"]
    signs += [f"{screen.glyphs.in_doubt} in doubt"] if recording.in_doubt() else []
    return [*drawing, Text(), *_sign_lines(signs, screen, width), *_legend(names, labels, screen, width)]


# Legend


def _signs(messages: Iterable[Message], screen: Screen, width: int) -> list[Text]:
    """Explain the signs that the diagram uses."""
    glyphs, messages = screen.glyphs, list(messages)
    signs = [f"{glyphs.source} published", f"{glyphs.heads[1]} heard"]
    if any(target.arrival is Arrival.IGNORED for message in messages for target in message.targets):
        signs.append(f"{glyphs.ignored[1]} nothing came of it")
    standing = {each for message in messages for _, each in message.changes}
    if Standing.IN_FORCE in standing:
        signs.append(f"{glyphs.in_force} in force")
    if Standing.IN_DOUBT in standing:
        signs.append(f"{glyphs.in_doubt} in doubt")
    return _sign_lines(signs, screen, width)


def _sign_lines(signs: Iterable[str], screen: Screen, width: int) -> list[Text]:
    return [Text(f"  {line.plain}", FAINT) for line in packed(map(Text, signs), "   ", screen, width - 2)]


def _legend(names: Iterable[str], labels: Iterable[str], screen: Screen, width: int) -> list[Text]:
    """List the full names of abbreviated labels."""
    lines = []
    for name, label in zip(names, labels, strict=True):
        if name != label:
            lines += screen.wrapped(Text.assemble("  ", (label, TITLE), (f" = {name}", FAINT)), 4, width)
    return lines


def _simulated(recording: Recording, screen: Screen, width: int) -> list[Text]:
    """Name the simulated steps, which none of the author's services serves."""
    simulated = simulated_text(recording.simulated, screen.name)
    return screen.wrapped(Text(f"  {simulated}", FAINT), 4, width) if simulated else []

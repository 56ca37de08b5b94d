"""List of messages, for a screen too narrow for lifelines.

Laws: a line for each message: its number, its participant, what came of it, and the event that caused it.
"""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from choreo.analysis.sequence import Arrival, Form, Message
from choreo.render.abridged import abridged
from choreo.render.layout import Scene
from choreo.render.message_text import SEPARATOR, event_of, notes_of, packed
from choreo.render.names import cut_apart, padded
from choreo.render.screen import FAINT, Screen

WHO_MAX = 24


class MessageList:
    """Lays out messages for a screen."""

    def __init__(self, scene: Scene, screen: Screen, width: int) -> None:
        self._scene, self._screen, self._width = scene, screen, width
        self._who = min(max(map(cell_len, scene.names)), WHO_MAX, width // 4)
        labels = cut_apart(scene.names, self._who, screen.glyphs.ellipsis)
        self._label_of = dict(zip(scene.keys, labels, strict=True))

    def lines(self, messages: tuple[Message, ...]) -> Iterator[Text]:
        for message in abridged(messages, self._screen):
            if isinstance(message, Text):
                yield message
                continue
            first = Text(f" {message.number:>{self._scene.number_width}}  ", FAINT)
            if self._scene.tag_of:
                first.append(padded(self._scene.tag_of.get(message.run, ""), self._scene.tag_width))
            first.append(f"{padded(self._label_of[message.who], self._who)}  ")
            what = self._what(message, self._width - first.cell_len)
            yield Text.assemble(first, what[0])
            for more in what[1:]:
                yield Text.assemble(" " * first.cell_len, more)

    def _what(self, message: Message, width: int) -> list[Text]:
        texts, event = notes_of(message, self._screen, has_lifelines=False), event_of(message)
        if message.form is Form.DOT:
            texts.insert(0, event)
        elif not texts:
            texts.append(Text("nothing comes of it" if message.arrival is Arrival.IGNORED else "heard"))
        lines = packed(texts, SEPARATOR, self._screen, width)
        if message.form in (Form.DOT, Form.SPOT):
            return lines
        cause = Text.assemble((f"{self._screen.glyphs.because} ", FAINT), event)
        return [*lines[:-1], *packed([lines[-1], cause], " ", self._screen, width)]

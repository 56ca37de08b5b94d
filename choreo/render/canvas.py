"""Lines of a drawing: characters with styles, put down column by column.

Laws: a glyph is one column wide; a text from outside is put down by its width.
"""

from itertools import groupby
from operator import itemgetter

from rich.cells import cell_len
from rich.text import Text


class Line:
    """One line, as wide as it must be."""

    def __init__(self) -> None:
        self._cells: list[tuple[str, str]] = []

    def put(self, column: int, text: str, style: str = "") -> None:
        """Write over what stands there. A wide character takes two columns, a combining one none."""
        for character in text:
            width = cell_len(character)
            if width == 0 and 0 < column <= len(self._cells):
                before, its_style = self._cells[column - 1]
                self._cells[column - 1] = before + character, its_style
                continue
            self._reach(column + width)
            self._cells[column] = character, style
            if width == 2:
                self._cells[column + 1] = "", style
            column += width

    def text(self) -> Text:
        line = Text()
        for style, cells in groupby(self._cells, itemgetter(1)):
            line.append("".join(character for character, _ in cells), style)
        line.rstrip()
        return line

    def _reach(self, width: int) -> None:
        self._cells.extend([(" ", "")] * (width - len(self._cells)))

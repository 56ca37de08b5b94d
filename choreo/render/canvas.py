"""Lines of a drawing: styled characters, placed by column.

Laws: a glyph is one column wide; a text from outside takes its display width.
"""

from itertools import groupby
from operator import itemgetter

from rich.cells import cell_len
from rich.text import Text


class Line:
    """Line of a drawing that grows with its content."""

    def __init__(self) -> None:
        self._cells: list[tuple[str, str]] = []

    def put(self, column: int, text: str, style: str = "") -> None:
        """Overwrite the cells from `column` on. A wide character takes two columns, a combining one none."""
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

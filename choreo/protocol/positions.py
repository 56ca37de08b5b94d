"""A set of positions that mostly fills up from the first one: a value that is cheap to update, however long the saga.

Laws: every position below `below` is in the set; `beyond` has a bit for each further position, the lowest bit for
`below`. The form is canonical (the lowest bit is never set), so equal sets are equal values.
"""

from collections.abc import Sequence

from msgspec import Struct


class Positions(Struct, frozen=True, gc=False):
    """Set of positions. An update at the edge of the set costs time proportional to `beyond` only."""

    below: int = 0
    beyond: int = 0

    def __contains__(self, position: object) -> bool:
        if not isinstance(position, int):
            return False
        return position < self.below or bool(self.beyond >> (position - self.below) & 1)

    def covers(self, positions: Sequence[int]) -> bool:
        """True if all positions, in ascending order, are in the set."""
        if not positions or positions[-1] < self.below:
            return True
        # A group mostly fills up from one end, so its two ends are checked first.
        return positions[-1] in self and positions[0] in self and all(p in self for p in positions)

    def add(self, position: int) -> "Positions":
        if position < self.below:
            return self
        below, beyond = self.below, self.beyond | 1 << (position - self.below)
        filled = (beyond ^ (beyond + 1)).bit_length() - 1  # number of trailing one bits
        return Positions(below + filled, beyond >> filled)

    def remove(self, position: int) -> "Positions":
        if position >= self.below:
            return Positions(self.below, self.beyond & ~(1 << (position - self.below)))
        kept = self.below - position
        return Positions(position, (self.beyond << kept | (1 << kept) - 1) & ~1)

    def descending(self) -> list[int]:
        """Return the positions in descending order."""
        top = self.below + self.beyond.bit_length()
        return [position for position in range(top - 1, -1, -1) if position in self]

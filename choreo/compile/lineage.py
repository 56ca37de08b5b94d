"""Lineage of a plan: what comes before and after each position, however far away.

Laws: pure. Sets of positions are bit sets, so that a plan of many steps takes little memory.
"""

from collections.abc import Iterable

from choreo.compile.finding import names_text
from choreo.saga.plan import Plan


class Lineage:
    """Ancestors and descendants of each position, as bit sets."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.before = [0] * len(plan.steps)
        self.after = [0] * len(plan.steps)
        order = sorted(range(len(plan.steps)), key=plan.depths.__getitem__)
        for position in order:
            for p in plan.predecessors[position]:
                self.before[position] |= self.before[p] | 1 << p
        for position in reversed(order):
            for s in plan.successors[position]:
                self.after[position] |= self.after[s] | 1 << s

    def with_before(self, positions: Iterable[int]) -> int:
        bits = 0
        for position in positions:
            bits |= self.before[position] | 1 << position
        return bits

    def names(self, bits: int) -> str:
        return names_text([name for position, name in enumerate(self.plan.steps) if bits >> position & 1])

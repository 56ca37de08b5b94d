"""Finding of the lint, its rules, and the names in its sentences.

Laws: pure.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from choreo.saga.file.errors import NAMED_MAX, quoted

NAME_MAX = 60


class Rule(StrEnum):
    """Rules of the lint; docs/reference/definition.md explains each."""

    UNHEARD_FAILURE = "unheard-failure"
    UNHEARD_EVENT = "unheard-event"
    UNPUBLISHED_TOPIC = "unpublished-topic"
    RING = "ring"
    NO_OUTCOME = "no-outcome"
    AFTER_PIVOT = "after-pivot"
    BESIDE_PIVOT = "beside-pivot"


class Finding(Struct, frozen=True):
    """A defect of the wiring: the rule, the place in the definition, and an explanation."""

    rule: Rule
    where: str
    sentence: str


def name_text(name: str) -> str:
    """Return the name as it is if it is readable in a sentence, else quoted."""
    is_plain = name.isprintable() and name.strip() == name and 0 < len(name) <= NAME_MAX
    return name if is_plain else quoted(name)


def names_text(names: Sequence[str]) -> str:
    shown = [name_text(name) for name in names]
    if len(shown) > NAMED_MAX:
        return f"{', '.join(shown[:NAMED_MAX])} and {len(shown) - NAMED_MAX} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)

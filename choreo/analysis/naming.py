"""Lists of names as text.

Laws: pure; knows no screen.
"""

from collections.abc import Sequence


def numbered(names: Sequence[str]) -> list[str]:
    """Append (2) to the second of two equal names, (3) to the third, and so on, as the topics do."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        distinct.append(name if count == 1 else f"{name} ({count})")
    return distinct


def enumerated(names: Sequence[str], most: int = 12) -> str:
    """Join names as `a, b and c`. Of more than `most` names, the first `most` and the number of the others."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)

"""Lists of names, in words.

Laws: pure; knows no screen.
"""

from collections.abc import Sequence


def numbered(names: Sequence[str]) -> list[str]:
    """The second of equal names has (2) behind it, as its topics have."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        distinct.append(name if count == 1 else f"{name} ({count})")
    return distinct


def enumerated(names: Sequence[str], most: int = 12) -> str:
    """`a, b and c`; of very many the first and how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)

"""How a wrong definition is told: the key, what was expected, and what came.

Laws: one line, whatever came; a long text is cut, and nothing that was written by somebody else can break the line.
"""

from collections.abc import Mapping, Sequence

from choreo.saga.spelling import suggestion

__all__ = ["WrongDefinition", "key_in", "one_of", "quoted", "suggestion", "told"]

SHOWN_MAX, NAMED_MAX = 60, 8


class WrongDefinition(ValueError):
    """A definition that cannot be read, or makes no sense."""

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))


def quoted(text: str) -> str:
    """In quotes, and cut where it is long."""
    return repr(text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "...")


def told(value: object) -> str:
    """What came, in the words of TOML."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table" if value else "an empty table"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}" if value else "an empty array"
    return _told_of_other(value)


def _told_of_other(value: object) -> str:
    if isinstance(value, int) and abs(value).bit_length() > 4 * SHOWN_MAX:
        return "a number of very many digits"
    try:
        text = str(value)
    except Exception:  # whatever somebody else's class raises
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def one_of(words: Sequence[str], most: int = NAMED_MAX) -> str:
    """`a, b or c`; of very many the first and how many more there are."""
    if len(words) > most:
        return f"{', '.join(words[:most])} or one of {len(words) - most} more"
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def key_in(path: str, key: str) -> str:
    """The key below a path: `step[1].effect.credit`, in quotes where TOML would need them."""
    bare = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum() and len(key) <= SHOWN_MAX
    name = key if bare else quoted(key)
    return f"{path}.{name}" if path else name

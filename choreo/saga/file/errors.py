"""Error texts of a wrong definition: the key, the expected value and the actual one.

Laws: one line for any input. A long text is cut, and text from outside cannot break the line.
"""

from collections.abc import Mapping, Sequence

from choreo.saga.spelling import suggestion

__all__ = ["WrongDefinition", "key_in", "one_of", "quoted", "suggestion", "told"]

SHOWN_MAX, NAMED_MAX = 60, 8


class WrongDefinition(ValueError):
    """A definition that cannot be read, or is inconsistent."""

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))


def quoted(text: str) -> str:
    """Return the text in quotes, cut if it is long."""
    return repr(text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "...")


def told(value: object) -> str:
    """Return a description of the value, in the terms of TOML."""
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
    except Exception:  # the class comes from outside, and may raise any exception
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def one_of(words: Sequence[str], most: int = NAMED_MAX) -> str:
    """Return `a, b or c`; of a long list, the first words and the number of further ones."""
    if len(words) > most:
        return f"{', '.join(words[:most])} or one of {len(words) - most} more"
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def key_in(path: str, key: str) -> str:
    """Return the key below a path, such as `step[1].effect.credit`; quoted where TOML requires it."""
    bare = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum() and len(key) <= SHOWN_MAX
    name = key if bare else quoted(key)
    return f"{path}.{name}" if path else name

"""Spelling suggestions: the known word that is closest to an unknown one.

Laws: pure, and bounded for any input: only the beginning of a long word counts, and only the first of very many words.
"""

from collections.abc import Iterable
from itertools import islice

CHARACTERS_MAX, WORDS_MAX = 60, 1_000


def nearest(word: str, among: Iterable[str]) -> str | None:
    """Return the known word with the closest spelling, or None if no word is close."""
    from difflib import get_close_matches  # imported here because it is seldom needed

    known = [each[:CHARACTERS_MAX] for each in islice(among, WORDS_MAX)]
    return next(iter(get_close_matches(word[:CHARACTERS_MAX], known, n=1, cutoff=0.5)), None)


def suggestion(word: str, among: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or an empty text if no word is close."""
    near = nearest(word, among)
    return "" if near is None else f"; did you mean {near!r}?"


def module_suggestion(module: str) -> str:
    """Return the suggestion for a module that is named as a file: `shop.py`, `shops/shop.py`."""
    if not module.endswith(".py"):
        return ""
    parts = [part for part in module.removesuffix(".py").split("/") if part not in ("", ".")]
    name = ".".join(parts)
    is_module = 0 < len(name) <= CHARACTERS_MAX and all(map(str.isidentifier, parts))
    return f"; did you mean {name!r}?" if is_module else ""

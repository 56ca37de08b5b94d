"""TOML from outside, parsed within bounds.

Laws: what is nested is counted before it is parsed, for tomllib takes memory with the square of a key's parts: 32 kB of
dots take a gigabyte. Every error is one line.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

KEY_PARTS_MAX, DOTS_MAX, NESTING_MAX, WHY_MAX = 16, 50_000, 32, 200

TOKEN = re.compile(
    r'''
    (?P<key>
        """(?:[^"\\]++|\\.|"{1,2}(?!"))*+"""
      | \'\'\'(?:[^']++|'{1,2}(?!'))*+\'\'\'
      | (?!""")"(?:[^"\\\n]++|\\.)*+"
      | (?!\'\'\')'[^'\n]*+'
      | [A-Za-z0-9_+:-]++
    )
  | (?P<dot>\.)
  | (?P<open>[\[{])
  | (?P<close>[\]}])
  | (?P<blank>[ \t]++|\#[^\n]*+)
  | (?P<unterminated>["'])
  | (?P<other>.)
    ''',
    re.VERBOSE | re.DOTALL,
)
"""A string is told from a key by nothing: both are one part of a key that has one part."""


class NotToml(ValueError):
    """A text that is no TOML, or is nested beyond the bounds."""


def parse_toml(text: str) -> dict[str, Any]:
    """Raises `NotToml`, which says in one line what was expected and what came, and in which line."""
    _expect_few_brackets(text)
    _expect_short_keys(text)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotToml("expected TOML, got brackets nested too deeply") from None
    except ValueError as error:  # also for a number of too many digits
        raise NotToml(f"expected TOML, got: {str(error).partition(chr(10))[0][:WHY_MAX]}") from None


def _tokens(text: str) -> Iterator[tuple[str | None, int]]:
    """The kind and the offset of each token that is not blank, up to where tomllib gives up."""
    for token in TOKEN.finditer(text):
        if token.lastgroup == "unterminated":
            return
        if token.lastgroup != "blank":
            yield token.lastgroup, token.start()


def _expect_few_brackets(text: str) -> None:
    depth = 0
    for kind, offset in _tokens(text):
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= depth > 0
        if depth > NESTING_MAX:
            raise NotToml(f"{_line(text, offset)}: expected at most {NESTING_MAX} open brackets, got more")


def _expect_short_keys(text: str) -> None:
    parts = dots = longest = longest_at = 0
    is_after_dot = False
    for kind, offset in _tokens(text):
        if kind == "key":
            parts = parts + 1 if is_after_dot else 1
            if parts > longest:
                longest, longest_at = parts, offset
        is_after_dot = kind == "dot"
        dots += is_after_dot
    if longest > KEY_PARTS_MAX:
        where = _line(text, longest_at)
        raise NotToml(f"{where}: expected a key of at most {KEY_PARTS_MAX} parts, got one of {longest}")
    if dots > DOTS_MAX:
        raise NotToml(f"expected at most {DOTS_MAX} dots in keys and numbers, got {dots}")


def _line(text: str, offset: int) -> str:
    return f"line {text.count(chr(10), 0, offset) + 1}"

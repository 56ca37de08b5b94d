"""TOML parser with bounds on the input.

Laws: nesting is counted before parsing, because the memory of tomllib grows with the square of the parts of a key: 32
kB of dots take a gigabyte. Every error is one line.
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
"""The tokens. A string value and a quoted key match the same group: both count as a key of one part."""


class NotToml(ValueError):
    """A text that is not TOML, or is nested beyond the bounds."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a text. Raises `NotToml`: in one line, the expected and the actual text, and the line number."""
    _expect_few_brackets(text)
    _expect_short_keys(text)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotToml("expected TOML, got brackets nested too deeply") from None
    except ValueError as error:  # includes a number with too many digits
        raise NotToml(f"expected TOML, got: {str(error).partition(chr(10))[0][:WHY_MAX]}") from None


def _tokens(text: str) -> Iterator[tuple[str | None, int]]:
    """Yield the kind and the offset of each non-blank token, up to the point where tomllib fails."""
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

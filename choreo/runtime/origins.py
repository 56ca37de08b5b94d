"""Origins: prefixes that make the idempotency keys of one runner unique.

Laws: drawn from the randomness of the operating system, once for each runner and again in a process that was forked
from it; the code that draws an origin never stores it. Participants derive keys from it, and draw no random numbers.
"""

import os
from weakref import WeakSet

from choreo.saga.keys import checked_origin

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that resembles a digit (https://www.crockford.com/base32.html)."""
ORIGIN_CHARACTERS = 12
"""60 bits. Among a million origins two are equal with a probability of 4 in 10 million."""


def new_origin() -> str:
    """Draw an origin."""
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in os.urandom(ORIGIN_CHARACTERS))


class Origin:
    """The origin of an in-memory runner. A fixed one is for tests, and stays the same in a forked process."""

    __slots__ = ("__weakref__", "text")

    def __init__(self, fixed: str | None = None) -> None:
        """Draw an origin, or take the fixed one. Raises `ValueError` for a text that is unfit for keys."""
        self.text = new_origin() if fixed is None else checked_origin(fixed)
        if fixed is None:
            _drawn.add(self)


_drawn: WeakSet[Origin] = WeakSet()


def _draw_again() -> None:
    for origin in _drawn:
        origin.text = new_origin()


os.register_at_fork(after_in_child=_draw_again)

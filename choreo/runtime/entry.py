"""Entry guard: a runner refuses calls from within a service that it has called.

Laws: a refused call has changed no state.
"""

from threading import get_ident
from types import TracebackType

FROM_A_SERVICE = (
    "expected a call from outside, got one from a service that this runner has called; "
    "a service that runs a saga of its own needs a runner of its own"
)
FROM_ANOTHER_THREAD = (
    "expected a call in the thread in which this runner with its journal was made, got one in another; "
    "a runner belongs to one thread"
)


class Reentered(RuntimeError):
    """A runner was called while it is at work, or in a thread that it does not belong to."""


class Entry:
    """Guard of a runner that belongs to one thread; within the block the runner is at work."""

    def __init__(self) -> None:
        self._thread = get_ident()
        self._is_at_work = False

    def expect_outside(self) -> None:
        """Check that the caller is outside of the block. Raises `Reentered`."""
        if get_ident() != self._thread:
            raise Reentered(FROM_ANOTHER_THREAD)
        if self._is_at_work:
            raise Reentered(FROM_A_SERVICE)

    def __enter__(self) -> None:
        self._is_at_work = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_at_work = False


class Outside:
    """Turn of a caller that must be outside: one within a service, or in another thread, is refused.

    Within the block the runner may yet enter its own `Entry`.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __enter__(self) -> None:
        self._entry.expect_outside()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: the caller was only let in."""

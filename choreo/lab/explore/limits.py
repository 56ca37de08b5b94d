"""Limits of an exploration, and the use of memory of this process."""

import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

STATES_MAX = 5_000_000
MEMORY_MB_MAX = 4_000
SECONDS_MAX = 600.0


class Limits(Struct, frozen=True):
    """Limits of an exploration, beyond which it claims no proof: states, memory of the process, and time."""

    states: int = STATES_MAX
    memory_mb: int = MEMORY_MB_MAX
    seconds: float = SECONDS_MAX


@contextmanager
def without_collecting() -> Iterator[None]:
    """Switch the garbage collector off: retained values form no cycles, so collections are wasted time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def memory_mb() -> float:
    """Return the resident memory of this process in MB, or its peak if the system reports only that."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
        return pages * resource.getpagesize() / 1024**2
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

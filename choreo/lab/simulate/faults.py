"""Fault plan: faults and all other random choices of a simulated history, derived from one seed.

Laws: owner of `random`. The faults of a delivery follow from the seed and from the delivery, not from earlier queries;
so the removal of one fault leaves all others as they are, which makes shrinking possible.
"""

import zlib
from collections.abc import Mapping
from random import Random

from msgspec import Struct

from choreo.lab.model.world import Route, may_be_poisoned
from choreo.protocol.event import Event
from choreo.saga.definition import CrashPoint, FaultKind, Faults

RATE = 0.05
"""Default rate of each kind of fault, per delivery."""

USUAL = (FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.DELAY, FaultKind.CRASH)
"""The kinds of faults by default."""

SWARM = (0.0, 0.3, 1.0, 1.0, 3.0)
"""Factors of a kind's rate that vary from history to history (swarm testing: Groce et al., ISSTA 2012)."""

JITTER_MS = 4
"""Maximum of the random extra latency of a delivery, in virtual milliseconds."""

DELAY_MS, REDELIVERY_MS, RESTART_MS, PARTITION_MS = 40, 20, 30, 60
FAULTS_MIN_MS = 400
"""Minimum of the fault period, in virtual milliseconds; the duration of the definition itself is added."""

PARTITIONS_A_RATE = 10


class Verdict(Struct, frozen=True):
    """The fault of one delivery: the `copy`-th of one event to one subscriber, identified by `name`.

    `point`: of a crash.
    """

    kind: FaultKind
    name: str
    copy: int
    point: CrashPoint | None = None
    until_ms: int = 0


Script = Mapping[tuple[str, int], Verdict]
"""The faults of one history, keyed by delivery."""


class Partition(Struct, frozen=True):
    """A period in which no delivery passes between this subscriber and the others."""

    subscriber: str
    begin_ms: int
    end_ms: int


class FaultPlan:
    """The faults of one history: drawn from the seed, or exactly those of a script.

    `rates`: the rate of each kind per delivery, before the swarm factor; a partition applies to a history, at ten times
    its rate. `until_ms`: the end of the fault period, after which every run must come to its end.
    """

    def __init__(
        self,
        seed: int,
        rates: Mapping[FaultKind, float],
        subscribers: list[str],
        faults: Faults,
        until_ms: int,
        script: Script | None = None,
    ) -> None:
        random = Random(seed)  # noqa: S311  # a seed must give the same faults again
        self._salt = random.getrandbits(32)
        self._until_ms = until_ms
        swarm = {kind: rates.get(kind, 0.0) * random.choice(SWARM) for kind in FaultKind}
        total = max(1.0, sum(swarm.values()))
        self._rates = {kind: rate / total for kind, rate in swarm.items() if rate}
        self._choice_rate = random.choice((0.1, 0.3, 0.5))
        self._subscribers = faults.subscribers
        self._points = [point for point in CrashPoint if point in faults.crash_points]
        self._script = script
        self._asked: dict[str, int] = {}
        self._partitions: list[Partition] = []
        if subscribers and random.random() < self._rates.pop(FaultKind.PARTITION, 0.0) * PARTITIONS_A_RATE:
            begin_ms = int(random.random() ** 2 * until_ms / 4)
            self._partitions.append(Partition(random.choice(subscribers), begin_ms, begin_ms + PARTITION_MS))

    def verdict(self, event: Event, route: Route, copy: int, now_ms: int) -> Verdict | None:
        """Return the fault of the `copy`-th delivery of this event to this subscriber; None: it arrives."""
        if now_ms >= self._until_ms or (self._subscribers is not None and route.subscriber not in self._subscribers):
            return None
        name = f"{event.id}>{route.subscriber}"
        if self._script is not None:
            return self._script.get((name, copy))
        for partition in self._partitions:
            if partition.begin_ms <= now_ms < partition.end_ms and self._separates(partition, event, route):
                return Verdict(FaultKind.PARTITION, name, copy, None, partition.end_ms)
        chance = self._draw(f"{name}#{copy}")
        for kind, rate in self._rates.items():
            chance -= rate
            if chance < 0:
                return self._of_kind(kind, name, copy, event, route)
        return None

    def fails(self, what: str) -> bool:
        """Decide a free choice; a second query may give another answer."""
        self._asked[what] = times = self._asked.get(what, 0) + 1
        return self._draw(f"{what}#{times}") < self._choice_rate

    def within(self, what: str, low: int, high: int) -> int:
        """Return a number from low to high."""
        return low + int(self._draw(what) * (high - low + 1))

    def _of_kind(self, kind: FaultKind, name: str, copy: int, event: Event, route: Route) -> Verdict | None:
        is_crash = kind is FaultKind.CRASH
        if kind is FaultKind.POISON and not may_be_poisoned(event):
            return None
        if (route.is_local and not is_crash) or (route.is_client and (is_crash or kind is FaultKind.POISON)):
            return None
        if not is_crash:
            return Verdict(kind, name, copy)
        if not self._points:
            return None
        return Verdict(kind, name, copy, self._points[self.within(f"point {name}#{copy}", 0, len(self._points) - 1)])

    def _separates(self, partition: Partition, event: Event, route: Route) -> bool:
        if route.is_local or event.topic.source == route.subscriber:
            return False
        return partition.subscriber in (event.topic.source, route.subscriber)

    def _draw(self, what: str) -> float:
        """Return a number from 0 to 1, derived from the seed and the name; the finalizer is that of MurmurHash3."""
        bits = zlib.crc32(what.encode("utf-8", "surrogatepass"), self._salt) ^ self._salt
        bits = (bits ^ bits >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        bits = (bits ^ bits >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        return (bits ^ bits >> 16) / 0x100000000

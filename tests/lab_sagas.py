"""Small definitions for the tests of the lab: together they use every mechanism."""

from collections.abc import Iterator

from choreo.saga.definition import FaultKind, Faults, Kind, Resource, RunOf, Saga, Step, Wiring
from choreo.saga.guarantees import ALL_ON, Guarantees

NETWORK = (FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.DELAY, FaultKind.CRASH)
EVERY_KIND = tuple(FaultKind)
UNORDERED = Guarantees(ordering=False)


def saga(
    *steps: Step,
    name: str = "saga",
    kinds: tuple[FaultKind, ...] = NETWORK,
    budget: int = 1,
    guarantees: Guarantees = UNORDERED,
    resources: dict[str, Resource] | None = None,
    runs: tuple[RunOf, ...] = (),
    wiring: Wiring = Wiring(),  # noqa: B008  # a frozen value
) -> Saga:
    """Build a definition; by default without ordered delivery."""
    return Saga(
        name,
        steps=steps,
        resources=resources or {},
        runs=runs,
        guarantees=guarantees,
        wiring=wiring,
        faults=Faults(kinds, budget),
    )


def shapes(count: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to arrange `count` steps into consecutive groups."""
    if not count:
        yield ()
    for first in range(1, count + 1):
        for rest in shapes(count - first):
            yield (first, *rest)


def of_shape(shape: tuple[int, ...], failing: int | None, kinds: tuple[FaultKind, ...] = EVERY_KIND) -> Saga:
    """Build consecutive groups of these sizes; the step at `failing` refuses."""
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    for size in shape:
        first = len(steps)
        names = tuple(f"step_{first + index}" for index in range(size))
        for index, name in enumerate(names, start=first):
            steps.append(Step(name, after=before, fails="always" if index == failing else "never"))
        before = names
    return saga(*steps, kinds=kinds)


CHAIN = saga(
    Step("a", fails="may", compensation_fails="may", attempts=2), Step("b", fails="may"), Step("c", fails="may")
)
DIAMOND = saga(
    Step("a"),
    Step("b", after=("a",), fails="may"),
    Step("c", after=("a",), fails="may"),
    Step("d", after=("b", "c"), fails="may"),
)
TWO_ENDS = saga(Step("a", fails="may", after=()), Step("b", after=(), fails="may"))
LONG_BRANCH = saga(
    Step("a", after=(), fails="may"), Step("b", after=()), Step("c", after=("b",)), Step("d", after=("a", "c"))
)
LATE_BRANCH = saga(
    Step("a", after=()), Step("b", after=(), fails="may"), Step("c", after=("b",)), Step("d", after=("a", "c"))
)
UNEVEN_ENDS = saga(Step("a", after=()), Step("b", after=(), fails="may"), Step("c", after=("b",)))
UNEVEN_FORK = saga(Step("a"), Step("b", after=("a",)), Step("c", after=("a",), fails="may"), Step("d", after=("c",)))
SHORTCUT = saga(
    Step("a", compensation_fails="may", attempts=1),
    Step("b", after=("a",), compensation_fails="may", attempts=1),
    Step("c", after=("a", "b"), fails="may"),
)
SHORTCUT_BEYOND = saga(
    Step("a", kind=Kind.PIVOT),
    Step("b", after=("a",), kind=Kind.RETRIABLE, attempts=2, fails="may"),
    Step("c", after=("a",), kind=Kind.RETRIABLE, fails="may", attempts=1),
    Step("d", after=("a", "b"), kind=Kind.RETRIABLE, fails="may", attempts=1),
    kinds=(FaultKind.DROP,),
)
UNSORTED = saga(Step("a", after=()), Step("b", after=(), fails="may"), Step("c", after=("b", "a"), fails="may"))
SLOW = saga(
    Step("a"),
    Step("b", after=("a",), fails="may"),
    Step("c", after=("a",), fails="may", latency_ms=(1, 9)),
    Step("d", after=("b", "c")),
    kinds=(FaultKind.DUPLICATE,),
)
TIMED = saga(
    Step("a"), Step("b", timeout_ms=5, latency_ms=(1, 9), fails="may", compensation_fails=1), Step("c", fails="may")
)
TIMED_STUCK = saga(
    Step("a"),
    Step("b", after=("a",), timeout_ms=5, latency_ms=(1, 9), compensation_fails="may", attempts=2),
    Step("c", after=("a",), fails="may"),
    Step("d", after=("b", "c")),
    kinds=(FaultKind.CRASH,),
)
TIMED_ENDS = saga(
    Step("a", after=(), timeout_ms=5, latency_ms=(1, 9), compensation_fails="may", attempts=1),
    Step("b", after=(), fails="may"),
    kinds=(FaultKind.CRASH,),
)
PIVOT = saga(
    Step("a", fails="may"), Step("b", kind=Kind.PIVOT, fails="may"), Step("c", kind=Kind.RETRIABLE, fails=2, attempts=3)
)
PIVOT_STUCK = saga(
    Step("a"),
    Step("b", kind=Kind.PIVOT),
    Step("c", kind=Kind.RETRIABLE, fails="may", attempts=2),
    kinds=(FaultKind.DROP,),
)
SHARED = saga(
    Step("take", effect={"credit": -60}, locks=("credit",)),
    Step("look", reads=("status",)),
    Step("approve", writes={"status": "approved"}, fails="may"),
    Step("cancel", reads=("status",), writes={"status": "cancelled"}),
    resources={"credit": Resource(100, 0), "status": Resource("pending")},
    runs=(RunOf("one", steps=("take", "look", "approve")), RunOf("two", steps=("take", "cancel"))),
    kinds=(),
)
FREED = saga(
    Step("free", effect={"credit": 60}, locks=("credit",)),
    Step("ask", fails="always"),
    Step("spend", effect={"credit": -100}),
    resources={"credit": Resource(40, 0)},
    runs=(RunOf("one", steps=("free", "ask")), RunOf("two", steps=("spend",))),
    kinds=(),
)
LOCKING = saga(
    Step("first", locks=("x",)),
    Step("second", locks=("y",)),
    resources={"x": Resource(on_lock="wait"), "y": Resource(on_lock="wait")},
    runs=(RunOf("one", steps=("first", "second")), RunOf("two", steps=("second", "first"))),
    kinds=(FaultKind.DUPLICATE,),
)
WRITING = saga(
    Step("write", reads=("status",), writes={"status": "mine"}),
    Step("refuse", fails="always"),
    Step("over", writes={"status": "theirs"}),
    resources={"status": Resource("free")},
    runs=(RunOf("one", steps=("write", "refuse")), RunOf("two", steps=("over",))),
    kinds=(),
)
UPDATING = saga(
    Step("look", reads=("status",)),
    Step("approve", writes={"status": "approved"}),
    Step("cancel", reads=("status",), writes={"status": "cancelled"}),
    resources={"status": Resource("pending")},
    runs=(RunOf("one", steps=("look", "approve")), RunOf("two", steps=("cancel",))),
    kinds=(),
)
READING = saga(
    Step("look", reads=("status",)),
    Step("again", reads=("status",)),
    Step("write", writes={"status": "new"}),
    resources={"status": Resource("old")},
    runs=(RunOf("one", steps=("look", "again")), RunOf("two", steps=("write",))),
    kinds=(),
)
ASKED_AGAIN = saga(Step("a", fails="may"), Step("b"), runs=(RunOf("one", ask_again_ms=20),))
POISONED = saga(
    Step("a"),
    Step("b", fails="may"),
    runs=(RunOf("one"), RunOf("two")),
    kinds=(FaultKind.POISON,),
    guarantees=ALL_ON,
)
RELAYED = saga(
    Step("a"),
    Step("b"),
    wiring=Wiring(
        relays=(
            ("b", "step/a/succeeded", "step/b/updated"),
            ("a", "step/b/updated", "step/a/updated"),
            ("b", "step/a/updated", "step/b/updated"),
        )
    ),
    kinds=(),
)
SUITE = {
    "chain": CHAIN,
    "diamond": DIAMOND,
    "two ends": TWO_ENDS,
    "long branch": LONG_BRANCH,
    "late branch": LATE_BRANCH,
    "uneven ends": UNEVEN_ENDS,
    "uneven fork": UNEVEN_FORK,
    "shortcut": SHORTCUT,
    "shortcut beyond": SHORTCUT_BEYOND,
    "unsorted": UNSORTED,
    "slow": SLOW,
    "timed": TIMED,
    "timed, stuck": TIMED_STUCK,
    "timed ends": TIMED_ENDS,
    "pivot": PIVOT,
    "pivot, stuck": PIVOT_STUCK,
    "shared": SHARED,
    "freed": FREED,
    "locking": LOCKING,
    "writing": WRITING,
    "updating": UPDATING,
    "reading": READING,
    "asked again": ASKED_AGAIN,
    "poisoned": POISONED,
    "relayed": RELAYED,
}

"""Classes that the tests of the codec and of the migration keep, and a list of values of every kind."""

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct


class Color(Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796  # an alias is kept as its first name
    BLUE = ("b", 1)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Ledger:
    """A mutable dataclass, whose `__init__` must not run again."""

    owner: str
    entries: list[Any] = field(default_factory=list)
    size: int = field(init=False)

    made = 0

    def __post_init__(self) -> None:
        Ledger.made += 1
        self.size = len(self.entries)

    @cached_property
    def total(self) -> int:
        return sum(self.entries)


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


class Ticket(Struct):
    seat: str
    notes: list[Any] = []  # msgspec copies an empty list for each instance


class Fixed(Struct, frozen=True, kw_only=True):
    a: int
    b: int = 2


class Point(NamedTuple):
    x: int
    y: Any = 0


class Bank:
    """A plain class: it has no form in JSON."""

    def __init__(self, owner: object = None) -> None:
        self.owner = owner


VALUES: list[Any] = [
    None,
    True,
    -(2**63),
    2**64,
    2**4095,
    -(10**5000),
    0.1,
    -0.0,
    1e300,
    float("inf"),
    float("-inf"),
    "",
    "a \ud800 lone surrogate, \x00 and \U0001f600",
    "\ud83d\ude00",
    {"\ud83d\ude00": "\ud83d\ude00"},
    [1, [2, []]],
    {"a": {"b": None}},
    {"$tuple": [1], "plain": 2},
    {"$": 1},
    {"a": '"$'},
    (),
    (1, ("a",)),
    {3, 1, 2},
    {1, "1", None, (2, 3), frozenset({4})},
    frozenset(),
    b"\x00\xff",
    bytearray(b"abc"),
    datetime(2026, 1, 2, 3, 4, 5, 678901),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=30), "here")),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("UTC")),
    date(1, 1, 1),
    time(23, 59, 59, 1, fold=1),
    timedelta(days=-1, microseconds=3),
    timezone(timedelta(seconds=61)),
    Decimal("1.10"),
    Decimal("-Infinity"),
    UUID(int=7),
    Path("/a/b"),
    Color.RED,
    Color.BLUE,
    Level.HIGH,
    Right.READ | Right.WRITE,
    Right(0),
    {1: "one", (2, 3): [4], None: {}},
    Ledger("me", [1, 2]),
    Money(Decimal("5.00")),
    Ticket("1A", [Color.RED]),
    Fixed(a=1),
    Point(1, {2}),
    deque([1, 2], maxlen=3),
    OrderedDict([("b", 1), ("a", 2)]),
    defaultdict(list, {"a": [1]}),
    Counter("hello"),
]
"""A value of every kind that is kept."""

"""Crash injection at every point: before and after every statement, every delivery, every call of a service, every
reply.

Laws: a crash is real: a forked process is killed. Points are counted, so that each is reached. Recovery has only the
file, and the output that the process sent before the crash.
"""

import gc
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any, NamedTuple, NoReturn

from choreo.node.session import Session
from choreo.runtime.bus import Bus
from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.calls.call import Call
from choreo.saga.plan import plan
from choreo.saga.service import ServiceOf
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.resumptions import answered
from tests.crash.files import NO_FILES, Files, files_of, put_back
from tests.crash.judge import judge
from tests.crash.services import catalogue
from tests.crash.workload import Saga

MSG_ID = 1
NEVER = 0
"""Number of no point: the process survives."""

QUESTION = 1
"""Number of the first request of an operator."""

KINDS = {
    "publishing": "publish",
    "delivering": "delivery",
    "executing": "call",
    "compensating": "call",
    "the": "reply",
    "close": "close",
}
"""Kinds of points, by the word after "before" or "after"; all others are statements."""

DELIVERING, REPLIED = "before delivering ", "after the reply "


class Points:
    """Counts and logs the points that a process reaches, and kills the process at the point `fatal`."""

    def __init__(self, fatal: int, log: int) -> None:
        self._fatal, self._log = fatal, log
        self._number = 0

    def reach(self, what: str) -> None:
        self._number += 1
        os.write(self._log, f"{what}\n".encode())
        if self._number == self._fatal:
            os.kill(os.getpid(), SIGKILL)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        self.reach(f"before {what}")
        yield
        self.reach(f"after {what}")

    def statements(self) -> type[sqlite3.Connection]:
        """Return a connection class with a point before and after every statement."""
        around = self.around

        class Deadly(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                with around(_words(sql)):
                    return super().execute(sql, *values)

            def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
                with around(_words(sql)):
                    return super().executemany(sql, rows)

            def close(self) -> None:
                with around("close"):
                    super().close()

        return Deadly

    def services(self, service_of: ServiceOf) -> ServiceOf:
        """Wrap services with a point before and after every call."""
        return lambda step: Deadly(service_of(step), step, self)

    def deliveries(self) -> None:
        """Patch the bus of this process: a point before and after every delivery."""
        emit, around = Bus.emit, self.around

        def emit_or_die(bus: Bus, address: str, *arguments: Any) -> bool:
            if "<" not in address:
                return emit(bus, address, *arguments)  # pyee emits its own events while listeners are added
            with around(f"delivering {address}"):
                return emit(bus, address, *arguments)

        Bus.emit = emit_or_die  # type: ignore[method-assign]  # the death is planted here


class Deadly:
    """Service with a point before and after every call."""

    def __init__(self, service: Any, step: str, points: Points) -> None:
        self._service, self._step, self._points = service, step, points

    def execute(self, call: Call) -> object:
        with self._points.around(f"executing {self._step}"):
            return self._service.execute(call)

    def compensate(self, call: Call) -> None:
        with self._points.around(f"compensating {self._step}"):
            self._service.compensate(call)


class Death(NamedTuple):
    """Points that a process reached, the last of which killed it; `has_died` is false for a process that survived."""

    reached: list[str]
    has_died: bool

    @property
    def told(self) -> str | None:
        """Return the reply that the process wrote before the crash, if any."""
        return next((what.removeprefix(REPLIED) for what in self.reached if what.startswith(REPLIED)), None)


Action = Callable[[Session], Iterator[bytes]]
"""Work of a process on its opened journal; yields the replies that it writes."""


def asks_for(saga: Saga) -> Action:
    """Recover unfinished runs, then handle the request."""

    def act(session: Session) -> Iterator[bytes]:
        yield from session.recover()
        yield session.feed(saga.line(MSG_ID))

    return act


def poll_operator(session: Session) -> Iterator[bytes]:
    """Recover unfinished runs, then handle the requests of operators."""
    yield from session.recover()
    session.poll_operator()


def die(path: Path, act: Action, fatal: int) -> Death:
    """Run a process that opens the journal and is killed at the point `fatal`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _live(path, act, Points(fatal, writer))
    os.close(writer)
    with open(reader, "rb") as log:
        reached = log.read().decode().splitlines()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -SIGKILL):
        raise AssertionError(f"expected a death by SIGKILL, got status {code} after {reached[-1:]}")
    return Death(reached, code != 0)


def _live(path: Path, act: Action, points: Points) -> NoReturn:
    """Run the process from the opening of the journal to its closing."""
    status = 1
    try:
        points.deliveries()
        with process(path, points) as session:
            for replies in act(session):
                _write(points, replies)
        status = 0
    finally:
        os._exit(status)


def _write(points: Points, replies: bytes) -> None:
    for reply in replies.decode().splitlines():
        with points.around(f"the reply {reply}"):
            pass


@contextmanager
def process(path: Path, points: Points | None = None) -> Iterator[Session]:
    """Open a node's conversation on that journal."""
    deadly: dict[str, Any] = {}
    if points is not None:
        deadly = {"observe": lambda event: points.reach(f"before publishing {event.id}"), "around": points.services}
    factory = sqlite3.Connection if points is None else points.statements()
    with closing(Journal.open(str(path), factory)) as journal:
        runner = DurableRunner(catalogue(), journal, count().__next__, **deadly)
        yield Session(runner, _no_log, durable=runner)


def _no_log(text: str) -> None:
    raise AssertionError(f"expected nothing for people, got {text}")


def _words(sql: str) -> str:
    return " ".join(sql.split()[:4])


class Sweep(NamedTuple):
    """Result of one crash at every point: the number of points of each kind, and the findings by number and name of the
    point.
    """

    points: Counter[str]
    findings: dict[tuple[int, str], list[str]]


Find = Callable[[Path, Death], list[str]]
"""Check of a journal after a crash; returns the findings."""


def sweep(path: Path, act: Action, find: Find, begin: Files = NO_FILES, stops_early: bool = False) -> Sweep:
    """Run one process for each point and kill it there. The journal starts as `begin`, or is created."""
    findings: dict[tuple[int, str], list[str]] = {}
    gc.freeze()  # makes each fork copy less
    for fatal in count(1):
        put_back(path, begin)
        death = die(path, act, fatal)
        if not death.has_died or (stops_early and findings):
            break
        if found := _found(find, path, death):
            findings[fatal, death.reached[-1]] = found
    gc.unfreeze()
    return Sweep(Counter(map(_kind, death.reached)), findings)


def _found(find: Find, path: Path, death: Death) -> list[str]:
    try:
        return find(path, death)
    except Exception as error:  # a planted bug may raise any exception
        return [f"{type(error).__name__}: {error}"]


def _kind(what: str) -> str:
    return KINDS.get(what.split()[1], "statement")


# Checks after each crash


class CrashEffect(NamedTuple):
    """Content of the disk after a crash: the state of the run, if any, and its published events."""

    state: str | None
    published: set[str]


def remains_of(path: Path) -> CrashEffect:
    """Read the journal after a crash, and restore its files for the next process."""
    files = files_of(path)
    try:
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'").fetchone()[0]:
                return CrashEffect(None, set())
            states = [state for (state,) in connection.execute("SELECT state FROM runs")]
            rows = [words for (words,) in connection.execute("SELECT published FROM deliveries")]
    finally:
        put_back(path, files)
    started = {"started"} if states else set()
    return CrashEffect(states[0] if states else None, started | {word for words in rows for word in words.split()})


def promises_of(saga: Saga) -> Find:
    """Check that recovery and two retries, with a restart between them, end as if no crash had happened."""

    def find(path: Path, death: Death) -> list[str]:
        remains = remains_of(path)
        return [
            *_heard_too_early(saga, death, remains),
            *_wrong_replies(path, saga, death, remains),
            *judge(path, [saga]).findings,
        ]

    return find


def promises_of_resuming(saga: Saga, resumed: Saga) -> Find:
    """Check after recovery that the operator's request was executed once, and that the client receives the same reply
    as before.
    """

    def find(path: Path, death: Death) -> list[str]:
        with process(path) as session:
            told = b"".join(poll_operator(session)).decode()
        with process(path) as session:
            told += b"".join(poll_operator(session)).decode()
            again = session.feed(saga.line(MSG_ID)).decode().splitlines()
        with closing(Journal.open_to_read(str(path))) as journal:
            answer = answered(journal, QUESTION)
        findings = judge(path, [resumed]).findings
        if told or again != [saga.reply(MSG_ID)]:
            findings.append(f"the client was told {told!r}, and then {again}")
        if answer != (True, None):
            findings.append(f"the operator was told {answer}")
        return findings

    return find


def _heard_too_early(saga: Saga, death: Death, remains: CrashEffect) -> Iterator[str]:
    """Yield violations of write-ahead: an event was delivered, or a reply sent, before the event was on disk."""
    steps = plan(saga.steps).steps
    for what in death.reached:
        seat, _, topic = what.removeprefix(DELIVERING).partition("<")
        if what.startswith(DELIVERING) and int(seat) != len(steps):  # a participant that only listens
            scope, *rest = topic.split("/")
            word = rest[0] if scope == "saga" else f"{rest[1]}:{steps.index(rest[0])}"
            if word not in remains.published:
                yield f"{topic} was delivered to seat {seat}, and it is not on disk"


def _wrong_replies(path: Path, saga: Saga, death: Death, remains: CrashEffect) -> Iterator[str]:
    expected = saga.reply(MSG_ID)
    with process(path) as session:
        resumed = b"".join(session.recover()).decode().splitlines()
        again = session.feed(saga.line(MSG_ID)).decode().splitlines()
    with process(path) as session:
        resumed_twice = b"".join(session.recover()).decode().splitlines()
        once_more = session.feed(saga.line(MSG_ID)).decode().splitlines()
    if death.told is not None and remains.state in (None, "running"):
        yield f"told {death.told}, and on disk the run is {remains.state}"
    if resumed != [expected] * (remains.state == "running"):
        yield f"the run was {remains.state}, and when it was resumed the client was told {resumed}"
    if resumed_twice:
        yield f"resumed twice: {resumed_twice}"
    if not [death.told or expected] == again == once_more == [expected]:
        yield f"expected {expected}, told {death.told}, then {again}, then {once_more}"

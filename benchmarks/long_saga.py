"""Long saga: a step costs the same in a saga of 10,000 steps as in one of 100, and takes no stack.

A first execution compiles the itinerary and wires its bus; every further one of the same itinerary only runs. Both go
through the node's session, so reading the request and writing the reply are part of it.
"""

import inspect
import sys

from benchmarks.measure import Failed, Figure, Pairs, Target, Tell, seconds, settled
from benchmarks.workload import request
from choreo.api import compose, open_services
from choreo.node.session import Session

SHORT, LONG, LONG_QUICK = 100, 10_000, 1_000
FRAMES_MAX = 200
COMPLETED, COMPENSATED = b'"saga_completed"', b'"saga_compensated"'


def measure(quick: bool, tell: Tell) -> list[Figure]:
    long, pairs, repeats = (LONG_QUICK, 1, 1) if quick else (LONG, 9, 5)
    figures = []
    for style in ("choreography", "orchestration"):
        target = Target(1.5) if style == "choreography" else None
        for fails in (False, True):
            case = f"{style}, {'fails last' if fails else 'completes'}"
            tell(case)
            for kind, times in times_a_step(long, style, fails, pairs, repeats).items():
                figures += [
                    Figure(f"{long:,} / {SHORT} steps: {case}, {kind}", "", times.ratios(), target),
                    Figure(f"{long:,} steps: {case}, {kind}", "µs/step", [time * 1e6 for time in times.a]),
                ]
        figures.append(stack(long, style))
    return figures


def times_a_step(steps: int, style: str, fails: bool, pairs: int, repeats: int) -> dict[str, Pairs]:
    """Seconds a step, long against short: of first executions, and of repeated ones. Each side runs as many steps."""
    times = {"first": Pairs([], []), "repeated": Pairs([], [])}
    for pair in range(-1, pairs):
        long = execute(steps, style, fails, 1, repeats)
        short = execute(SHORT, style, fails, steps // SHORT, repeats * steps // SHORT)
        if pair >= 0:  # the one before the first warms up
            for kind, a, b in zip(times.values(), long, short, strict=True):
                kind.a.append(a)
                kind.b.append(b)
    return times


def execute(steps: int, style: str, fails: bool, firsts: int, repeats: int) -> tuple[float, float]:
    """Seconds a step: of the first execution in each of several sessions, and of repeats in the last of them."""
    line, end = long_request(steps, style, fails), COMPENSATED if fails else COMPLETED
    sessions = [new_session() for _ in range(firsts)]
    if end not in (reply := new_session().feed(line)):
        raise Failed(f"expected {end!r}, got {reply[:200]!r}")
    with settled():
        first = seconds(lambda: [session.feed(line) for session in sessions])
        repeated = seconds(lambda: [sessions[-1].feed(line) for _ in range(repeats)])
    return first / (firsts * steps), repeated / (repeats * steps)


def stack(steps: int, style: str) -> Figure:
    """How many more frames the long saga needs than the short one."""
    short = frames_needed(long_request(SHORT, style, fails=True))
    return Figure(
        f"{steps:,} - {SHORT} steps: {style}, depth of the stack",
        "frames",
        [frames_needed(long_request(steps, style, fails=True), at_least=short) - short],
        Target(0),
    )


def frames_needed(line: bytes, at_least: int = 1) -> int:
    """The lowest recursion limit, counted from here, under which the saga ends as it should."""
    here, limit = len(inspect.stack(context=0)), sys.getrecursionlimit()
    for frames in range(at_least, FRAMES_MAX):
        session = new_session()
        try:
            sys.setrecursionlimit(here + frames)
            reply = session.feed(line)
        except RecursionError:
            continue
        finally:
            sys.setrecursionlimit(limit)
        if COMPENSATED in reply:
            return frames
    raise Failed(f"expected a saga to run within {FRAMES_MAX} frames of stack, and it does not")


def long_request(steps: int, style: str, fails: bool) -> bytes:
    names = [f"step-{number}" for number in range(steps)]
    return request(1, names, names[-1] if fails else None, style)


def new_session() -> Session:
    """As the node has it, with nobody to log to."""
    return Session(compose(open_services()), log=lambda text: None)

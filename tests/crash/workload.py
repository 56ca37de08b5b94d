"""Requests of the client: sagas of all outcomes, in both styles, drawn from a seed; and their expected results.

Laws: an expectation follows from the request alone, by the reference model of `tests/stories.py`, which knows no
events.
"""

import json
from random import Random
from typing import NamedTuple

from choreo.runtime.durable.holding import ENDED_IN_DOUBT
from choreo.saga.plan import Itinerary, plan
from tests.crash.services import SHELVES, WHY_BROKEN
from tests.stories import Entry, Expected, Mishap, expect

STYLES = ("choreography", "orchestration")
REAL = ("book_flight", "book_hotel", "book_car", "charge", "notify", "place_order", "ship", "reserve")
LEDGERS = 6

REFUSING, STUBBORN = ("sold_out", "broken"), ("clinging", "jammed")

WAYS = (
    *("completed",) * 6,
    *("told to refuse",) * 4,
    *("sold out", "broken", "second try"),
    *("told to be stuck",) * 2,
    *("clinging", "jammed"),
)
"""Courses of a saga, repeated by frequency."""


class Saga(NamedTuple):
    """Request without its sender. `way` is its course."""

    saga_id: str | int
    steps: Itinerary
    style: str
    way: str = "completed"
    fail_step: str | None = None
    fail_compensation: str | None = None

    @property
    def expected(self) -> Expected:
        compiled = plan(self.steps)
        named = [position for position, step in enumerate(compiled.steps) if step in REFUSING]
        stubborn = [position for position, step in enumerate(compiled.steps) if step in STUBBORN]
        mishap = Mishap(self.fail_step, self.fail_compensation, frozenset(named), frozenset(stubborn))
        return expect(self.steps, mishap.refusing_in(compiled), mishap.stubborn_in(compiled))

    @property
    def how(self) -> str:
        """Return the course, with the step that was told to refuse."""
        position = None if self.fail_step is None else plan(self.steps).position_of(self.fail_step)
        return self.way if position is None else f"{self.way}, step {position + 1} refuses"

    @property
    def effects(self) -> list[Entry]:
        """Return the expected effects. A broken step takes effect too, and is undone because its answer is unknown."""
        broken = [(step, position) for position, step in enumerate(plan(self.steps).steps) if step == "broken"]
        in_doubt = [(*each, verb) for each in broken for verb in ("execute", "compensate")]
        return [*self.expected.effects, *in_doubt]

    @property
    def ending(self) -> str:
        """Return the outcome of the run, as the journal names it."""
        return str(self.expected.state)

    def line(self, msg_id: int) -> bytes:
        """Return the request as a message."""
        body = {"type": "execute", "msg_id": msg_id, "saga_id": self.saga_id, "steps": self.steps, "style": self.style}
        mishaps = {"fail_step": self.fail_step, "fail_compensation": self.fail_compensation}
        return json.dumps(body | {name: step for name, step in mishaps.items() if step is not None}).encode() + b"\n"

    def reply(self, msg_id: int, is_cut_off: bool = False) -> str:
        """Return the expected reply, character for character."""
        expected = self.expected
        told: dict[str, object] = {"compensated_steps": expected.compensated_steps}
        if expected.state == "completed":
            told = {"completed_steps": expected.completed_steps}
        elif expected.stuck_step is not None:
            told["stuck_step"] = expected.stuck_step
        if self.way == "broken":
            told["in_doubt_steps"] = ["broken"]
        if (raising := self._raising(expected)) is not None:
            is_lost = is_cut_off and self.way == "broken"
            reason = ENDED_IN_DOUBT.summary if is_lost else f"ZeroDivisionError: {WHY_BROKEN}"
            told |= {"failed_step": raising, "reason": reason}
        head = {"type": f"saga_{expected.state}", "in_reply_to": msg_id, "saga_id": self.saga_id}
        return json.dumps({**head, "state": expected.state, **told})

    def _raising(self, expected: Expected) -> str | None:
        if expected.stuck_step == "jammed":
            return "jammed"
        return "broken" if self.way == "broken" else None

    def with_other_content(self) -> "Saga":
        """Return another saga of the same id, which the node must refuse."""
        return self._replace(steps=(*self.steps, "one_more"))


class Workload:
    """Draws sagas, deterministic for the same random numbers. Every `window` has separate ledgers, which stay short."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def draw(self, count: int, window: int) -> list[Saga]:
        return [self._saga(window) for _ in range(count)]

    def _saga(self, window: int) -> Saga:
        self._count += 1
        random, way = self._random, self._random.choice(WAYS)
        least = {"completed": 0, "told to refuse": 1, "sold out": 1, "broken": 1}.get(way, 2)
        steps = self._names(random.randint(least, 6), window)
        at = random.randrange(1, len(steps)) if least == 2 else random.randrange(len(steps) or 1)
        saga = Saga(self._saga_id(), self._grouped(steps), random.choice(STYLES), way)
        if way == "told to refuse":
            return saga._replace(fail_step=steps[at])
        if way in ("sold out", "broken"):
            steps[at] = way.replace(" ", "_")
            return saga._replace(steps=self._grouped(steps))
        if way == "told to be stuck":
            return saga._replace(fail_step=steps[at], fail_compensation=steps[random.randrange(at)])
        if way in ("clinging", "jammed", "second try"):
            steps[random.randrange(at)] = way.replace(" ", "_")
            return saga._replace(steps=self._grouped(steps), fail_step=steps[at])
        return saga

    def _saga_id(self) -> str | int:
        """Return a saga id; among them 5 and "5", which are different, and texts that need JSON escapes."""
        number = self._count
        if number % 10 == 0:
            return number
        if number % 10 == 1:
            return str(number - 1)
        return f'viaje "{number}" é\u2028' if number % 17 == 0 else f"saga-{number}"

    def _names(self, count: int, window: int) -> list[str]:
        ledgers = [f"ledger_{window}_{number}" for number in range(LEDGERS)]
        names = self._random.sample([*ledgers, *SHELVES, *REAL], count)
        if count > 2 and self._random.random() < 0.1:
            names[-1] = names[0]  # one name twice
        return names

    def _grouped(self, steps: list[str]) -> Itinerary:
        """Group some of the steps to run in parallel."""
        groups: list[str | tuple[str, ...]] = []
        rest = list(steps)
        while rest:
            width = self._random.choice((1, 1, 1, 2, 3))
            group, rest = rest[:width], rest[width:]
            groups.append(group[0] if len(group) == 1 else tuple(group))
        return tuple(groups)

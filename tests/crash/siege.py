"""Siege: one journal, and a series of nodes that are killed on it, each in a different way and at a different moment.

Laws: the seed determines the requests, and how and about when each node is killed; the exact moment depends on the
machine.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from random import Random
from signal import SIGKILL
from time import perf_counter
from typing import NamedTuple

from tests.crash.client import Ask, Client
from tests.crash.judge import CheckReport, judge
from tests.crash.life import Life, spin
from tests.crash.services import LAST_CALL
from tests.crash.workload import Workload
from tests.crash.wreck import NOTHING_SEEN, Seen, Where, look, where

PLANTED = "CHOREO_CRASH_PLANTED"
"""Environment variable with the bug planted in the node; see `planted.py`."""

DIED_IN_A_CALL = " has ended the process "

WINDOW_LIVES = 10
"""Number of node lives after which the sagas use new ledgers."""

ASKED_TOGETHER = 100
"""Requests sent together when the client repeats all of them."""

FINDINGS_MAX = 20

LEAVING_S = 0.005
"""Time within which an idle node that was told to stop has ended."""


class Way(StrEnum):
    """Way in which a node is killed."""

    STARTING = "while it starts and recovers"
    REPLYING = "after so many replies"
    HANDLING = "so long after it was asked"
    CALLING = "in a call of a service"
    RECOVERING = "in a call, while it recovers"
    LEAVING = "while it ends"
    IDLE = "while it waits"


WEIGHTS = {Way.STARTING: 2, Way.REPLYING: 4, Way.HANDLING: 8, Way.CALLING: 5, Way.LEAVING: 2, Way.IDLE: 1}
WEIGHTS_OF_RECOVERY = {Way.STARTING: 8, Way.RECOVERING: 10}
"""Weights that apply where runs are left to recover."""

FIRST_WAYS = (Way.IDLE, Way.CALLING, Way.STARTING, Way.REPLYING, Way.HANDLING, Way.LEAVING)
"""Ways that come first, in every siege, however short."""


class Death(NamedTuple):
    """One death: its way, the state of the journal, and the number of unanswered requests of that life."""

    way: Way
    where: Where
    unfinished: int
    deliveries: int
    unheard: int


class Report(NamedTuple):
    """Result of a whole siege."""

    seed: int
    deaths: list[Death]
    client: Client
    judgement: CheckReport
    findings: list[str]

    @property
    def by_where(self) -> Counter[Where]:
        return Counter(death.where for death in self.deaths)


class Siege:
    """Siege of one journal in `directory`, whose nodes may have a bug. Ends after `findings_max` findings."""

    def __init__(
        self, directory: Path, seed: int, new: int = 12, planted: str | None = None, findings_max: int = FINDINGS_MAX
    ) -> None:
        self.journal = directory / "journal.db"
        self.client = Client(Random(f"client {seed}"))  # noqa: S311  # it is to be the same again
        self.findings: list[str] = []
        self.deaths: list[Death] = []
        self._seed = seed
        self._random = Random(f"deaths {seed}")  # noqa: S311  # it is to be the same again
        self._workload = Workload(Random(f"sagas {seed}"))  # noqa: S311  # it is to be the same again
        self._new, self._planted, self._findings_max = new, planted, findings_max
        self._copy = directory / "copy.db"
        self._seen = NOTHING_SEEN
        self._lives = 0
        self._starting_s, self._handling_s = 0.02, 0.02

    def run(self, kills: int, tell: Callable[[Death], None] = lambda death: None) -> Report:
        """Kill `kills` nodes; then run one node to its end, and one more that receives every request again."""
        for number in range(kills):
            way = FIRST_WAYS[number] if number < len(FIRST_WAYS) else self._drawn_way()
            self._live(way)
            tell(self.deaths[-1])
            if self._found() >= self._findings_max:
                break
        self._live_to_the_end(self._asks(0))
        self._live_to_the_end(self.client.every_ask())
        unanswered = [f"{ask.saga.saga_id!r} was never answered" for ask in self.client.unanswered]
        judgement = judge(self.journal, self.client.sagas)
        findings = [*self.client.findings, *self.findings, *unanswered, *judgement.findings]
        return Report(self._seed, self.deaths, self.client, judgement, findings)

    # Lives

    def _live(self, way: Way) -> None:
        asks, before = self._asks(self._new), self._seen
        with self._new_life(self._last_call(way)) as life:
            self._die(life, way, asks)
            life.kill()
            if self._random.random() < 0.3 and way is not Way.REPLYING:
                list(self._replies(life))  # read the output written before the death
            self._note_stderr(life)
        self._look()
        self.deaths.append(self._death(way, asks, before))

    def _new_life(self, last_call: str = "") -> Life:
        if self._planted is None:
            return Life(self.journal, environment={LAST_CALL: last_call})
        environment = {LAST_CALL: last_call, PLANTED: self._planted}
        return Life(self.journal, services="tests.crash.planted", environment=environment)

    def _last_call(self, way: Way) -> str:
        calls = {Way.CALLING: 2 * self._new, Way.RECOVERING: 2 * len(self._seen.unfinished)}.get(way, 0)
        return f"{self._random.randint(1, calls)}{self._random.choice(('', '+'))}" if calls else ""

    def _die(self, life: Life, way: Way, asks: list[Ask]) -> None:
        """Drive a node to the point where it is to be killed."""
        random = self._random
        match way:
            case Way.STARTING:
                life.send(self.client.bytes_of(asks))
                life.until_it_has_the_journal()
                spin(random.random() * self._starting_s)
            case Way.REPLYING:
                self._ask_all(life, asks, random.randint(1, len(asks)))
            case Way.HANDLING:
                self._ask_all(life)
                life.send(self.client.bytes_of(asks))
                spin(random.random() * self._handling_s)
            case Way.CALLING | Way.RECOVERING:
                self._ask_all(life, asks)
            case Way.IDLE | Way.LEAVING:
                self._ask_all(life)
                self._ask_all(life, asks)
                if way is Way.LEAVING:
                    life.end_input()
                    spin(random.random() * LEAVING_S)

    def _live_to_the_end(self, asks: list[Ask]) -> None:
        with self._new_life() as life:
            for first in range(0, max(len(asks), 1), ASKED_TOGETHER):
                self._ask_all(life, asks[first : first + ASKED_TOGETHER])
            life.end_input()
            rest = list(life.lines())
            if rest or life.status():
                self.findings.append(f"expected a quiet end, got {rest} and status {life.process.returncode}")
            self._note_stderr(life)
        self._look()

    def _ask_all(self, life: Life, asks: Sequence[Ask] = (), replies_max: int | None = None) -> None:
        """Send requests, and read until all are answered, `replies_max` replies have come, or the node dies."""
        barrier, line = self.client.barrier()
        is_first, answered = not life.has_replied, []
        life.send(self.client.bytes_of(asks) + line)
        if is_first:
            life.until_it_has_the_journal()
        begin = perf_counter()
        for msg_id in self._replies(life):
            answered.append(msg_id)
            if msg_id == barrier:
                self._note_times(is_first, perf_counter() - begin)
                self._judge_replies(is_first, asks, answered)
                return
            if len(answered) == replies_max:
                return
        if life.status() != -SIGKILL:
            self.findings.append(f"the node ended by itself, with status {life.process.returncode}")

    def _note_times(self, is_first: bool, seconds: float) -> None:
        if is_first:
            self._starting_s = seconds
        else:
            self._handling_s = seconds

    def _judge_replies(self, is_first: bool, asks: Iterable[Ask], answered: list[int]) -> None:
        """Check that every request has a reply, and that replies to recovered runs come before all others."""
        passed_over = {ask.msg_id for ask in asks} - set(answered)
        if passed_over:
            self.findings.append(f"asked and passed over: {passed_over}")
        unfinished = [self._seen.message_of[run] for run in sorted(self._seen.unfinished)] if is_first else []
        late = {self._seen.message_of[run] for run in self._seen.suspects & self._seen.unfinished.keys()}
        first = answered[: len(unfinished)]
        is_in_order = [each for each in first if each not in late] == [each for each in unfinished if each not in late]
        if not is_in_order or set(first) != set(unfinished):
            self.findings.append(f"expected the replies to {unfinished} first, got {answered}")

    def _replies(self, life: Life) -> Iterator[int]:
        return map(self.client.hear, life.lines())

    def _asks(self, new: int) -> list[Ask]:
        self._lives += 1
        return self.client.next_asks(self._workload.draw(new, self._lives // WINDOW_LIVES), new // 2)

    def _drawn_way(self) -> Way:
        weights = WEIGHTS | (WEIGHTS_OF_RECOVERY if self._seen.unfinished else {})
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _note_stderr(self, life: Life) -> None:
        """Check stderr: the next node reports a death in a call of a service; any other line is a finding, even a held
        run.
        """
        told = [line for line in life.stderr.splitlines() if DIED_IN_A_CALL not in line]
        if told:
            self.findings.append(f"the node had for people: {told[-5:]}")

    # After a death

    def _look(self) -> None:
        """Check a copy of the journal: every reply sent is on disk, and the file is intact."""
        self._seen = seen = look(self.journal, self._copy)
        self.findings += seen.damage
        for saga in self.client.answered:
            state = seen.ended.get(json.dumps(saga.saga_id))
            if state != saga.ending:
                self.findings.append(f"{saga.saga_id!r} was told {saga.ending}, and on disk it is {state}")

    def _death(self, way: Way, asks: list[Ask], before: Seen) -> Death:
        after = self._seen
        unheard = [ask for ask in asks if ask.msg_id not in self.client.replies]
        return Death(way, where(asks, unheard, before, after), *after.standing, len(unheard))

    def _found(self) -> int:
        return len(self.findings) + len(self.client.findings)

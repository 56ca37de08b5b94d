"""Client of a node that crashes repeatedly: it retries until it is answered, and remembers every reply.

Laws: knows its requests and the replies, and has no access to the journal.
"""

import json
from collections.abc import Iterable
from itertools import count
from random import Random
from typing import NamedTuple

from tests.crash.workload import Saga

NOT_SUPPORTED, PRECONDITION_FAILED = 10, 22


class Ask(NamedTuple):
    """One message. `is_other` marks a request with the id of a recorded saga and different content."""

    msg_id: int
    saga: Saga
    is_other: bool = False

    @property
    def line(self) -> bytes:
        return (self.saga.with_other_content() if self.is_other else self.saga).line(self.msg_id)


class Client:
    """`findings` are the unexpected replies."""

    def __init__(self, random: Random) -> None:
        self.asks: dict[int, Ask] = {}
        self.replies: dict[int, str] = {}
        self.findings: list[str] = []
        self.sent = self.repeated = self.heard = self.compared = 0
        self._random = random
        self._numbers = count(1)
        self._cut_off: dict[str, bool] = {}

    @property
    def unanswered(self) -> list[Ask]:
        return [ask for msg_id, ask in self.asks.items() if msg_id not in self.replies]

    @property
    def sagas(self) -> list[Saga]:
        return list(dict.fromkeys(ask.saga for ask in self.asks.values()))

    @property
    def answered(self) -> list[Saga]:
        """Return the sagas with at least one answered request."""
        return list(dict.fromkeys(self.asks[msg_id].saga for msg_id in self.replies))

    def next_asks(self, sagas: Iterable[Saga], repeated: int) -> list[Ask]:
        """Return, in random order: unanswered requests, some answered ones, some with different content, and the given
        sagas.
        """
        random = self._random
        pending = self.unanswered
        known = random.sample(sorted(self.replies), min(repeated, len(self.replies)))
        again = [*pending, *(self.asks[msg_id] for msg_id in known)]
        again += [self._ask(ask.saga) for ask in random.sample(again, min(2, len(again)))]  # with a new message id
        other = [self._ask(self.asks[msg_id].saga, is_other=True) for msg_id in known if random.random() < 0.1]
        new = [self._ask(saga) for saga in sagas]
        twice = [ask for ask in new if random.random() < 0.1]
        self.repeated += len(again) + len(twice)
        asks = [*again, *other, *new, *twice]
        random.shuffle(asks)
        return asks

    def every_ask(self) -> list[Ask]:
        self.repeated += len(self.asks)
        return list(self.asks.values())

    def bytes_of(self, asks: Iterable[Ask]) -> bytes:
        lines = [ask.line for ask in asks]
        self.sent += len(lines)
        return b"".join(lines)

    def barrier(self) -> tuple[int, bytes]:
        """Return an invalid message: once its error reply arrives, all earlier replies have arrived too."""
        msg_id = next(self._numbers)
        return msg_id, json.dumps({"type": "barrier", "msg_id": msg_id}).encode() + b"\n"

    def hear(self, line: str) -> int:
        """Record one reply; return the number of the message that it answers."""
        body = json.loads(line)
        msg_id: int = body["in_reply_to"]
        ask = self.asks.get(msg_id)
        if ask is None:
            if body.get("code") != NOT_SUPPORTED:
                self.findings.append(f"a reply to what nobody had asked: {line}")
            return msg_id
        self.heard += 1
        first = self.replies.setdefault(msg_id, line)
        self.compared += first is not line
        if first != line:
            self.findings.append(f"{ask.saga.saga_id!r} was told {first}, and then {line}")
        elif ask.is_other and body.get("code") != PRECONDITION_FAILED:
            self.findings.append(f"{ask.saga.saga_id!r} was asked with other content, and was told {line}")
        elif not ask.is_other and not self._is_expected(ask.saga, msg_id, line):
            self.findings.append(f"{ask.saga.saga_id!r}: expected {ask.saga.reply(msg_id)}, got {line}")
        return msg_id

    def _ask(self, saga: Saga, is_other: bool = False) -> Ask:
        ask = Ask(next(self._numbers), saga, is_other)
        self.asks[ask.msg_id] = ask
        return ask

    def _is_expected(self, saga: Saga, msg_id: int, line: str) -> bool:
        """Whether it is the reply: of a step in doubt whose undo was cut off the exception is lost, from then on."""
        is_cut_off = line == saga.reply(msg_id, is_cut_off=True)
        if not is_cut_off and line != saga.reply(msg_id):
            return False
        return self._cut_off.setdefault(repr(saga.saga_id), is_cut_off) == is_cut_off

"""Helpers for tests of the node: a session, a node as a process, and the expected replies.

Laws: no test sleeps. A test that waits for the process waits on a pipe, and gives up after `TIMEOUT_S`.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from choreo.node.session import MESSAGE_BYTES_MAX, Session
from choreo.runtime.durable.runner import DurableRunner
from choreo.runtime.in_memory import InProcessRunner
from choreo.runtime.runner import Runner
from services.simulated import Simulated

ROOT = Path(__file__).parents[1]
EXAMPLES = Path(__file__).parent / "examples"
TIMEOUT_S = 60


def execute(msg_id: int, *steps: object, **fields: object) -> dict[str, Any]:
    """An `execute` message in its envelope, as the reference cases have it."""
    body = {"type": "execute", "msg_id": msg_id, "saga_id": f"booking-{msg_id}", "steps": list(steps), **fields}
    return {"src": "orchestrator", "dest": "saga", "body": body}


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def expected_reply(body: dict[str, Any]) -> str:
    """Return the expected reply to an `execute` of a chain, derived from the request alone; uses no code of choreo."""
    head = {"in_reply_to": body["msg_id"]} if "msg_id" in body else {}
    saga = {"saga_id": body["saga_id"]}
    steps, fail_step = body["steps"], body.get("fail_step")
    if fail_step not in steps:
        return json.dumps(
            {"type": "saga_completed", **head, **saga, "state": "completed", "completed_steps": len(steps)}
        )
    backward = steps[: steps.index(fail_step)][::-1]
    stuck_step = body.get("fail_compensation")
    if stuck_step not in backward:
        return json.dumps(
            {"type": "saga_compensated", **head, **saga, "state": "compensated", "compensated_steps": backward}
        )
    compensated = backward[: backward.index(stuck_step)]
    state = {"state": "stuck", "compensated_steps": compensated, "stuck_step": stuck_step}
    return json.dumps({"type": "saga_stuck", **head, **saga, **state})


class Talk:
    """Session over simulated services. `logged` has its log lines."""

    def __init__(
        self,
        envelope: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        runner: Runner | None = None,
        durable: DurableRunner | None = None,
    ) -> None:
        self.logged: list[str] = []
        service = Simulated()
        runner = durable or runner or InProcessRunner(lambda step: service)
        self._session = Session(runner, self.logged.append, envelope, message_bytes_max, durable=durable)

    def say(self, data: bytes) -> list[str]:
        """Return the reply lines to this part of the input."""
        return self._session.feed(data).decode("ascii").splitlines()

    def end(self) -> list[str]:
        return self._session.end().decode("ascii").splitlines()

    def all(self, *chunks: bytes) -> list[str]:
        """Return the reply lines to the whole input, given in these chunks."""
        return [*(reply for chunk in chunks for reply in self.say(chunk)), *self.end()]


def replies_to(*chunks: bytes, **options: Any) -> list[dict[str, Any]]:
    """Return the replies of a new session to the whole input."""
    return [json.loads(reply) for reply in Talk(**options).all(*chunks)]


def errors_in(replies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [reply for reply in replies if reply["type"] == "error"]


class Node:
    """`python main.py` as a process. Leaving the block ends it."""

    def __init__(self, *options: str, stdin: int | IO[bytes] = subprocess.PIPE, stdout: int = subprocess.PIPE) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self.process = subprocess.Popen(
            [sys.executable, "main.py", *options], cwd=ROOT, stdin=stdin, stdout=stdout, stderr=self._stderr
        )
        self._received = b""

    def __enter__(self) -> "Node":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stderr(self) -> str:
        """Return the text written to stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read().decode()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self) -> str:
        """Return the next line of stdout, without its newline."""
        while b"\n" not in self._received:
            ready, _, _ = select.select([self.stdout], [], [], TIMEOUT_S)
            assert ready, f"no reply within {TIMEOUT_S} s; so far {self._received!r}, stderr {self.stderr!r}"
            data = os.read(self.stdout.fileno(), 1 << 16)
            assert data, f"stdout was closed; so far {self._received!r}, stderr {self.stderr!r}"
            self._received += data
        reply, _, self._received = self._received.partition(b"\n")
        return reply.decode()

    def ask(self, message: object) -> str:
        self.send(line(message))
        return self.receive()

    def finish(self) -> list[str]:
        """Close its input, and return the remaining lines of stdout."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.rest()

    def stop(self, number: signal.Signals) -> list[str]:
        """Send a signal, and return the remaining lines of stdout."""
        self.process.send_signal(number)
        return self.rest()

    def rest(self) -> list[str]:
        data = self._received + self.stdout.read()
        self.process.wait(TIMEOUT_S)
        return data.decode().splitlines()

"""One process of the durable node, from its start to its crash.

Laws: no sleeping. A wait reads from a pipe, or spins on the clock for a few milliseconds.
"""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from tests.stories import ROOT

TIMEOUT_S = 60
OPENING_S_MAX = 10.0


SERVICES = "tests.crash.services"
NOTHING: Mapping[str, str] = {}


class Life:
    """`python main.py --journal FILE` with these services. Leaving the block kills it.

    `under` is a wrapper command for the process.
    """

    def __init__(
        self,
        journal: Path,
        *options: str,
        services: str = SERVICES,
        environment: Mapping[str, str] = NOTHING,
        under: Sequence[str] = (),
    ) -> None:
        self._lock = Path(f"{journal}-lock")
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self.process = subprocess.Popen(
            [*under, sys.executable, "main.py", "--journal", str(journal), "--services", services, *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **environment},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._received = b""
        self.has_replied = False

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    @property
    def stderr(self) -> str:
        """Return its log lines."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def send(self, data: bytes) -> None:
        """Send data until all is sent or the process dies."""
        with suppress(BrokenPipeError):
            self._stdin.write(data)
            self._stdin.flush()

    def end_input(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()

    def status(self) -> int:
        """Wait until it exits by itself; return its exit status."""
        return self.process.wait(TIMEOUT_S)

    def until_it_has_the_journal(self) -> None:
        """Poll the lock until this process holds it."""
        mine, until = f"{self.process.pid}\n", perf_counter() + OPENING_S_MAX
        while perf_counter() < until and self.process.poll() is None:
            with suppress(OSError):
                if self._lock.read_text() == mine:
                    return

    def lines(self) -> Iterator[str]:
        """Yield the lines of its stdout as they arrive, until it is closed."""
        while True:
            while b"\n" in self._received:
                line, _, self._received = self._received.partition(b"\n")
                self.has_replied = True
                yield line.decode()
            ready, _, _ = select.select([self._stdout], [], [], TIMEOUT_S)
            assert ready, f"no reply within {TIMEOUT_S} s; stderr {self.stderr!r}"
            data = os.read(self._stdout.fileno(), 1 << 16)
            if not data:
                return
            self._received += data

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)


def spin(seconds: float) -> None:
    """Busy-wait for this time."""
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass

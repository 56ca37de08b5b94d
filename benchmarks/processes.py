"""The node, and the loop that it is measured against, as the processes that a user would start.

Laws: whatever was started is gone when its block is left, by whichever way. Ctrl-C reaches the benchmarks alone, which
end what they began.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from shutil import rmtree
from subprocess import DEVNULL, PIPE, Popen
from tempfile import mkdtemp
from time import perf_counter
from typing import IO

from benchmarks.measure import Failed

ROOT = Path(__file__).parents[1]
NODE = (sys.executable, str(ROOT / "main.py"))
LOOP = (sys.executable, str(ROOT / "benchmarks" / "loop.py"))
ECHO = (sys.executable, str(ROOT / "benchmarks" / "echo.py"))

Command = Sequence[str]
Stream = int | IO[bytes] | None


@contextmanager
def started(command: Command, stdin: Stream = PIPE, stdout: Stream = PIPE) -> Iterator[Popen[bytes]]:
    """A process with its pipes, in a session of its own."""
    process = Popen(command, stdin=stdin, stdout=stdout, cwd=ROOT, env=environment(), start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def ask(process: "Popen[bytes]", lines: bytes, replies: int) -> bytes:
    """Send the lines and wait for that many replies; the last of them. Keep the lines below what a pipe holds."""
    to, back = _pipe(process.stdin), _pipe(process.stdout)
    to.write(lines)
    to.flush()
    reply = b""
    for _ in range(replies):
        reply = back.readline()
    if not reply:
        raise Failed(f"expected {replies} replies, and the process ended before")
    return reply


def seconds_to_answer(command: Command, file: Path) -> float:
    """`cat FILE | COMMAND | cat >/dev/null`: from the launch of the command until its last reply was taken."""
    with started(["cat", str(file)], DEVNULL) as source:
        start = perf_counter()
        with started(command, source.stdout) as node, started(["cat"], node.stdout, DEVNULL) as drain:
            for handed_on in (source.stdout, node.stdout):
                _pipe(handed_on).close()  # a pipe ends when its last holder lets go, and we are one
            status = node.wait() or drain.wait()
            seconds = perf_counter() - start
    if status:
        raise Failed(f"expected {command[1:]} to exit with 0, got {status}")
    return seconds


def replies_of(command: Command, requests: bytes) -> bytes:
    """Everything that the command answers."""
    return subprocess.run(command, input=requests, stdout=PIPE, cwd=ROOT, env=environment(), check=True).stdout


@cache
def environment() -> dict[str, str]:
    """The environment of a plain shell: no PYTHON variable of whoever measures changes what is measured.

    Bytecode is kept, as on any second launch, in a directory that goes when the benchmarks end.
    """
    bytecode = mkdtemp()
    atexit.register(rmtree, bytecode, ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONPYCACHEPREFIX": bytecode}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise Failed("expected a process with a pipe, got one without")
    return stream

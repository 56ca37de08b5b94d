"""Streams of the node: reads the available input, and writes the replies before it waits for more.

Laws: knows file descriptors and signals, and nothing of messages. A signal ends the reading, never the handling of
input already read. When the reader of the replies is gone, the node ends quietly; a reader that is stalled cannot keep
it from ending.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Protocol

CHUNK_BYTES = 64 * 1024
GRACE_S, LOOK_S = 5.0, 0.1
"""Grace period for the reader of the replies after a signal, and the interval of checks during it."""


class Conversation(Protocol):
    """Interface that `serve` drives: bytes in, bytes out."""

    def recover(self) -> Iterator[bytes]: ...

    def poll_operator(self) -> None: ...

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class RepliesNotRead(Exception):
    """Raised when the reader has not taken the replies within the grace period after a signal."""


def serve(
    conversation: Conversation, source: int, sink: int, line_by_line: bool = False, attend_s: float | None = None
) -> None:
    """Recover the runs of an earlier process; then read from `source` until it ends or a signal comes.

    Replies are written to `sink`.

    `line_by_line` writes the replies to each line before the next line is handled, which costs a system call a line.
    With `attend_s` the conversation is called at this interval, with or without input. After a signal the conversation
    is not told of an end of input: a message cut off then is no mistake of the sender. Raises `RepliesNotRead` where
    the replies are not read for `GRACE_S` seconds after a signal.
    """
    out = Sink(sink)
    try:
        with stop_signals(out.stop) as stopped:
            for replies in conversation.recover():
                out.write(replies)
                if _is_ready(stopped):
                    return
            while data := _read(conversation, source, stopped, attend_s):
                for piece in data.splitlines(keepends=True) if line_by_line else (data,):
                    out.write(conversation.feed(piece))
                if attend_s is not None:
                    conversation.poll_operator()
            if data is not None:
                out.write(conversation.end())
    except ConnectionError:
        pass  # the reader of the replies is gone
    finally:
        out.release()


class Sink:
    """Writes the replies; after a signal it waits for its reader no longer than the grace period."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_writing = False
        self._is_stopped = False
        self._was_blocking = os.get_blocking(descriptor)
        self._until_s: float | None = None

    def stop(self) -> None:
        """Stop waiting for the reader: a signal has come, perhaps during a blocked write.

        Called by a signal handler, between any two instructions of `write`.
        """
        self._is_stopped = True
        if self._is_writing and self._was_blocking:
            os.set_blocking(self._descriptor, False)

    def release(self) -> None:
        """Restore the mode of the descriptor: other processes may share it."""
        if self._is_stopped and self._was_blocking:
            with suppress(OSError):
                os.set_blocking(self._descriptor, True)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        self._is_writing = True
        if self._is_stopped:
            self.stop()
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                self._wait(len(view))
        self._is_writing = False

    def _wait(self, left: int) -> None:
        """Wait until the descriptor is writable. A signal does not interrupt the wait, so it is polled for."""
        while not select.select([], [self._descriptor], [], LOOK_S)[1]:
            if not self._is_stopped:
                continue
            self._until_s = self._until_s or monotonic() + GRACE_S
            if monotonic() > self._until_s:
                raise RepliesNotRead(f"the last {left} bytes of replies were not read within {GRACE_S} s of a signal")


@contextmanager
def stop_signals(stop: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Within the block, SIGINT and SIGTERM only make the yielded descriptor readable and call `stop`."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    handlers = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reader
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reader)
        os.close(writer)


def _read(conversation: Conversation, source: int, stopped: int, attend_s: float | None) -> bytes | None:
    """Return the available input; empty at the end of the input; None after a signal."""
    while True:
        ready, _, _ = select.select([source, stopped], [], [], attend_s)
        if stopped in ready:
            return None
        if not ready:
            conversation.poll_operator()
            continue
        try:
            data = os.read(source, CHUNK_BYTES)
        except BlockingIOError:
            continue
        if not data and _is_ready(stopped):
            return None  # the signal came before the end of the input, during the wait
        return data


def _is_ready(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])

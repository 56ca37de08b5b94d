"""The node's two streams: reads what is there, writes the replies before it waits for more.

Laws: knows file descriptors and signals, and nothing of messages. A signal ends the reading, never the handling of what
was read. A reader that goes away ends the node quietly.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

CHUNK_BYTES = 64 * 1024


class Conversation(Protocol):
    """What `serve` feeds: bytes in, bytes out."""

    def recover(self) -> Iterator[bytes]: ...

    def attend(self) -> None: ...

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


def serve(
    conversation: Conversation, source: int, sink: int, line_by_line: bool = False, attend_s: float | None = None
) -> None:
    """Go on with what an earlier process had begun; then read from `source` until it ends or a signal says stop.

    Replies are written to `sink`.

    `line_by_line` writes the replies to each line before the next is handled, at the price of a system call a line.
    With `attend_s` the conversation may attend to other things after so many seconds, whether or not something comes.
    After a signal the conversation is not told of an end: what is cut off then is no mistake of the sender.
    """
    try:
        with stop_signals() as stopped:
            for replies in conversation.recover():
                _write(sink, replies)
                if _is_ready(stopped):
                    return
            while data := _read(conversation, source, stopped, attend_s):
                for piece in data.splitlines(keepends=True) if line_by_line else (data,):
                    _write(sink, conversation.feed(piece))
                if attend_s is not None:
                    conversation.attend()
            if data is not None:
                _write(sink, conversation.end())
    except ConnectionError:
        pass  # nobody reads the replies any more


@contextmanager
def stop_signals() -> Iterator[int]:
    """SIGINT and SIGTERM make the yielded descriptor readable, and do nothing else while the block runs."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reader
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reader)
        os.close(writer)


def missing_descriptors(count: int) -> str | None:
    """Why so many files cannot be opened beside those that are open, or None if they can."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        why = f"expected to be able to open {count} files, got {len(opened)} ({error.strerror})"
        return f"{why}: raise the limit (ulimit -n)"
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def _ignore(number: int, frame: FrameType | None) -> None:
    """The descriptor tells; nothing is interrupted."""


def _read(conversation: Conversation, source: int, stopped: int, attend_s: float | None) -> bytes | None:
    """What is there; nothing at the end of the input; None after a signal."""
    while True:
        ready, _, _ = select.select([source, stopped], [], [], attend_s)
        if stopped in ready:
            return None
        if not ready:
            conversation.attend()
            continue
        try:
            return os.read(source, CHUNK_BYTES)
        except BlockingIOError:
            continue


def _is_ready(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _write(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(sink, view) :]
        except BlockingIOError:
            select.select([], [sink], [])

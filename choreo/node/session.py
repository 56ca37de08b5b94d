"""One conversation: bytes in, bytes out.

Laws: no I/O. Every request that can be addressed gets exactly one reply, in the order of the requests. Nothing that
comes in raises: a mistake becomes an error reply, a defect of a service becomes one too.
"""

import re
from collections.abc import Callable, Iterable

from msgspec import UNSET

from choreo.domain.plan import PlanTooLarge
from choreo.node.framing import Frame, Framer, Text
from choreo.node.messages import (
    CRASH,
    DECODE_ERRORS,
    MALFORMED_REQUEST,
    Execute,
    Init,
    Malformed,
    Message,
    decode,
    decode_bare,
    decode_with_care,
    envelope_text,
    error_text,
    init_ok_text,
    looks_like_message,
    reply_text,
)
from choreo.runners.in_process import InProcessRunner

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MESSAGE_BYTES_MAX = 8 * 1024 * 1024

CLOSING = re.compile(rb"[ \t\r]*+[}\]]")


class Session:
    """Feed it what was read; it returns what is to be written.

    `log` takes a line for people, where there is nobody to reply to. `replied` is shown the body of every reply.
    """

    def __init__(
        self,
        runner: InProcessRunner,
        log: Callable[[str], None],
        envelope: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        replied: Callable[[str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._log = log
        self._replied = replied
        self._node_id: str | None = None
        self._envelope = envelope
        self._message_bytes_max = message_bytes_max
        self._framer = Framer(message_bytes_max)
        self._is_framing = False
        self._tail: list[bytes] = []  # the last line, which has no newline yet
        self._tail_size = 0
        self._is_mid_line = False  # the framer has the begin of that line already
        self._replies: list[str] = []

    def feed(self, data: bytes) -> bytes:
        """Handle the lines that `data` completes, and return their replies."""
        end = data.rfind(b"\n") + 1
        if end:
            self._handle(b"".join([*self._tail, data[:end]]))
            self._tail, self._tail_size = [], 0
        if end < len(data):
            self._keep(data[end:])
        return self._flush()

    def end(self) -> bytes:
        """Handle what is left at the end of the input."""
        rest, self._tail = b"".join(self._tail), []
        self._handle(rest + b"\n")
        self._give_up()
        return self._flush()

    def _flush(self) -> bytes:
        replies = self._replies
        if not replies:
            return b""
        replies.append("")
        data = "\n".join(replies).encode()
        replies.clear()
        return data

    def _handle(self, block: bytes) -> None:
        if self._is_mid_line:
            begin = block.index(b"\n") + 1
            self._frame(block[:begin])
            self._is_mid_line = False
            block = block[begin:]
        lines = block.split(b"\n")
        lines.pop()
        if block.isascii() or _is_utf8(block):
            self._handle_lines(lines)
            return
        for line in lines:
            if _is_utf8(line):
                self._handle_lines([line])
            else:
                self._frame(line + b"\n")  # the fast decoder does not see it everywhere

    def _handle_lines(self, lines: list[bytes]) -> None:
        """The fast path: a line that is a valid message. Everything else is taken with care."""
        for line in lines:
            try:
                message = decode(line)
            except DECODE_ERRORS:
                self._handle_with_care(line)
                continue
            if self._is_framing or len(line) > self._message_bytes_max:
                self._handle_with_care(line)
            else:
                self._answer(message)

    def _handle_with_care(self, line: bytes) -> None:
        if b"{" in line and len(line) <= self._message_bytes_max:
            text = line.removeprefix(BYTE_ORDER_MARK)
            message = decode_bare(text)
            if self._is_framing and (message is not None or looks_like_message(text)):
                self._give_up()
            if message is not None:
                self._answer(message)
                return
        self._frame(line + b"\n")

    def _keep(self, data: bytes) -> None:
        """Hold a line that has no newline yet, as long as there is a reason to."""
        self._tail.append(data)
        self._tail_size += len(data)
        if self._tail_size > self._message_bytes_max or self._may_be_complete(data):
            self._frame(b"".join(self._tail))
            self._is_mid_line = True
            self._tail, self._tail_size = [], 0

    def _may_be_complete(self, data: bytes) -> bool:
        """Whether the last line may end a message, and not be one of its own, in the middle of an unfinished one."""
        if not data.endswith(b"}"):
            return False
        return not self._is_framing or (not self._is_mid_line and CLOSING.match(self._tail[0]) is not None)

    def _frame(self, piece: bytes) -> None:
        if not self._is_mid_line:
            piece = piece.removeprefix(BYTE_ORDER_MARK)
        self._answer_frames(self._framer.feed(piece))
        self._is_framing = not self._framer.is_idle

    def _give_up(self) -> None:
        self._answer_frames(self._framer.give_up())
        self._is_framing = False

    def _answer_frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if not isinstance(frame, Text):
                self._refuse(Malformed(frame.why))
            elif not frame.is_inner or looks_like_message(frame.data):
                self._answer_text(frame.data)

    def _answer_text(self, data: bytes) -> None:
        try:
            message = decode_with_care(data)
        except Malformed as malformed:
            self._refuse(malformed)
        else:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        body = message.body
        if self._envelope and body.in_reply_to is not UNSET:
            return  # itself a reply: answering it would be answered in turn
        if isinstance(body, Execute):
            self._reply(self._execute(body), message.src, message.dest)
        else:
            self._introduce(body, message.src)

    def _execute(self, request: Execute) -> str:
        try:
            outcome = self._runner.execute(
                request.saga_id, request.steps, request.fail_step, request.fail_compensation, request.style
            )
        except PlanTooLarge as error:
            return error_text(request.msg_id, MALFORMED_REQUEST, str(error))
        except Exception as error:
            import traceback  # slow to import, and seldom needed

            self._log(traceback.format_exc())
            return error_text(request.msg_id, CRASH, f"{type(error).__name__}: {error}")
        if outcome.defect is not None:
            return error_text(request.msg_id, CRASH, outcome.defect)
        return reply_text(request, outcome)

    def _introduce(self, request: Init, src: str | None) -> None:
        """From now on replies carry an envelope; so does this one, unless the request came without."""
        self._node_id = request.node_id
        self._envelope = self._envelope or src is not None
        self._reply(init_ok_text(request), src, None)
        self._envelope = True

    def _refuse(self, malformed: Malformed) -> None:
        if self._envelope and malformed.is_reply:
            return
        if self._envelope and not malformed.is_message:
            self._log(str(malformed))
            return
        self._reply(error_text(malformed.msg_id, malformed.code, str(malformed)), malformed.src, malformed.dest)

    def _reply(self, text: str, src: str | None, dest: str | None) -> None:
        if self._replied is not None:
            self._replied(text)
        if self._envelope:
            text = envelope_text(self._node_id or dest or "choreo", src, text)
        self._replies.append(text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

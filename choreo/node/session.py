"""One conversation: bytes in, bytes out.

Laws: no I/O. Every request that can be addressed gets exactly one reply, in the order of the requests. No input raises:
a mistake becomes an error reply, and so does a run that cannot reach an outcome. Only `Unavailable` is raised: from
then on no promise can be kept.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from msgspec import UNSET
from msgspec.structs import replace

from choreo.node.framing import Frame, Framer, Text
from choreo.node.messages import (
    CRASH,
    DECODE_ERRORS,
    KEY_DOES_NOT_EXIST,
    MALFORMED_REQUEST,
    NOT_SUPPORTED,
    PRECONDITION_FAILED,
    Execute,
    Init,
    Malformed,
    Message,
    Status,
    decode,
    decode_bare,
    decode_with_care,
    envelope_text,
    error_text,
    held_status_text,
    init_ok_text,
    looks_like_message,
    quote,
    reply_text,
    status_text,
)
from choreo.protocol.event import Event
from choreo.runtime.runner import Conflict, NoRecord, RunHandle, Runner
from choreo.saga.outcome import Outcome
from choreo.saga.plan import PlanTooLarge
from choreo.saga.raised import Defect, defect
from choreo.saga.request import Request, Sender, Unavailable, input_text

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
SHOWN_MAX = 160

CLOSING = re.compile(rb"[ \t\r]*+[}\]]")


class Session:
    """Handles the bytes read, and returns the bytes to write.

    `log` takes a line for people, where there is no client to reply to. `replied` receives the body of every reply;
    where runs are concurrent, also the event that caused it.
    """

    def __init__(
        self,
        runner: Runner,
        log: Callable[[str], None],
        envelope: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        replied: Callable[..., None] | None = None,
    ) -> None:
        self._runner = runner
        self._log = log
        self._replied = replied
        self._node_id: str | None = None
        self._envelope = envelope
        self._message_bytes_max = message_bytes_max
        self._decode: Callable[[bytes], Message] = decode  # or `decode_bare`: a conversation seldom mixes both forms
        self._framer = Framer(message_bytes_max)
        self._is_framing = False
        self._tail: list[bytes] = []  # the last line, which has no newline yet
        self._tail_size = 0
        self._is_mid_line = False  # the framer already has the beginning of that line
        self._replies: list[str] = []
        self._pending_replies: list[
            Callable[[], None]
        ] = []  # replies pending on the end of a run, and all replies behind them

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

    def recover(self) -> Iterator[bytes]:
        """Recover the runs of an earlier process: finish them, and reply to clients that still wait."""
        for pending_replies in self._runner.recover():
            for request, sender, under_way in pending_replies:
                if under_way.held is None:  # its client keeps waiting; an operator is told
                    self._send_reply(request.saga_id, sender, under_way)
            yield self._taken()

    def poll_operator(self) -> None:
        """Handle pending requests of operators; called at intervals."""
        self._runner.poll_operator()

    def _flush(self) -> bytes:
        self._runner.run_until_idle()
        if self._pending_replies:
            pending_replies, self._pending_replies = self._pending_replies, []
            for send_reply in pending_replies:
                send_reply()
        return self._taken()

    def _taken(self) -> bytes:
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
                self._frame(line + b"\n")  # the fast decoder does not detect it in every position

    def _handle_lines(self, lines: list[bytes]) -> None:
        """Fast path: handle lines that are valid messages in the same form as the last one. Other lines are decoded
        with care.
        """
        for line in lines:
            try:
                message = self._decode(line)
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
            message = self._in_either_form(text)
            if self._is_framing and (message is not None or looks_like_message(text)):
                self._give_up()
            if message is not None:
                self._answer(message)
                return
        self._frame(line + b"\n")

    def _in_either_form(self, text: bytes) -> Message | None:
        """Decode a valid message of either form; its form is tried first from now on."""
        for form in (decode, decode_bare):
            try:
                message = form(text)
            except DECODE_ERRORS:
                continue
            self._decode = form
            return message
        return None

    def _keep(self, data: bytes) -> None:
        """Buffer a line without its newline; pass it to the framer when it is too long or may be complete."""
        self._tail.append(data)
        self._tail_size += len(data)
        if self._tail_size > self._message_bytes_max or self._may_be_complete(data):
            self._frame(b"".join(self._tail))
            self._is_mid_line = True
            self._tail, self._tail_size = [], 0

    def _may_be_complete(self, data: bytes) -> bool:
        """Return whether the last line may end a message.

        Inside an unfinished message, only a line that closes it counts, not one that may be a message of its own.
        """
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
            return  # it is a reply: answering it would be answered in turn
        msg_id = None if body.msg_id is UNSET else body.msg_id
        sender = Sender(message.src, msg_id, self._reply_as(message.dest) if self._envelope else None)
        if isinstance(body, Execute):
            self._execute(body, sender)
        elif isinstance(body, Status):
            self._status(body.saga_id, sender)
        else:
            self._introduce(body, sender)

    def _execute(self, body: Execute, sender: Sender) -> None:
        text = None if body.input is None else input_text(body.input)
        request = Request(body.saga_id, body.steps, body.fail_step, body.fail_compensation, body.style, None, text)
        try:
            answer = self._runner.begin(request, sender)
        except (PlanTooLarge, Conflict) as error:
            code = MALFORMED_REQUEST if isinstance(error, PlanTooLarge) else PRECONDITION_FAILED
            self._reply(error_text(sender.msg_id, code, str(error)), sender)
        except Unavailable:
            raise
        except Exception as error:
            self._reply(self._crashed(sender, defect(error)), sender)
        else:
            if isinstance(answer, Outcome):
                self._reply(reply_text(request.saga_id, sender.msg_id, answer), sender)
            else:
                self._pending_replies.append(partial(self._send_reply, request.saga_id, sender, answer))

    def _send_reply(self, saga_id: str | int, sender: Sender, under_way: RunHandle) -> None:
        """Send the reply to a request whose run was in progress, once the run has ended or stopped."""
        if under_way.outcome is not None:
            self._write(reply_text(saga_id, sender.msg_id, under_way.outcome), sender, under_way.event)
        elif under_way.held is not None:
            self._write(error_text(sender.msg_id, CRASH, f"saga_id: {under_way.held.text}"), sender, None)
        elif under_way.defect is not None:
            self._write(self._crashed(sender, under_way.defect), sender, None)

    def _crashed(self, sender: Sender, defect: Defect) -> str:
        self._log(defect.traceback)
        return error_text(sender.msg_id, CRASH, defect.summary)

    def _status(self, saga_id: str | int, sender: Sender) -> None:
        try:
            known = self._runner.status(saga_id)
        except NoRecord as error:
            self._reply(error_text(sender.msg_id, NOT_SUPPORTED, str(error)), sender)
            return
        if known is None:
            text = f"saga_id: expected a saga that was executed here, got {_shown(saga_id)}"
            self._reply(error_text(sender.msg_id, KEY_DOES_NOT_EXIST, text), sender)
        elif isinstance(known, RunHandle):
            self._pending_replies.append(partial(self._tell, saga_id, sender, known))
        elif known.held is not None:
            text = held_status_text(saga_id, sender.msg_id, known.held.step, known.held.reason)
            self._reply(text, sender)
        else:
            self._reply(status_text(saga_id, sender.msg_id, known.outcome), sender)

    def _tell(self, saga_id: str | int, sender: Sender, under_way: RunHandle) -> None:
        self._write(status_text(saga_id, sender.msg_id, under_way.outcome), sender, None)

    def _introduce(self, request: Init, sender: Sender) -> None:
        """Add an envelope to every reply from now on, and to this one unless the request had none."""
        self._node_id = request.node_id
        self._envelope = self._envelope or sender.src is not None
        self._reply(init_ok_text(sender.msg_id), replace(sender, reply_as=self._reply_as(None)))
        self._envelope = True

    def _reply_as(self, dest: str | None) -> str | None:
        """Return the sender name of a reply, where it has an envelope."""
        return (self._node_id or dest or "choreo") if self._envelope else None

    def _refuse(self, malformed: Malformed) -> None:
        if self._envelope and malformed.is_reply:
            return
        if self._envelope and not malformed.is_message:
            self._log(str(malformed))
            return
        sender = Sender(malformed.src, malformed.msg_id, self._reply_as(malformed.dest))
        self._reply(error_text(malformed.msg_id, malformed.code, str(malformed)), sender)

    def _reply(self, text: str, sender: Sender) -> None:
        """Send the reply in its turn: after the replies pending for earlier requests."""
        if self._pending_replies:
            self._pending_replies.append(partial(self._write, text, sender, None))
        else:
            self._write(text, sender)

    def _write(self, text: str, sender: Sender, *about: Event | None) -> None:
        if self._replied is not None:
            self._replied(text, *about)
        if sender.reply_as is not None:
            text = envelope_text(sender.reply_as, sender.src, text)
        self._replies.append(text)


def _shown(saga_id: str | int) -> str:
    text = quote(saga_id) if isinstance(saga_id, str) else str(saga_id)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

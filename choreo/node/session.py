"""One conversation: bytes in, bytes out.

Laws: no I/O. Every request that can be addressed gets exactly one reply, in the order of the requests. No input raises:
a mistake becomes an error reply, and so does a run that cannot reach an outcome. Only `Unavailable` is raised: from
then on no promise can be kept.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from choreo.node.messages import Execute, ExecuteSaga, Init, Malformed, Message, Status
from choreo.node.reader import Reader
from choreo.node.replies import (
    CRASH,
    KEY_DOES_NOT_EXIST,
    MALFORMED_REQUEST,
    NOT_SUPPORTED,
    PRECONDITION_FAILED,
    error_text,
    held_status_text,
    init_ok_text,
    quote,
    reply_text,
    status_text,
)
from choreo.node.reply_queue import ReplyQueue
from choreo.runtime.runner import Conflict, RunHandle, Runner
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary, PlanTooLarge
from choreo.saga.raised import Defect, defect
from choreo.saga.request import Request, Sender, Unavailable, input_text
from choreo.saga.service import NotSnapshotable
from choreo.saga.spelling import suggestion

if TYPE_CHECKING:
    from choreo.runtime.durable.runner import DurableRunner

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
SHOWN_MAX = 160

NO_JOURNAL = "status: expected a node with a journal (--journal FILE), this one remembers no sagas"


class Session:
    """Handles the bytes read, and returns the bytes to write.

    `log` takes a line for people, where there is no client to reply to. `replied` receives the body of every reply;
    where runs are concurrent, also the event that caused it. `durable` is the same runner, if it has a journal: it
    answers later, and also for the runs of an earlier process. `sagas` are the names of those that requests may name.
    """

    def __init__(
        self,
        runner: Runner,
        log: Callable[[str], None],
        envelope: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        replied: Callable[..., None] | None = None,
        durable: "DurableRunner | None" = None,
        sagas: Sequence[str] = (),
    ) -> None:
        self._runner = runner
        self._sagas = sagas
        self._durable = durable
        self._log = log
        self._node_id: str | None = None
        self._envelope = envelope
        self._reader = Reader(self._answer, self._refuse, message_bytes_max)
        self._replies = ReplyQueue(replied)

    def feed(self, data: bytes) -> bytes:
        """Handle the lines that `data` completes, and return their replies."""
        self._reader.feed(data)
        return self._flush()

    def end(self) -> bytes:
        """Handle what is left at the end of the input."""
        self._reader.end()
        return self._flush()

    def recover(self) -> Iterator[bytes]:
        """Recover the runs of an earlier process: finish them, and reply to clients that still wait."""
        for pending_replies in () if self._durable is None else self._durable.recover():
            for request, sender, under_way in pending_replies:
                if under_way.held is None:  # its client keeps waiting; an operator is told
                    self._send_reply(request.saga_id, sender, under_way)
            yield self._replies.taken()

    def poll_operator(self) -> None:
        """Handle pending requests of operators; called at intervals."""
        if self._durable is not None:
            self._durable.poll_operator()

    def _flush(self) -> bytes:
        if self._durable is not None:
            self._durable.run_until_idle()
            self._replies.settle()
        return self._replies.taken()

    # Requests

    def _answer(self, message: Message) -> None:
        body = message.body
        if self._envelope and body.in_reply_to is not UNSET:
            return  # it is a reply: answering it would be answered in turn
        msg_id = None if body.msg_id is UNSET else body.msg_id
        sender = Sender(message.src, msg_id, self._reply_as(message.dest) if self._envelope else None)
        if isinstance(body, Execute):
            self._execute(body, body.steps, None, sender)
        elif isinstance(body, ExecuteSaga):
            self._execute_saga(body, sender)
        elif isinstance(body, Status):
            self._status(body.saga_id, sender)
        else:
            self._introduce(body, sender)

    def _execute_saga(self, body: ExecuteSaga, sender: Sender) -> None:
        if body.saga in self._sagas:
            self._execute(body, (), body.saga, sender)
            return
        known = " or ".join(map(quote, self._sagas)) or "a saga that the node was given (--saga FILE)"
        text = f"saga: expected {known}, got {quote(body.saga)}{suggestion(body.saga, self._sagas)}"
        self._replies.reply(error_text(sender.msg_id, MALFORMED_REQUEST, text), sender)

    def _execute(self, body: Execute | ExecuteSaga, steps: Itinerary, saga: str | None, sender: Sender) -> None:
        try:
            text = None if body.input is None else input_text(body.input)
        except NotSnapshotable as error:  # it is nested too deeply
            self._replies.reply(error_text(sender.msg_id, MALFORMED_REQUEST, str(error)), sender)
            return
        request = Request(body.saga_id, steps, body.fail_step, body.fail_compensation, body.style, saga, text)
        try:
            answer = self._runner.begin(request, sender)
        except (PlanTooLarge, Conflict) as error:
            code = MALFORMED_REQUEST if isinstance(error, PlanTooLarge) else PRECONDITION_FAILED
            self._replies.reply(error_text(sender.msg_id, code, str(error)), sender)
        except Unavailable:
            raise
        except Exception as error:
            self._replies.reply(self._crashed(sender, defect(error)), sender)
        else:
            if isinstance(answer, Outcome):
                self._replies.reply(reply_text(request.saga_id, sender.msg_id, answer), sender)
            else:
                self._replies.defer(partial(self._send_reply, request.saga_id, sender, answer))

    def _send_reply(self, saga_id: str | int, sender: Sender, under_way: RunHandle) -> None:
        """Send the reply to a request whose run was in progress, once the run has ended or stopped."""
        if under_way.outcome is not None:
            self._replies.write(reply_text(saga_id, sender.msg_id, under_way.outcome), sender, under_way.event)
        elif under_way.held is not None:
            self._replies.write(error_text(sender.msg_id, CRASH, f"saga_id: {under_way.held.text}"), sender, None)
        elif under_way.defect is not None:
            self._replies.write(self._crashed(sender, under_way.defect), sender, None)

    def _crashed(self, sender: Sender, defect: Defect) -> str:
        self._log(defect.traceback)
        return error_text(sender.msg_id, CRASH, defect.summary)

    def _status(self, saga_id: str | int, sender: Sender) -> None:
        if self._durable is None:
            self._replies.reply(error_text(sender.msg_id, NOT_SUPPORTED, NO_JOURNAL), sender)
            return
        known = self._durable.status(saga_id)
        if known is None:
            text = f"saga_id: expected a saga that was executed here, got {_shown(saga_id)}"
            self._replies.reply(error_text(sender.msg_id, KEY_DOES_NOT_EXIST, text), sender)
        elif isinstance(known, RunHandle):
            self._replies.defer(partial(self._tell, saga_id, sender, known))
        elif known.held is not None:
            text = held_status_text(saga_id, sender.msg_id, known.held.step, known.held.reason)
            self._replies.reply(text, sender)
        else:
            self._replies.reply(status_text(saga_id, sender.msg_id, known.outcome), sender)

    def _tell(self, saga_id: str | int, sender: Sender, under_way: RunHandle) -> None:
        self._replies.write(status_text(saga_id, sender.msg_id, under_way.outcome), sender, None)

    def _introduce(self, request: Init, sender: Sender) -> None:
        """Add an envelope to every reply from now on, and to this one unless the request had none."""
        self._node_id = request.node_id
        self._envelope = self._envelope or sender.src is not None
        self._replies.reply(init_ok_text(sender.msg_id), replace(sender, reply_as=self._reply_as(None)))
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
        self._replies.reply(error_text(malformed.msg_id, malformed.code, str(malformed)), sender)


def _shown(saga_id: str | int) -> str:
    text = quote(saga_id) if isinstance(saga_id, str) else str(saga_id)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."

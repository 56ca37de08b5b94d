"""Reply queue: every reply in its turn, until the conversation sends them.

Laws: no I/O. Replies have the order of the requests: a reply to a run that has not ended holds back those behind it.
"""

from collections.abc import Callable
from functools import partial

from choreo.node.replies import envelope_text
from choreo.protocol.event import Event
from choreo.saga.request import Sender


class ReplyQueue:
    """Collects the replies. `replied` receives the body of every reply; where runs are concurrent, also the event that
    caused it.
    """

    def __init__(self, replied: Callable[..., None] | None = None) -> None:
        self._replied = replied
        self._replies: list[str] = []
        self._pending: list[Callable[[], None]] = []
        """Replies pending on the end of a run, and all replies behind them."""

    def reply(self, text: str, sender: Sender) -> None:
        """Send the reply in its turn: after the replies pending for earlier requests."""
        if self._pending:
            self._pending.append(partial(self.write, text, sender, None))
        else:
            self.write(text, sender)

    def defer(self, send_reply: Callable[[], None]) -> None:
        """Call `send_reply` once all begun runs have ended or stopped."""
        self._pending.append(send_reply)

    def settle(self) -> None:
        """Send the pending replies: all begun runs have ended or stopped."""
        if self._pending:
            pending, self._pending = self._pending, []
            for send_reply in pending:
                send_reply()

    def write(self, text: str, sender: Sender, *about: Event | None) -> None:
        """Send the reply now, in its envelope."""
        if self._replied is not None:
            self._replied(text, *about)
        if sender.reply_as is not None:
            text = envelope_text(sender.reply_as, sender.src, text)
        self._replies.append(text)

    def taken(self) -> bytes:
        """Return the lines to write, and forget them."""
        replies = self._replies
        if not replies:
            return b""
        replies.append("")
        data = "\n".join(replies).encode()
        replies.clear()
        return data

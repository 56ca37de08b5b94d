"""A client of the node that has so many requests under way, and no more: a window that slides.

Laws: it reads whatever replies are there, and sends as many new requests in one write. Light, since the node pays for
every moment that its client takes: requests come encoded, and replies are only counted, by their newlines. What is
under way fits into a pipe, or both sides would wait for each other.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from subprocess import Popen

from benchmarks.measure import Failed

PIPE_BYTES = 64 * 1024


def converse(node: "Popen[bytes]", requests: Sequence[bytes], in_flight: int) -> bytes:
    """Send the requests, a line each, and wait for as many replies; these."""
    if in_flight * max(map(len, requests)) > PIPE_BYTES:
        raise Failed(f"expected requests under way that fit into {PIPE_BYTES} bytes, got {in_flight} larger ones")
    if node.stdin is None or node.stdout is None:
        raise Failed("expected a node with pipes, got one without")
    to, back = node.stdin.fileno(), node.stdout.fileno()
    replies: list[bytes] = []
    sent = answered = 0
    while answered < len(requests):
        if fresh := requests[sent : answered + in_flight]:
            with suppress(BrokenPipeError):  # the end of the replies tells
                os.write(to, b"".join(fresh))
            sent += len(fresh)
        data = os.read(back, PIPE_BYTES)
        if not data:
            raise Failed(f"expected {len(requests)} replies, and the process ended after {answered}")
        answered += data.count(b"\n")
        replies.append(data)
    return b"".join(replies)

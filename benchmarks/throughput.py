"""Throughput: requests through a pipe, enveloped and bare, against two loops that run no saga.

One loop makes the node's replies, the other only reads each message and writes it again.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Failed, Figure, Target, Tell, in_pairs, rates
from benchmarks.processes import ECHO, LOOP, NODE, replies_of, seconds_to_answer
from benchmarks.workload import write_requests

FORMS = {"enveloped": False, "bare": True}
YARDSTICKS = {"loop": LOOP, "echo": ECHO}


def measure(quick: bool, tell: Tell) -> list[Figure]:
    requests, pairs = (2_000, 2) if quick else (200_000, 9)
    figures = []
    for form, is_bare in FORMS.items():
        with TemporaryDirectory() as directory:
            file = write_requests(Path(directory), requests, is_bare)
            tell(f"{form}: comparing the replies")
            if replies_of(LOOP, file.read_bytes()) != replies_of(NODE, file.read_bytes()):
                raise Failed("expected the node and the loop to give the very same replies, got different ones")
            for yardstick in YARDSTICKS:
                figures += against(yardstick, form, file, requests, pairs, tell)
    return figures


def against(yardstick: str, form: str, file: Path, requests: int, pairs: int, tell: Tell) -> list[Figure]:
    """The figures of one form of a message, the node against one of the loops."""
    times = in_pairs(
        pairs,
        lambda: seconds_to_answer(YARDSTICKS[yardstick], file),
        lambda: seconds_to_answer(NODE, file),
        lambda text: tell(f"{form}, {yardstick}: {text}"),
    )
    return [
        Figure(f"{yardstick} time / node time, {form}", "", times.ratios(), Target(1.0, at_least=True)),
        Figure(f"node, {form}, beside the {yardstick}", "requests/s", rates(requests, times.b)),
        Figure(f"{yardstick}, {form}", "requests/s", rates(requests, times.a)),
    ]

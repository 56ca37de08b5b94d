"""What the benchmarks ask for: three steps, and one saga in four fails at its last step."""

import json
from collections.abc import Iterable
from pathlib import Path

STEPS = ("book_flight", "book_hotel", "book_car")


def fail_step(number: int) -> str | None:
    return STEPS[-1] if number % 4 == 3 else None


def request(number: int, steps: Iterable[str] = STEPS, fail_step: str | None = None, style: str | None = None) -> bytes:
    """A line with one enveloped request; the number makes it unlike any other."""
    body = {"type": "execute", "msg_id": number, "saga_id": f"booking-{number}", "steps": list(steps)}
    options = {name: value for name, value in (("fail_step", fail_step), ("style", style)) if value is not None}
    return json.dumps({"src": "orchestrator", "dest": "saga", "body": body | options}).encode() + b"\n"


def requests(numbers: Iterable[int]) -> bytes:
    """The mix, a line for each number."""
    return b"".join(request(number, fail_step=fail_step(number)) for number in numbers)


def write_requests(directory: Path, count: int) -> Path:
    """A file with the mix."""
    file = directory / "requests.jsonl"
    file.write_bytes(requests(range(count)))
    return file

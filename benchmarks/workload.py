"""What the benchmarks ask for: three steps, and one saga in four fails at its last step."""

import json
from collections.abc import Iterable
from pathlib import Path

STEPS = ("book_flight", "book_hotel", "book_car")


def fail_step(number: int) -> str | None:
    return STEPS[-1] if number % 4 == 3 else None


def request(
    number: int,
    steps: Iterable[str] = STEPS,
    fail_step: str | None = None,
    style: str | None = None,
    is_bare: bool = False,
) -> bytes:
    """A line with one request, enveloped or bare; the number makes it unlike any other."""
    body = {"type": "execute", "msg_id": number, "saga_id": f"booking-{number}", "steps": list(steps)}
    options = {name: value for name, value in (("fail_step", fail_step), ("style", style)) if value is not None}
    body |= options
    return json.dumps(body if is_bare else {"src": "orchestrator", "dest": "saga", "body": body}).encode() + b"\n"


def requests(numbers: Iterable[int], is_bare: bool = False) -> bytes:
    """The mix, a line for each number."""
    return b"".join(request(number, fail_step=fail_step(number), is_bare=is_bare) for number in numbers)


def write_requests(directory: Path, count: int, is_bare: bool = False) -> Path:
    """A file with the mix."""
    file = directory / "requests.jsonl"
    file.write_bytes(requests(range(count), is_bare))
    return file

"""Conflicts: a saga that is recorded with other content than a request has, and the error text about it."""

from msgspec.structs import replace

from choreo.saga.request import Request
from choreo.storage.rows import saga_text
from choreo.storage.values import quote_or_none, steps_text

TEXT_SHOWN_MAX = 160


def is_same(recorded: Request, request: Request) -> bool:
    """Return whether a request repeats the recorded one."""
    return _comparable(recorded, request) == request


def difference(recorded: Request, request: Request) -> str:
    """Describe the fields in which the recorded request and the new one differ; long texts are cut.

    Inputs are not shown, since the text goes to the trace.
    """
    told, came = _content(_comparable(recorded, request)), _content(request)
    if told["input"] != came["input"]:
        told["input"], came["input"] = "(one that is not shown)", "another"
    differing = [name for name in told if told[name] != came[name]]
    shown = ", ".join(f"{name} {_cut(told[name])}" for name in differing)
    got = ", ".join(f"{name} {_cut(came[name])}" for name in differing)
    return f"saga_id: {_cut(saga_text(request.saga_id))} is recorded with {shown}; expected the same, got {got}"


def _comparable(recorded: Request, request: Request) -> Request:
    """Return the recorded request to compare with: a saga may have other steps by now, and its name counts."""
    return recorded if request.saga is None else replace(recorded, steps=request.steps)


def _content(request: Request) -> dict[str, str]:
    return {
        "steps": steps_text(request.steps),
        "fail_step": quote_or_none(request.fail_step) or "null",
        "fail_compensation": quote_or_none(request.fail_compensation) or "null",
        "style": request.style,
        "saga": quote_or_none(request.saga) or "null",
        "input": request.input or "null",
    }


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN_MAX else f"{text[: TEXT_SHOWN_MAX - 3]}..."

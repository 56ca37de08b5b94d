"""Data of a run: results of local transactions on their way with the events.

Laws: pure; a value, shared and never changed. Participants pass data on and never look at it. A result is kept as JSON
from the moment its service has returned it, in every runner, so no later change of the object is visible to others.
"""

import json
from typing import Any

from msgspec import Struct

from choreo.saga.calls.calling import ran
from choreo.saga.plan import Plan
from choreo.saga.service import NotSnapshotable

RESULT_BYTES_MAX = 64 * 1024
"""Bound on one encoded result."""

TEXT_MAX = RESULT_BYTES_MAX // 4
"""A text of at most so many characters is within the bound, whatever they are."""

Data = Any
"""None, a node `(position, step, result, data before)`, or a tuple of nodes in the order of their positions."""


class Encoded(Struct, frozen=True):
    """A result other than a number or a text, as JSON text of `choreo.saga.codec`."""

    text: str


class WithUndo(Struct, frozen=True):
    """A result, and what the laboratory needs besides it to undo the call."""

    result: Any
    undo: Any


WRAPPED = frozenset({Encoded, WithUndo})
AS_IT_IS = frozenset({type(None), bool, int, float, Encoded, WithUndo})
"""Types of results that are kept as they are."""


def kept(result: Any, step: str) -> Any:
    """Return the result of a step as it is kept: a scalar, or encoded.

    Raises `TypeError` for an awaitable, and `NotSnapshotable` for a value that JSON cannot express, or that is too
    large.
    """
    if result.__class__ in AS_IT_IS:
        return result
    if result.__class__ is str and len(result) <= TEXT_MAX:
        return result
    from choreo.saga.codec import encode  # imported here because it is seldom needed

    what = f"the result of {step}"
    text = encode(ran(result), what)
    if len(text) > RESULT_BYTES_MAX:
        raise NotSnapshotable(
            f"{what}: expected a result of at most {RESULT_BYTES_MAX:,} bytes as JSON, got {len(text):,}; "
            "return a reference to it"
        )
    return result if result.__class__ is str else Encoded(text)


def restored(result: Any) -> Any:
    """Return a kept result as a service receives it; each call decodes a copy of its own."""
    if isinstance(result, WithUndo):
        result = result.result
    if not isinstance(result, Encoded):
        return result
    from choreo.saga.codec import decode

    return decode(result.text)


def extended(before: Data, position: int, step: str, result: Any) -> Data:
    """Return the data behind a step: those before it, and its result if it has one."""
    if isinstance(result, WithUndo):
        result = result.result
    return before if result is None else (position, step, result, before)


def joined(data: Data, more: Data) -> Data:
    """Return the data of several predecessors together; in one canonical form, whatever the order of arrival."""
    if data is None or more is None or data == more:
        return more if data is None else data
    nodes = {node[0]: node for node in (*_nodes(data), *_nodes(more))}
    return tuple([nodes[position] for position in sorted(nodes)])


def results_of(data: Data) -> dict[str, Any]:
    """Return the kept results by step name, in the order of the positions; of steps of one name, the last one's."""
    found: dict[int, tuple[str, Any]] = {}
    queue = _nodes(data)
    while queue:
        position, step, result, before = queue.pop()
        if position not in found:
            found[position] = step, result
            queue += _nodes(before)
    return dict(found[position] for position in sorted(found))


def results_text(data: Data) -> str:
    """Return the results by step name as JSON text."""
    items = (f"{json.dumps(step)}: {as_text(result)}" for step, result in results_of(data).items())
    return f"{{{', '.join(items)}}}"


def as_text(result: Any) -> str:
    """Return a kept result as JSON text, with the spacing of the node's replies."""
    from choreo.saga.codec import encode  # imported here because it is seldom needed

    return json.dumps(json.loads(result.text if isinstance(result, Encoded) else encode(result, "a result")))


def _nodes(data: Data) -> list[Any]:
    if data is None:
        return []
    return [data] if isinstance(data[0], int) else list(data)


def ancestors_of(plan: Plan, position: int) -> list[str]:
    """Return the names of all steps before a step, in the order of their positions."""
    found: set[int] = set()
    queue = list(plan.predecessors[position])
    while queue:
        each = queue.pop()
        if each not in found:
            found.add(each)
            queue += plan.predecessors[each]
    return [plan.steps[each] for each in sorted(found)]

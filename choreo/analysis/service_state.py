"""Records that the services keep after a run, and their comparison between two runs.

Laws: reads `vars` of the services, and no other part of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from choreo.saga.calls.steps import owner_of
from choreo.saga.service import Service
from choreo.storage.copying import as_bytes, from_bytes

Record = dict[str, Any]


def record_of(service: Service) -> Record:
    """Return the fields of a service, slots included."""
    service = owner_of(service)
    slots = (name for kind in type(service).__mro__ for name in _slots(kind))
    fields = {name: getattr(service, name) for name in slots if hasattr(service, name)}
    return fields | getattr(service, "__dict__", {})


def records_of(services: Mapping[str, Service]) -> dict[str, Record]:
    """Return the record of each service, by the name of its class; of several of one class also by step."""
    distinct: dict[int, tuple[str, Service]] = {}
    for step, service in services.items():
        distinct.setdefault(id(owner_of(service)), (step, owner_of(service)))
    records: dict[str, Record] = {}
    for step, service in distinct.values():
        name = type(service).__name__
        records[name if name not in records else f"{name} of {step}"] = record_of(service)
    return records


def differing_records(
    first: Mapping[str, Service], second: Mapping[str, Service], origins: tuple[str, str] = ("", "")
) -> dict[str, tuple[Record, Record]]:
    """Return, by step, the fields in which the records of two sets of services differ; empty where all are equal.

    The two sets were called under idempotency keys of two `origins`, equally long, which count as equal.
    """
    differing = {}
    for step, service in first.items():
        one, other = record_of(service), record_of(second[step])
        names = [name for name in one | other if not _is_same_but_for(origins, one.get(name), other.get(name))]
        if names:
            differing[step] = ({n: one.get(n) for n in names}, {n: other.get(n) for n in names})
    return differing


def _slots(kind: type) -> Iterator[str]:
    slots = vars(kind).get("__slots__", ())
    yield from (slots,) if isinstance(slots, str) else slots


def _is_same_but_for(origins: tuple[str, str], one: Any, other: Any) -> bool:
    if _is_same(one, other):
        return True
    first, second = (origin.encode() for origin in origins)
    try:
        alike = from_bytes(as_bytes(other, "a record").replace(second, first))
    except Exception:  # a user's object may raise any exception, `NotSnapshotable` among them
        return False
    return _is_same(one, alike)


def _is_same(one: Any, other: Any) -> bool:
    """Compare by equality; objects without an equality of their own, such as locks, compare by type."""
    if any("__eq__" in vars(kind) for kind in type(one).__mro__[:-1]):
        return bool(one == other)
    return type(one) is type(other)

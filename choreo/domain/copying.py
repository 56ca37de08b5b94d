"""Copies of what an author's services hold: so that every history of the lab has its own, and a journal can keep it.

Laws: whatever cannot be copied is told with its name, before anything is claimed about it. Objects that several
services share stay shared.
"""

import pickle
from collections.abc import Sequence
from typing import Any

from choreo.domain.raised import in_a_line
from choreo.domain.service import NotTheService, Service


class NoCopy(NotTheService, ValueError):
    """A service, or a receipt, holds something that cannot be copied: a lock, an open file, a connection."""


def as_bytes(value: object, what: str) -> bytes:
    """A copy of the value. Raises `NoCopy`, which names `what` it is."""
    try:
        return pickle.dumps(value)
    except Exception as error:  # whatever somebody else's object raises
        raise NoCopy(f"{what}: expected what can be copied, got {in_a_line(error)}") from None


def from_bytes(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301  # our own copy; a journal is trusted as much as the code (decision 020)


def copy_services(services: Sequence[Service]) -> bytes:
    """The state of all services together. Raises `NoCopy`."""
    if not services:
        return b""
    states = [service.__getstate__() for service in services]
    try:
        return pickle.dumps(states)
    except Exception:  # then find out whose it is
        for service, state in zip(services, states, strict=True):
            as_bytes(state, f"service {type(service).__name__}")
        raise


def restore_services(services: Sequence[Service], data: bytes) -> None:
    for service, state in zip(services, from_bytes(data) if data else (), strict=True):
        _empty(service)
        give_back(service, state)


def give_back(service: Service, state: Any) -> None:
    """Fields, slots, or whatever the service makes of its state; what the state does not have stays as it is."""
    if hasattr(service, "__setstate__"):
        service.__setstate__(state)
        return
    fields, slots = state if isinstance(state, tuple) else (state, None)
    if fields:
        vars(service).update(fields)
    for name, value in (slots or {}).items():
        setattr(service, name, value)


def _empty(service: Service) -> None:
    """Without a field or a slot, as it was before it was made."""
    if hasattr(service, "__dict__"):
        vars(service).clear()
    for kind in type(service).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(service, name):
                delattr(service, name)

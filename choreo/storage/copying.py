"""Copies of what an author's services hold: so that every history of the lab has its own, and a journal can keep it.

Laws: whatever cannot be copied is told with its name, before anything is claimed about it. Objects that several
services share stay shared.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import NotTheService, Service


class NoCopy(NotTheService, ValueError):
    """A service, or a receipt, holds something that cannot be copied: a lock, an open file, a connection."""


def as_bytes(value: object, what: str) -> bytes:
    """A copy of the value. Raises `NoCopy`, which names `what` it is."""
    try:
        return pickle.dumps(value)
    except BaseException as error:  # whatever somebody else's object raises
        expect_no_ctrl_c(error)
        raise NoCopy(f"{what}: expected what can be copied, got {in_a_line(error)}") from None


def state_of(service: Service) -> Any:
    """What a service holds. Raises `NoCopy` where its `__getstate__` raises anything."""
    try:
        return service.__getstate__()
    except BaseException as error:  # whatever somebody else's service raises
        expect_no_ctrl_c(error)
        raise NoCopy(f"service {type(service).__name__}: expected what it holds, got {in_a_line(error)}") from None


def expect_copy(service: Service, state: object) -> None:
    """Raises `NoCopy`, which names the service and its field, where what it holds cannot be copied."""
    try:
        pickle.dumps(state)
    except BaseException as error:  # whatever somebody else's object raises
        expect_no_ctrl_c(error)
        raise NoCopy(no_copy(service, state, pickle.dumps, error)) from None


def no_copy(service: Service, state: object, copy: Callable[[object], object], error: BaseException) -> str:
    """Which field of a service cannot be copied, and what to do; `error` is why the whole cannot."""
    expected = f"service {type(service).__name__}: expected what can be copied"
    for name, value in _fields_of(state):
        try:
            copy(value)
        except BaseException as why:  # whatever somebody else's object raises
            expect_no_ctrl_c(why)
            got = f"the field {name!r}, a {type(value).__name__} ({in_a_line(why)})"
            return f"{expected}, got {got}; leave it out with __getstate__(), or make it in each call that needs it"
    return f"{expected}, got {in_a_line(error)}"


def _fields_of(state: object) -> Iterator[tuple[object, object]]:
    """The fields and slots in what `__getstate__` has returned."""
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from part.items()


def from_bytes(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301  # our own copy; a journal is trusted as much as the code (decision 020)


def copy_services(services: Sequence[Service]) -> bytes:
    """The state of all services together. Raises `NoCopy`."""
    if not services:
        return b""
    states = list(map(state_of, services))
    try:
        return pickle.dumps(states)
    except BaseException as error:  # then find out whose it is
        expect_no_ctrl_c(error)
        for service, state in zip(services, states, strict=True):
            expect_copy(service, state)
        raise


def restore_services(services: Sequence[Service], data: bytes) -> None:
    """Give every service its state back. Raises `NoCopy` for one that raises anything then."""
    for service, state in zip(services, from_bytes(data) if data else (), strict=True):
        try:
            _empty(service)
            give_back(service, state)
        except BaseException as error:  # whatever somebody else's service raises
            expect_no_ctrl_c(error)
            why = f"expected that it takes back what it held, got {in_a_line(error)}"
            raise NoCopy(f"service {type(service).__name__}: {why}") from None


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
    """Without a field or a slot, as it was before it was made; what its `__getstate__` leaves out stays."""
    if type(service).__getstate__ is not object.__getstate__ and not hasattr(service, "__setstate__"):
        for name, _ in list(_fields_of(service.__getstate__())):
            if hasattr(service, str(name)):
                delattr(service, str(name))
        return
    if hasattr(service, "__dict__"):
        vars(service).clear()
    for kind in type(service).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(service, name):
                delattr(service, name)

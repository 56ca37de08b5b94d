"""Copies of the state of an author's services within one process: one for each history of the lab.

Laws: no copy is stored or sent. A value that cannot be copied is reported by name before any claim is made about it.
Objects that several services share stay shared.
"""

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import NotSnapshotable, Service


def as_bytes(value: object, what: str) -> bytes:
    """Return a copy of the value as bytes. Raises `NotSnapshotable`, which names the value as `what`."""
    try:
        return pickle.dumps(value)
    except BaseException as error:  # the author's object may raise any exception
        expect_no_ctrl_c(error)
        raise NotSnapshotable(f"{what}: expected what can be copied, got {in_a_line(error)}") from None


def state_of(service: Service) -> Any:
    """Return the state of a service. Raises `NotSnapshotable` if its `__getstate__` raises any exception."""
    try:
        return service.__getstate__()
    except BaseException as error:  # the author's service may raise any exception
        expect_no_ctrl_c(error)
        raise NotSnapshotable(
            f"service {type(service).__name__}: expected what it holds, got {in_a_line(error)}"
        ) from None


def expect_copy(service: Service, state: object) -> None:
    """Check that a state can be copied. Raises `NotSnapshotable`, which names the service and its field."""
    try:
        pickle.dumps(state)
    except BaseException as error:  # the author's object may raise any exception
        expect_no_ctrl_c(error)
        raise NotSnapshotable(_no_copy(service, state, error)) from None


def _no_copy(service: Service, state: object, error: BaseException) -> str:
    """Name the field of a service that cannot be copied, and the remedy; `error` explains the failure of the whole."""
    expected = f"service {type(service).__name__}: expected what can be copied"
    for name, value in fields_in(state):
        try:
            pickle.dumps(value)
        except BaseException as why:  # the author's object may raise any exception
            expect_no_ctrl_c(why)
            got = f"the field {name!r}, a {type(value).__name__} ({in_a_line(why)})"
            return f"{expected}, got {got}; leave it out with __getstate__(), or make it in each call that needs it"
    return f"{expected}, got {in_a_line(error)}"


def fields_in(state: object) -> Iterator[tuple[object, object]]:
    """Yield the fields and slots in the result of `__getstate__`."""
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from part.items()


def from_bytes(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301  # a copy that this process has made


def copy_services(services: Sequence[Service]) -> bytes:
    """Copy the state of all services together. Raises `NotSnapshotable`."""
    if not services:
        return b""
    states = list(map(state_of, services))
    try:
        return pickle.dumps(states)
    except BaseException as error:  # find the service that is to blame
        expect_no_ctrl_c(error)
        for service, state in zip(services, states, strict=True):
            expect_copy(service, state)
        raise


def restore_services(services: Sequence[Service], data: bytes) -> None:
    """Restore the state of every service. Raises `NotSnapshotable` for a service that raises an exception."""
    for service, state in zip(services, from_bytes(data) if data else (), strict=True):
        try:
            _empty(service)
            give_back(service, state)
        except BaseException as error:  # the author's service may raise any exception
            expect_no_ctrl_c(error)
            why = f"expected that it takes back what it held, got {in_a_line(error)}"
            raise NotSnapshotable(f"service {type(service).__name__}: {why}") from None


def give_back(service: Service, state: Any) -> None:
    """Restore fields and slots, or call the service's `__setstate__`; fields that the state lacks stay as they are."""
    if hasattr(service, "__setstate__"):
        service.__setstate__(state)
        return
    fields, slots = state if isinstance(state, tuple) else (state, None)
    if fields:
        vars(service).update(fields)
    for name, value in (slots or {}).items():
        setattr(service, name, value)


def _empty(service: Service) -> None:
    """Delete the fields and slots of a service; those that its `__getstate__` leaves out stay."""
    if type(service).__getstate__ is not object.__getstate__ and not hasattr(service, "__setstate__"):
        for name, _ in list(fields_in(service.__getstate__())):
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

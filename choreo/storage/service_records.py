"""Service records: the state of services as rows, written with the deliveries that changed it, read after a restart.

Laws: services are unaware of it. A service is identified by the name of the step that found it first. A service whose
fields are all numbers and texts has a legible row of its own. All other services may share objects, so they have one
common row, and shared objects stay shared.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

from choreo.saga.call import Call
from choreo.saga.calling import by_call, checked, ran
from choreo.saga.data import kept
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import ControlFlow, Refused, Service, ServiceOf
from choreo.storage.calls import CALL, COMPENSATE, DOUBT, EXECUTE, Calls
from choreo.storage.copying import NotSnapshotable, expect_copy, give_back, no_copy, state_of
from choreo.storage.errors import JournalError
from choreo.storage.rows import RecordsRow
from choreo.storage.values import is_scalar, quote

TOGETHER = "*"
"""The name of the common row of all services that hold more than numbers and texts."""


class RecordedService:
    """A service whose calls are noted. A receipt that the journal cannot store counts as an unknown answer."""

    def __init__(self, step: str, inner: Service, touched: dict[str, None], calls: Calls | None = None) -> None:
        self.step = step
        self.inner = inner
        self._execute, self._compensate = by_call(inner)
        self.kind = kind_of(inner)
        self._marks = None if calls is None else calls.marks
        self.is_together = False
        """Whether it has ever held more than numbers and texts; from then on its state is in the common row."""
        self._touched = touched
        self._is_plain = is_plain(inner)
        self._first = self._state()
        self._fields: dict[str, None] = {}

    def execute(self, call: Call) -> Any:
        self._touched[self.step] = None
        marks = self._marks
        try:
            if marks is not None:
                marks[CALL] = EXECUTE
            return kept(ran(self._execute(call)), f"the result of {call.step}")
        except Refused:
            raise
        except BaseException as error:
            if marks is not None:
                marks[DOUBT] = 1
            if isinstance(error, ControlFlow):  # the exception came from the service, or its result cannot be kept
                raise RuntimeError(in_a_line(error)) from None
            raise
        finally:
            if marks is not None:
                marks[CALL] = 0

    def compensate(self, call: Call) -> None:
        self._touched[self.step] = None
        marks = self._marks
        try:
            if marks is not None:
                marks[CALL] = COMPENSATE
            ran(self._compensate(call))
        except ControlFlow as error:  # the exception came from the service
            raise RuntimeError(in_a_line(error)) from None
        finally:
            if marks is not None and not marks[DOUBT]:  # otherwise the mark stays until the undo is committed
                marks[CALL] = 0

    def changed_fields(self) -> dict[str, Any] | None:
        """Return all fields that have ever changed; None if any field is, or ever was, more than a number or a text."""
        state = self._state()
        if self.is_together or state is None or self._first is None:
            self.is_together = True
            return None
        for name, value in state.items():
            if name not in self._fields and not _is_same(self._first, name, value):
                self._fields[name] = None
        return {name: state[name] for name in self._fields if name in state}

    def _state(self) -> dict[str, Any] | None:
        """Return all fields if they are numbers and texts only, or None."""
        fields: Any = getattr(self.inner, "__dict__", {}) if self._is_plain else state_of(self.inner)
        if fields.__class__ is not dict or hasattr(self.inner, "__setstate__"):
            return None
        for name, value in fields.items():
            if name.__class__ is not str or not (value is None or is_scalar(value)):
                return None
        return dict(fields)

    def give_back(self, state: Any, is_together: bool) -> None:
        self.is_together = is_together
        if isinstance(state, dict):
            self._fields.update(dict.fromkeys(state))
        give_back(self.inner, state)


def kind_of(service: Service) -> str:
    """Return the kind of a service as in the journal: its module and its class."""
    return f"{type(service).__module__}.{type(service).__qualname__}"


def is_plain(service: Service) -> bool:
    """Return whether its fields are the whole state of a service: no slots, and no pickling methods of its own."""
    kinds = type(service).__mro__[:-1]
    return not any("__getstate__" in vars(kind) or vars(kind).get("__slots__") for kind in kinds)


def _is_same(fields: dict[str, Any], name: str, value: object) -> bool:
    return name in fields and fields[name].__class__ is value.__class__ and bool(fields[name] == value)


class ServiceRecords:
    """The services that were used so far. `changed` holds the rows for the next transaction."""

    def __init__(
        self,
        service_of: ServiceOf,
        rows: Iterable[RecordsRow],
        calls: Calls | None = None,
        are_same_services: bool = False,
    ) -> None:
        """Restore the state of the services. Raises `JournalError` if one cannot take it.

        With `are_same_services`, a service that held no state may have another class by now, or be gone.
        """
        self._service_of = checked(service_of)
        self._calls = calls
        self._services: dict[str, RecordedService] = {}
        self._by_identity: dict[int, RecordedService] = {}
        self._touched: dict[str, None] = {}
        self._written: dict[str, str | bytes] = {}
        self._replaced: dict[int, tuple[Any, Any]] = {}  # by its identity: a field's value before and now
        for name, kind, records in rows:
            self._written[name] = records
            for step, (kind_of_step, state) in self._states(name, kind, records).items():
                if are_same_services and name != TOGETHER and state == {} and not self._is_served(step, kind_of_step):
                    del self._written[name]
                    continue
                self._restore(step, kind_of_step, state, name == TOGETHER)

    def service(self, step: str) -> RecordedService:
        """Return the service of a step; from now on its calls are noted.

        Raises `NotSnapshotable` if its state cannot be stored.
        """
        known = self._services.get(step)
        if known is not None:
            return known
        service = self._service_of(step)
        if id(service) in self._replaced:
            service = self._replaced[id(service)][1]
        known = self._by_identity.get(id(service))
        if known is None:
            _expect_state(service)
            self._share_again(service)
            known = self._services[step] = self._by_identity[id(service)] = RecordedService(
                step, service, self._touched, self._calls
            )
        return known

    def changed(self) -> list[RecordsRow]:
        """Return the changed rows of the services that were called since the last time.

        Raises `JournalError` for a service that has come to hold a value that cannot be stored.
        """
        rows: list[RecordsRow] = []
        if not self._touched:
            return rows
        touched = [self._services[step] for step in self._touched]
        self._touched.clear()
        try:
            legible = [self._note_legible(rows, service) for service in touched]
            if not all(legible):
                self._note_together(rows)
        except NotSnapshotable as error:
            raise JournalError(str(error)) from error
        except JournalError:
            raise
        except Exception as error:  # a service may expose its fields in unexpected ways
            names = ", ".join(type(service.inner).__name__ for service in touched)
            why = f"one of {names}: {in_a_line(error)}"
            raise JournalError(f"expected services whose state can be kept: {why}") from error
        return rows

    def _note_legible(self, rows: list[RecordsRow], service: RecordedService) -> bool:
        fields = service.changed_fields()
        if fields is not None:
            self._note(rows, quote(service.step), service.kind, json.dumps(fields))
        return fields is not None

    def _note(self, rows: list[RecordsRow], name: str, kind: str, records: str | bytes) -> None:
        if self._written.get(name) != records:
            self._written[name] = records
            rows.append((name, kind, records))

    def _note_together(self, rows: list[RecordsRow]) -> None:
        """Add the common row: a call of one of its services may have changed an object that it shares with another."""
        together = [each for each in self._services.values() if not self._note_legible(rows, each)]
        states = {each.step: state_of(each.inner) for each in together}
        kinds = json.dumps({each.step: each.kind for each in together})
        self._note(rows, TOGETHER, kinds, self._pickled(states, together))

    def _pickled(self, states: dict[str, Any], services: list[RecordedService]) -> bytes:
        file = BytesIO()
        try:
            StatePickler(file, self._by_identity).dump(states)
        except BaseException as error:  # find the service that is to blame
            expect_no_ctrl_c(error)
            for each in services:
                try:
                    self._dumped(states[each.step])
                except BaseException as why:
                    expect_no_ctrl_c(why)
                    raise JournalError(no_copy(each.inner, states[each.step], self._dumped, why)) from why
            raise JournalError(f"expected what can be copied, got {in_a_line(error)}") from error
        return file.getvalue()

    def _dumped(self, value: object) -> None:
        StatePickler(BytesIO(), self._by_identity).dump(value)

    def _share_again(self, service: Service) -> None:
        """Restore sharing: replace references to objects that were replaced in another service."""
        for name, value in _fields(service).items():
            if id(value) in self._replaced and not (value is None or is_scalar(value)):
                setattr(service, name, self._replaced[id(value)][1])

    def _is_served(self, step: str, kind: str) -> bool:
        try:
            return kind_of(self._service_of(step)) == kind
        except BaseException as error:  # the author's catalogue may raise any exception
            expect_no_ctrl_c(error)
            return False

    def _restore(self, step: str, kind: str, state: Any, is_together: bool) -> None:
        try:
            service = self.service(step)
            if service.step != step:
                raise JournalError(
                    f"expected a service of {step!r} and another of {service.step!r}, as when they were kept; got one"
                )
            if service.kind != kind:
                raise JournalError(
                    f"expected a service of {step!r} of the kind {kind}, as it was kept, got {service.kind}: "
                    "are these the services (--services) that have executed the sagas of this journal?"
                )
            before = _fields(service.inner)
            service.give_back(state, is_together)
            for name, now in _fields(service.inner).items():
                if name in before and now is not before[name]:
                    self._replaced[id(before[name])] = before[name], now
        except JournalError:
            raise
        except BaseException as error:  # the author's service may raise any exception
            expect_no_ctrl_c(error)
            raise JournalError(
                f"expected a service of {step!r} that takes back what it held, got {in_a_line(error)}"
            ) from error

    def _states(self, name: str, kind: str, records: str | bytes) -> dict[str, tuple[str, Any]]:
        """Return the kind and the state of each service in a row.

        Raises `JournalError` for a row that no node writes.
        """
        try:
            if isinstance(records, str):
                return {str(json.loads(name)): (kind, json.loads(records))}
            states, kinds = StateUnpickler(BytesIO(records), self.service).load(), json.loads(kind)
            if not (isinstance(states, dict) and isinstance(kinds, dict) and list(states) == list(kinds)):
                raise TypeError(f"expected the state of each service, got {type(states).__name__}")
            return {step: (kinds[step], state) for step, state in states.items()}
        except JournalError:
            raise
        except BaseException as error:  # a damaged pickle may raise any exception
            expect_no_ctrl_c(error)
            why = f"the records of {name} cannot be read ({in_a_line(error)})"
            raise JournalError(f"expected a journal that is sound: {why}") from error


class StatePickler(pickle.Pickler):
    """Pickler of service states; replaces other services by their names, because they have records of their own."""

    def __init__(self, file: BytesIO, services: Mapping[int, RecordedService]) -> None:
        super().__init__(file)
        self._services = services

    def persistent_id(self, obj: Any) -> str | None:
        known = self._services.get(id(obj))
        return known.step if known is not None and known.inner is obj else None


class StateUnpickler(pickle.Unpickler):
    """The inverse of `StatePickler`."""

    def __init__(self, file: BytesIO, service_of: Callable[[str], RecordedService]) -> None:
        super().__init__(file)
        self._service_of = service_of

    def persistent_load(self, pid: Any) -> Service:
        return self._service_of(pid).inner


def _expect_state(service: Service) -> None:
    """Check that the state of a service can be stored and restored. Raises `NotSnapshotable`."""
    name, state = f"service {type(service).__name__}", state_of(service)
    expect_copy(service, state)
    is_plain = state is None or isinstance(state, dict) or (isinstance(state, tuple) and len(state) == 2)
    if not is_plain and not hasattr(service, "__setstate__"):
        raise NotSnapshotable(
            f"{name}: expected fields from __getstate__, or a __setstate__, got {type(state).__name__}"
        )


def _fields(service: Service) -> dict[str, Any]:
    return dict(getattr(service, "__dict__", {}))

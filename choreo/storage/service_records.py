"""Service records: the state of services as rows, written with the deliveries that changed it, read after a restart.

Laws: services are unaware of it. A service is identified by the name of the step that found it first. A service whose
fields are all numbers and texts has a row of its own. All other services may share objects, so they have one common
row, and shared objects stay shared. A service in a field of another one has records of its own, and stays where it is.
"""

import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from choreo.saga.calls.calling import checked
from choreo.saga.calls.steps import owner_of
from choreo.saga.codec import Encoder, Undecodable, as_text, decode, encode
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import NotSnapshotable, Service, ServiceOf
from choreo.storage.calls import Calls
from choreo.storage.copying import fields_in, state_of
from choreo.storage.errors import JournalError
from choreo.storage.recorded_service import Path, RecordedCalls, RecordedService, is_service, kind_of, path_text
from choreo.storage.rows import RecordsRow
from choreo.storage.values import is_scalar

TOGETHER = "*"
"""The name, and the kind, of the common row of all services that hold more than numbers and texts."""


class Records(Struct, frozen=True):
    """The kind and the state of a service, as in a row."""

    path: Path
    kind: str
    state: Any


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
        self._services: dict[str, RecordedCalls] = {}
        """By the step that found it first."""
        self._by_path: dict[Path, RecordedService] = {}
        self._by_identity: dict[int, RecordedService] = {}
        self._touched: dict[Path, None] = {}
        self._written: dict[str, str] = {}
        self._replaced: dict[int, tuple[Any, Any]] = {}  # by its identity: a field's value before and now
        for name, kind, records in rows:
            self._written[name] = records
            for each in self._read(name, kind, records):
                if are_same_services and name != TOGETHER and each.state == {} and not self._is_served(each):
                    del self._written[name]
                    continue
                self._restore(each, name == TOGETHER)

    def service(self, step: str) -> RecordedCalls:
        """Return the service of a step; from now on its calls are noted.

        Raises `NotSnapshotable` if its state cannot be stored.
        """
        known = self._services.get(step)
        if known is not None:
            return known
        service = self._service_of(step)
        if id(service) in self._replaced:
            service = self._replaced[id(service)][1]
        owner: Any = owner_of(service)
        recorded = self._by_identity.get(id(owner))
        if recorded is not None:
            return RecordedCalls(recorded, service, self._calls)
        calls = self._services[step] = RecordedCalls(self._record((step,), owner), service, self._calls)
        return calls

    def changed(self) -> list[RecordsRow]:
        """Return the changed rows of the services that were called since the last time.

        Raises `JournalError` for a service that has come to hold a value that cannot be stored.
        """
        rows: list[RecordsRow] = []
        if not self._touched:
            return rows
        touched = [self._by_path[path] for path in self._touched]
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

    # Finding services

    def _record(self, path: Path, service: Service) -> RecordedService:
        """Note the calls of a service, and of the services in its fields. Raises `NotSnapshotable`."""
        found: list[RecordedService] = []
        waiting = [(path, service)]
        try:
            for each_path, each in waiting:
                if id(each) in self._by_identity:
                    continue
                self._share_again(each)
                recorded = RecordedService(each_path, each, self._touched)
                self._by_identity[id(each)] = self._by_path[each_path] = recorded
                found.append(recorded)
                fields = fields_in(state_of(each))
                waiting.extend(((*each_path, str(name)), value) for name, value in fields if is_service(value))
            for recorded in found:
                self._expect_state(recorded.inner)
        except NotSnapshotable:
            for recorded in found:
                del self._by_identity[id(recorded.inner)], self._by_path[recorded.path]
            raise
        return found[0]

    def _expect_state(self, service: Service) -> None:
        """Check that the state of a service can be stored and restored. Raises `NotSnapshotable`."""
        name, state = f"service {type(service).__name__}", state_of(service)
        self._encoder().put([None], 0, state, name, is_state=True)
        is_plain = state is None or isinstance(state, dict) or (isinstance(state, tuple) and len(state) == 2)
        if not is_plain and not hasattr(service, "__setstate__"):
            raise NotSnapshotable(
                f"{name}: expected fields from __getstate__, or a __setstate__, got {type(state).__name__}"
            )

    def _share_again(self, service: Service) -> None:
        """Restore sharing: replace references to objects that were replaced in another service."""
        for name, value in _fields(service).items():
            if id(value) in self._replaced and not (value is None or is_scalar(value)):
                setattr(service, name, self._replaced[id(value)][1])

    def _at(self, path: Path) -> RecordedService:
        """Return the service at a path. Raises `JournalError` if there is none."""
        recorded = self.service(path[0]).recorded
        for end in range(2, len(path) + 1):
            service = getattr(recorded.inner, path[end - 1], None)
            if not is_service(service):
                raise JournalError(f"expected a service of {path_text(path[:end])}, as it was kept, got none")
            recorded = self._by_identity.get(id(service)) or self._record(path[:end], service)
        return recorded

    # Writing

    def _encoder(self) -> Encoder:
        return Encoder(self._reference_to, is_sharing=True)

    def _reference_to(self, value: object) -> str | list[str] | None:
        known = self._by_identity.get(id(value))
        return known.reference if known is not None and known.inner is value else None

    def _note_legible(self, rows: list[RecordsRow], service: RecordedService) -> bool:
        fields = service.changed_fields()
        if fields is not None:
            text = encode(fields, f"service {type(service.inner).__name__}")
            self._note(rows, service.name, service.kind, text)
        return fields is not None

    def _note(self, rows: list[RecordsRow], name: str, kind: str, records: str) -> None:
        if self._written.get(name) != records:
            self._written[name] = records
            rows.append((name, kind, records))

    def _note_together(self, rows: list[RecordsRow]) -> None:
        """Add the common row: a call of one of its services may have changed an object that it shares with another."""
        encoder = self._encoder()
        nodes: list[dict[str, Any]] = []
        for each in list(self._by_path.values()):
            if not self._note_legible(rows, each):
                node = {"service": each.reference, "kind": each.kind, "state": None}
                nodes.append(node)
                encoder.put(node, "state", state_of(each.inner), f"service {type(each.inner).__name__}", is_state=True)
        self._note(rows, TOGETHER, TOGETHER, as_text(nodes))

    # Reading

    def _read(self, name: str, kind: str, records: str) -> list[Records]:
        """Return the records of each service in a row. Raises `JournalError` for a row that no node writes."""
        try:
            if name != TOGETHER:
                return [Records(_path(json.loads(name)), kind, _expect_fields(decode(records)))]
            for path in [_path(entry["service"]) for entry in _expect_list(json.loads(records))]:
                self._at(path)  # in the order in which they were found, so that each has the same path again
            entries = decode(records, lambda reference: self._at(_path(reference)).inner)
            return [Records(_path(entry["service"]), str(entry["kind"]), entry["state"]) for entry in entries]
        except JournalError:
            raise
        except BaseException as error:  # a damaged row may cause any exception, and so may the author's catalogue
            expect_no_ctrl_c(error)
            cause = error.__cause__
            if isinstance(cause, JournalError):
                raise cause from None
            told = str(error) if isinstance(error, Undecodable) else in_a_line(error)
            why = f"the records of {name} cannot be read ({told})"
            raise JournalError(f"expected a journal that is sound: {why}") from error

    def _is_served(self, records: Records) -> bool:
        try:
            return kind_of(owner_of(self._service_of(records.path[0]))) == records.kind
        except BaseException as error:  # the author's catalogue may raise any exception
            expect_no_ctrl_c(error)
            return False

    def _restore(self, records: Records, is_together: bool) -> None:
        named = path_text(records.path)
        try:
            service = self._at(records.path)
            if service.path != records.path:
                raise JournalError(
                    f"expected a service of {named} and another of {path_text(service.path)}, as when they were kept; "
                    "got one"
                )
            if service.kind != records.kind:
                raise JournalError(
                    f"expected a service of {named} of the kind {records.kind}, as it was kept, got {service.kind}: "
                    "are these the services (--services) that have executed the sagas of this journal?"
                )
            before = _fields(service.inner)
            service.give_back(records.state, is_together)
            for name, now in _fields(service.inner).items():
                if name in before and now is not before[name]:
                    self._replaced[id(before[name])] = before[name], now
        except JournalError:
            raise
        except BaseException as error:  # the author's service may raise any exception
            expect_no_ctrl_c(error)
            raise JournalError(
                f"expected a service of {named} that takes back what it held, got {in_a_line(error)}"
            ) from error


def _path(reference: Any) -> Path:
    """Read the name of a service: a step, or a list of a step and fields."""
    path = tuple(reference) if isinstance(reference, list) else (reference,)
    if not path or not all(isinstance(part, str) for part in path):
        raise Undecodable(f"expected the name of a service, got {reference!r}")
    return path


def _expect_list(services: Any) -> list[Any]:
    if not isinstance(services, list):
        raise Undecodable(f"expected a list of services, got {type(services).__name__}")
    return services


def _expect_fields(state: Any) -> Any:
    if not isinstance(state, dict):
        raise Undecodable(f"expected the fields of a service, got {type(state).__name__}")
    return state


def _fields(service: Service) -> dict[str, Any]:
    return dict(getattr(service, "__dict__", {}))

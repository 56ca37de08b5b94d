"""What the services hold, as rows: written with the deliveries that changed it, and given back after a restart.

Laws: a service does not know. It is found again by the name of the step by which it was found first. Fields that are
numbers and texts are a legible row of their own; whatever is more may be shared between services, so all of those are
one row, and what they share stays shared.
"""

import json
from collections.abc import Iterable
from typing import Any

from choreo.domain.copying import NoCopy, all_as_bytes, as_bytes, from_bytes, give_back
from choreo.domain.service import Service, ServiceOf
from choreo.journal.errors import JournalError
from choreo.journal.rows import RecordsRow
from choreo.journal.values import SCALARS, quote

TOGETHER = "*"
"""The name of the row of all services that hold more than numbers and texts."""

SCALARS_OR_NONE = (*SCALARS, type(None))


class KeptService:
    """A service whose calls are noted. A receipt that the journal cannot keep is given back, and a defect."""

    def __init__(self, step: str, inner: Service, touched: dict[str, None]) -> None:
        self.step = step
        self.inner = inner
        self._touched = touched
        self._first = state_of(inner)
        self._fields: dict[str, None] = {}

    def execute(self, reference: str) -> Any:
        self._touched[self.step] = None
        receipt = self.inner.execute(reference)
        if receipt.__class__ not in SCALARS_OR_NONE:
            try:
                as_bytes(receipt, f"a receipt of service {type(self.inner).__name__}")
            except NoCopy as error:
                self.inner.compensate(reference, receipt)  # what cannot be kept cannot be undone later
                raise TypeError(str(error)) from None
        return receipt

    def compensate(self, reference: str, receipt: Any) -> None:
        self._touched[self.step] = None
        self.inner.compensate(reference, receipt)

    def legible(self) -> dict[str, Any] | None:
        """The fields that have ever changed, where all fields are numbers and texts; otherwise None."""
        state = state_of(self.inner)
        if state is None or self._first is None:
            return None
        first = self._first
        for name, value in state.items():
            if name not in self._fields and (name not in first or first[name] != value):
                self._fields[name] = None
        return {name: state[name] for name in self._fields if name in state}

    def give_back(self, state: Any) -> None:
        if isinstance(state, dict):
            self._fields.update(dict.fromkeys(state))
        give_back(self.inner, state)


def state_of(service: Service) -> dict[str, Any] | None:
    """The fields of a service that holds nothing but numbers and texts, and is copied as it stands."""
    state: Any = service.__getstate__()
    if state is None:
        return {}
    if state.__class__ is not dict or hasattr(service, "__setstate__"):
        return None
    return dict(state) if all(value.__class__ in SCALARS_OR_NONE for value in state.values()) else None


class ServiceRecords:
    """The services that were used so far. `changed` is what is to be written with the next transaction."""

    def __init__(self, service_of: ServiceOf, rows: Iterable[RecordsRow]) -> None:
        """Gives the services back what they held. Raises `JournalError` where one cannot take it."""
        self._service_of = service_of
        self._services: dict[str, KeptService] = {}
        self._by_identity: dict[int, KeptService] = {}
        self._touched: dict[str, None] = {}
        self._written: dict[str, str | bytes] = {}
        self._replaced: dict[int, tuple[Any, Any]] = {}  # by its identity, a field's value before, and what it is now
        for name, _, records in rows:
            self._written[name] = records
            for step, state in _states(name, records).items():
                self._restore(step, state)

    def service(self, step: str) -> KeptService:
        """The service of a step, which tells of its calls from now on. Raises `NoCopy` for one that cannot be kept."""
        known = self._services.get(step)
        if known is not None:
            return known
        service = self._service_of(step)
        known = self._by_identity.get(id(service))
        if known is None:
            as_bytes(service.__getstate__(), f"service {type(service).__name__}")
            self._share_again(service)
            known = self._services[step] = self._by_identity[id(service)] = KeptService(step, service, self._touched)
        return known

    def changed(self) -> list[RecordsRow]:
        """The rows of the services that were called since the last time, as far as they differ."""
        touched, together = list(self._touched), False
        self._touched.clear()
        rows: list[RecordsRow] = []
        for step in touched:
            fields = self._services[step].legible()
            if fields is None:
                together = True
            else:
                self._note(rows, quote(step), type(self._services[step].inner), json.dumps(fields))
        if together:
            self._note_together(rows)
        return rows

    def _note(self, rows: list[RecordsRow], name: str, kind: type, records: str | bytes) -> None:
        if self._written.get(name) != records:
            self._written[name] = records
            rows.append((name, f"{kind.__module__}.{kind.__qualname__}", records))

    def _note_together(self, rows: list[RecordsRow]) -> None:
        """What one of them holds it may share with any other, and may have changed there."""
        states: dict[str, Any] = {}
        for step, service in self._services.items():
            fields = service.legible()
            if fields is None:
                states[step] = service.inner.__getstate__()
            elif fields:
                self._note(rows, quote(step), type(service.inner), json.dumps(fields))
        services = [self._services[step].inner for step in states]
        self._note(rows, TOGETHER, dict, all_as_bytes(states, services))

    def _share_again(self, service: Service) -> None:
        """What it has in common with a service that was given something else back, it has in common with it still."""
        for name, value in _fields(service).items():
            if id(value) in self._replaced and value.__class__ not in SCALARS_OR_NONE:
                setattr(service, name, self._replaced[id(value)][1])

    def _restore(self, step: str, state: Any) -> None:
        try:
            service = self.service(step)
            if service.step != step:
                raise JournalError(
                    f"expected a service of {step!r} and another of {service.step!r}, as when they were kept; got one"
                )
            before = _fields(service.inner)
            service.give_back(state)
            for name, now in _fields(service.inner).items():
                if name in before and now is not before[name]:
                    self._replaced[id(before[name])] = before[name], now
        except JournalError:
            raise
        except Exception as error:  # whatever somebody else's service raises
            raise JournalError(
                f"expected a service of {step!r} that takes back what it held, got {type(error).__name__}: {error}"
            ) from error


def _fields(service: Service) -> dict[str, Any]:
    return dict(getattr(service, "__dict__", {}))


def _states(name: str, records: str | bytes) -> dict[str, Any]:
    """What a row has of each service. Raises `JournalError` for one that no node has written."""
    try:
        states = {json.loads(name): json.loads(records)} if isinstance(records, str) else from_bytes(records)
        if not (isinstance(states, dict) and all(isinstance(step, str) for step in states)):
            raise TypeError(f"expected the state of each service, got {type(states).__name__}")
    except Exception as error:  # a damaged pickle may raise anything
        why = f"the records of {name} cannot be read ({type(error).__name__}: {error})"
        raise JournalError(f"expected a journal that is sound: {why}") from error
    return states

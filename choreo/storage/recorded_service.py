"""A service whose calls are noted, and whose fields are compared with those that it began with.

Laws: the service is unaware of it. It is identified by the step that found it first, or, if it stands in a field of
another service, by that service and the field.
"""

import json
from typing import Any, TypeGuard

from choreo.saga.calls.call import Call
from choreo.saga.calls.calling import METHODS, by_call, ran
from choreo.saga.calls.steps import owner_of, step_methods_of
from choreo.saga.data import kept
from choreo.saga.raised import in_a_line
from choreo.saga.service import ControlFlow, NotSnapshotable, Refused, Service
from choreo.storage.calls import CALL, COMPENSATE, DOUBT, EXECUTE, Calls
from choreo.storage.copying import give_back, state_of
from choreo.storage.values import is_scalar, quote

Path = tuple[str, ...]
"""The step of a service; for a service in a field of another one, its path and the field."""


class RecordedCalls:
    """The calls of one step to a recorded service. A result that JSON cannot keep counts as an unknown answer."""

    def __init__(self, recorded: "RecordedService", service: Any, calls: Calls | None) -> None:
        self.recorded = recorded
        self._execute, self._compensate = by_call(service)
        self._touched, self._path = recorded.touched, recorded.path
        self._marks = None if calls is None else calls.marks

    def execute(self, call: Call) -> Any:
        self._touched[self._path] = None
        marks = self._marks
        try:
            if marks is not None:
                marks[CALL] = EXECUTE
            return kept(ran(self._execute(call)), call.step)
        except Refused:
            raise
        except BaseException as error:
            if marks is not None:
                marks[DOUBT] = 1
            if isinstance(error, ControlFlow) and not isinstance(error, NotSnapshotable):  # it came from the service
                raise RuntimeError(in_a_line(error)) from None
            raise
        finally:
            if marks is not None:
                marks[CALL] = 0

    def compensate(self, call: Call) -> None:
        self._touched[self._path] = None
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


class RecordedService:
    """A service, and its state: that of the object whose methods are its steps, or of the service itself."""

    def __init__(self, path: Path, inner: Service, touched: dict[Path, None]) -> None:
        self.path = path
        self.inner = inner
        self.kind = kind_of(inner)
        self.is_together = False
        """Whether it has ever held more than numbers and texts; from then on its state is in the common row."""
        self.touched = touched
        self._is_plain = is_plain(inner)
        self._first = self._state()
        self._fields: dict[str, None] = {}

    @property
    def name(self) -> str:
        """Return its name as in the journal."""
        return quote(self.path[0]) if len(self.path) == 1 else json.dumps(self.path)

    @property
    def reference(self) -> str | list[str]:
        """Return its name as in the common row."""
        return self.path[0] if len(self.path) == 1 else list(self.path)

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
    kind = type(owner_of(service))
    return f"{kind.__module__}.{kind.__qualname__}"


def is_plain(service: Service) -> bool:
    """Return whether its fields are the whole state of a service: no slots, and no pickling methods of its own."""
    kinds = type(service).__mro__[:-1]
    return not any("__getstate__" in vars(kind) or vars(kind).get("__slots__") for kind in kinds)


def _is_same(fields: dict[str, Any], name: str, value: object) -> bool:
    return name in fields and fields[name].__class__ is value.__class__ and bool(fields[name] == value)


def path_text(path: Path) -> str:
    """Return a path for an error message."""
    return repr(path[0]) if len(path) == 1 else f"{path[0]!r}, in its field {'.'.join(path[1:])}"


def is_service(value: object) -> TypeGuard[Service]:
    """Return whether an object in a field of a service serves steps too."""
    kind = type(value)
    if issubclass(kind, type):
        return False
    return all(callable(getattr(kind, each, None)) for each in METHODS) or bool(step_methods_of(value))

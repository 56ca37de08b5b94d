"""Pickles of journals that an older choreo has written, as JSON; only the migration of a journal reads them.

Laws: nothing is called but classes that hold data: those in `ADMITTED`, and the dataclasses, Structs, NamedTuples and
enums that the codec keeps. A pickle that names anything else is refused.
"""

import pickle
from base64 import b64encode
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from msgspec import Struct

from choreo.saga.codec import Encoder, Undecodable, as_text, class_named, encode
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import NotSnapshotable

ADMITTED: Mapping[str, frozenset[str]] = {
    "builtins": frozenset({"set", "frozenset", "bytearray", "list", "dict", "int", "float", "str"}),
    "datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "uuid": frozenset({"UUID"}),
    "collections": frozenset({"deque", "defaultdict", "OrderedDict", "Counter"}),
    "pathlib": frozenset({"PosixPath", "PurePosixPath"}),
    "msgspec._utils": frozenset({"rebuild"}),
}
"""By module: the classes, and the one function, that are called while a pickle is read."""


class NotPlain(ValueError):
    """A pickle names a class that is not admitted, or is damaged."""


class ServiceReference(Struct, eq=False):
    """A reference to a service from the state of another one."""

    step: str


def receipt_from_pickle(data: bytes) -> str:
    """Return a receipt as JSON. Raises `NotPlain`."""
    value = _loaded(data, _refuse_reference)
    try:
        return encode(value, "the receipt")
    except NotSnapshotable as error:
        raise NotPlain(str(error)) from None


def kept_unread(data: bytes) -> str:
    """Return JSON of a pickle that stays unread; decoding it is an error."""
    return as_text({"$pickle": b64encode(data).decode()})


def records_from_pickle(data: bytes, kinds: Mapping[str, str]) -> str:
    """Return the common row of services as JSON, given the kind of each. Raises `NotPlain`, which names the step."""
    states = _loaded(data, ServiceReference)
    if not isinstance(states, dict) or list(states) != list(kinds):
        raise NotPlain(f"expected the state of each service, got a value of type {type(states).__name__}")
    encoder = Encoder(lambda value: value.step if isinstance(value, ServiceReference) else None, is_sharing=True)
    nodes: list[dict[str, Any]] = []
    for step, state in states.items():
        nodes.append({"service": step, "kind": kinds[step], "state": None})
        try:
            encoder.put(nodes[-1], "state", state, f"step {step!r}", is_state=True)
        except NotSnapshotable as error:
            raise NotPlain(str(error)) from None
    return as_text(nodes)


def _refuse_reference(step: str) -> Any:
    raise NotPlain("expected a value, got a reference to a service")


def _loaded(data: bytes, reference: Callable[[str], Any]) -> Any:
    try:
        return _PlainUnpickler(BytesIO(data), reference).load()
    except NotPlain:
        raise
    except BaseException as error:  # a damaged pickle may raise any exception
        expect_no_ctrl_c(error)
        raise NotPlain(f"it cannot be read ({in_a_line(error)})") from None


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, reference: Callable[[str], Any]) -> None:
        super().__init__(file)
        self._reference = reference

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, str):
            raise NotPlain(f"expected a step, got a reference of type {type(pid).__name__}")
        return self._reference(pid)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _zone_reader
        if name in ADMITTED.get(module, ()) or (module, name) == ("zoneinfo", "ZoneInfo"):
            return super().find_class(module, name)
        try:
            return class_named(f"{module}:{name}")
        except Undecodable as error:
            raise NotPlain(f"it holds a {module}.{name}: {error}") from None


def _zone_reader(owner: Any, name: str) -> Any:
    """Return the function that pickle restores a time zone with; a zone is restored with no other attribute."""
    if (getattr(owner, "__module__", None), getattr(owner, "__name__", None), name) != (
        "zoneinfo",
        "ZoneInfo",
        "_unpickle",
    ):
        raise NotPlain(f"it looks up the attribute {name!r}")
    return owner._unpickle  # noqa: SLF001  # as pickle does

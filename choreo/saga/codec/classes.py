"""Author's classes that have a form in JSON: dataclasses, msgspec Structs, NamedTuples and enums, by module and name.

Laws: a class is imported by its name and inspected, and is called only if it is a Struct; a dataclass and a NamedTuple
are built without their `__init__` and `__new__`. Whatever else has that name is refused, and never called.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum, EnumMeta, Flag
from functools import cached_property
from importlib import import_module
from typing import Any, Literal

import msgspec
from msgspec import Struct

from choreo.saga.codec.errors import Undecodable, Unsupported
from choreo.saga.raised import expect_no_ctrl_c, in_a_line

HEAP_TYPE = 1 << 9
"""Flag of a class that is not built into the interpreter (https://docs.python.org/3/c-api/typeobj.html)."""

Kind = Literal["dataclass", "struct", "namedtuple"]


class Shape(Struct, frozen=True):
    """The fields of a class; `defaults` has a function for each field that may be missing."""

    kind: Kind
    cls: Any
    name: str
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    slots: tuple[str, ...]
    is_mutable: bool


_shapes: dict[type, Shape] = {}
_named: dict[str, type] = {}


def shape_of(cls: type) -> Shape | None:
    """Return the shape of a class; None if its instances have no form. Raises `Unsupported` for a nameless class."""
    known = _shapes.get(cls)
    if known is None:
        known = _shape_of(cls)
        if known is not None:
            expect_found_again(cls)
            _shapes[cls] = known
    return known


def expect_found_again(cls: type) -> None:
    """Check that the name of a class leads back to it. Raises `Unsupported`."""
    name = name_of(cls)
    try:
        found = class_named(name)
    except Undecodable:
        found = None
    if found is not cls:
        raise Unsupported(cls, f"an instance of {name}, which is not found under that name; define it in a module")


def name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def class_named(name: str) -> type:
    """Import a class. Raises `Undecodable` if there is none of that name."""
    found = _named.get(name)
    if found is None:
        found = _imported(name)
        if _shape_of(found) is None and not isinstance(found, EnumMeta):
            raise Undecodable(f"expected a dataclass, a Struct, a NamedTuple or an enum, got {name!r}, which is none")
        _named[name] = found
    return found


def _imported(name: str) -> type:
    module, _, path = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        raise Undecodable(f"expected module:class, got {name!r}")
    try:
        found: Any = import_module(module)
    except BaseException as error:  # a module may raise any exception
        expect_no_ctrl_c(error)
        raise Undecodable(f"expected the class {name!r}, got {in_a_line(error)}; is its module still there?") from None
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not isinstance(found, type):
        came = "nothing" if found is None else f"a value of type {type(found).__name__}"
        raise Undecodable(f"expected the class {name!r}, got {came}; was it moved or renamed?")
    return found


def _shape_of(cls: type) -> Shape | None:
    if issubclass(cls, Struct):
        names = cls.__struct_fields__
        defaults = dict(zip(names[::-1], cls.__struct_defaults__[::-1], strict=False))
        given = {name: None for name, value in defaults.items() if value is not msgspec.NODEFAULT}
        return Shape("struct", cls, name_of(cls), names, given, (), not cls.__struct_config__.frozen)
    if _is_namedtuple(cls):
        names, defaults = cls._fields, cls._field_defaults  # type: ignore[attr-defined]  # it has them
        return Shape("namedtuple", cls, name_of(cls), names, dict(defaults), (), False)
    if is_dataclass(cls) and _has_plain_layout(cls) and not isinstance(cls, EnumMeta):
        each = fields(cls)
        optional = {field.name: field for field in each if field.default is not MISSING or _has_factory(field)}
        names = tuple(field.name for field in each)
        return Shape("dataclass", cls, name_of(cls), names, optional, _slots_of(cls), True)
    return None


def _has_factory(field: Any) -> bool:
    return field.default_factory is not MISSING


def _is_namedtuple(cls: type) -> bool:
    made = [kind for kind in cls.__mro__ if kind.__bases__ == (tuple,)]
    return bool(made) and isinstance(vars(made[0]).get("_fields"), tuple) and "_field_defaults" in vars(made[0])


def _has_plain_layout(cls: type) -> bool:
    """Return whether `object.__new__` makes instances: no base is a dict, an exception or another built-in class."""
    return all(kind is object or kind.__flags__ & HEAP_TYPE for kind in cls.__mro__)


def _slots_of(cls: type) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for kind in cls.__mro__:
        slots = vars(kind).get("__slots__", ())
        found.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def fields_of(value: Any, shape: Shape) -> dict[str, Any]:
    """Return all fields of an instance, in order. Raises `Unsupported` if it has more or less than its class has."""
    if shape.kind == "namedtuple":
        found = {**getattr(value, "__dict__", {}), **dict(zip(shape.names, tuple.__iter__(value), strict=True))}
    elif shape.kind == "struct":
        found = {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in shape.names}}
    else:
        found = {name: getattr(value, name) for name in shape.slots if hasattr(value, name)}
        found |= getattr(value, "__dict__", {})
    if len(found) != len(shape.names) or any(name not in found for name in shape.names):
        found = {name: each for name, each in found.items() if not _is_cached(shape.cls, name)}
        for name in shape.names:
            if name not in found:
                raise Unsupported(value, f"a {shape.cls.__name__} whose field {name!r} has no value")
        for name in found:
            if name not in shape.names:
                raise Unsupported(value, f"a {shape.cls.__name__} with the attribute {name!r}, which is no field of it")
    return {name: found[name] for name in shape.names}


def _is_cached(cls: type, name: str) -> bool:
    return isinstance(getattr(cls, name, None), cached_property)


def built(shape: Shape, values: Mapping[str, Any]) -> Any:
    """Build an instance with these fields. Raises `Undecodable` if the class has lost or gained a field."""
    for name in values:
        if name not in shape.names:
            raise Undecodable(f"expected {shape.name} with the field {name!r}, as it was kept, got a class without it")
    for name in shape.names:
        if name not in values and name not in shape.defaults:
            raise Undecodable(f"expected {shape.name} as it was kept, got a class with the new field {name!r}")
    if shape.kind == "struct":
        return shape.cls(**values)
    if shape.kind == "namedtuple":
        return tuple.__new__(shape.cls, [values[n] if n in values else shape.defaults[n] for n in shape.names])
    instance = object.__new__(shape.cls)
    for name in shape.names:
        _set(instance, shape, name, values[name] if name in values else _default(shape.defaults[name]))
    return instance


def _set(instance: Any, shape: Shape, name: str, value: Any) -> None:
    """Set a field without calling a property or a `__setattr__` of the class."""
    if name in shape.slots:
        object.__setattr__(instance, name, value)
    else:
        vars(instance)[name] = value


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory()


def enum_body(member: Enum) -> dict[str, Any]:
    """Return the name of an enum's member, or the number of a combination of flags."""
    cls, name = type(member), member._name_
    expect_found_again(cls)
    if name is not None and cls.__members__.get(name) is member:
        return {"$enum": name_of(cls), "name": name}
    if isinstance(member, Flag) and member._value_.__class__ is int:
        return {"$enum": name_of(cls), "value": member._value_}
    raise Unsupported(member)


def enum_member(cls: type, body: Mapping[str, Any]) -> Any:
    """Return the member of an enum. Raises `Undecodable` if the enum has it no more."""
    if not isinstance(cls, EnumMeta):
        raise Undecodable(f"expected an enum, got {name_of(cls)!r}, which is none")
    if "name" in body:
        found = cls.__members__.get(body["name"])
        if found is None:
            raise Undecodable(f"expected {name_of(cls)} with {body['name']!r}, as it was kept, got an enum without it")
        return found
    if not issubclass(cls, Flag) or body["value"].__class__ is not int:
        raise Undecodable(f"expected a number of flags and their enum, got {body['value']!r} of {name_of(cls)}")
    return cls(body["value"])

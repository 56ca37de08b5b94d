"""Values to JSON in ASCII: JSON's own values as they are, all others as objects with one key that begins with `$`.

Laws: pure; lossless, or `NotSnapshotable` with the path to the value. The text depends on the value only: sets are
sorted by the text of their elements. `DEPTH_MAX` bounds the recursion, and a value that contains itself is refused.
"""

import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from json.encoder import encode_basestring_ascii as quote
from math import isfinite
from types import NoneType
from typing import Any

import msgspec

from choreo.saga.codec.classes import enum_body, fields_of, shape_of
from choreo.saga.codec.errors import Unsupported
from choreo.saga.codec.scalars import INTEGER_BITS, WRITERS, fraction, is_json_text, number, text, write_bytearray
from choreo.saga.raised import expect_no_ctrl_c, in_a_line, shown
from choreo.saga.service import NotSnapshotable

DEPTH_MAX = 100
"""Containers within containers."""

CONTAINERS_MAX = 1_000_000
"""Containers in one text: an object that is reached often may be written as often."""

PLAIN = frozenset({str, bool, NoneType})
FLAT = PLAIN | {int}
TAG = b'"$'

FACTORIES: Mapping[Any, str | None] = {
    None: None,
    **{kind: kind.__name__ for kind in (list, dict, set, int, float, str)},
}
"""The factories of a defaultdict that can be kept."""


def encode(value: Any, what: str) -> str:
    """Encode a value as JSON. Raises `NotSnapshotable`, which names the value as `what`."""
    kind = value.__class__
    if kind is str and is_json_text(value):
        return quote(value)
    if value is None:
        return "null"
    if kind is int and value.bit_length() < INTEGER_BITS:
        return str(value)
    text = _flat_text(value, kind)
    return Encoder().text(value, what) if text is None else text


def _flat_text(value: Any, kind: type) -> str | None:
    """Write a list or a dict of JSON's own scalars, in a third of the time; None if it needs a closer look."""
    if kind is dict:
        for key in value:
            if key.__class__ is not str:
                return None
        values = value.values()
    elif kind is list:
        values = value
    else:
        return None
    for each in values:
        kind = each.__class__
        if kind not in FLAT and (kind is not float or not isfinite(each)):
            return None
    try:
        text = msgspec.json.encode(value)
    except (OverflowError, ValueError):  # a long number, a lone surrogate
        return None
    return text.decode() if text.isascii() and TAG not in text else None


def as_text(node: object) -> str:
    """Write a tree of JSON values in ASCII; msgspec takes a fifth of the time, where it can."""
    try:
        text = msgspec.json.encode(node)
    except (OverflowError, UnicodeEncodeError):  # a number of more than 64 bits, a lone surrogate
        return json.dumps(node, separators=(",", ":"))
    return text.decode() if text.isascii() else json.dumps(node, separators=(",", ":"))


class _Seen:
    """A mutable object that was written: the place of its node, and its number once it is reached again."""

    __slots__ = ("holder", "key", "number", "value")

    def __init__(self, value: object, holder: Any, key: Any) -> None:
        self.value = value  # held, so that no other object gets its identity
        self.holder = holder
        self.key = key
        self.number = 0


class Encoder:
    """Encodes values. With `is_sharing`, a mutable object that is reached twice is written once, and restored as one.

    `names` returns the name of a service, which is written in its place, and None for any other object.
    """

    def __init__(self, names: Callable[[object], Any] | None = None, is_sharing: bool = False) -> None:
        self._names = names
        self._seen: dict[int, _Seen] | None = {} if is_sharing else None
        self._numbers = self._containers = 0
        self._open: dict[int, None] = {}

    def text(self, value: object, what: str) -> str:
        """Encode a value. Raises `NotSnapshotable`, which names the value as `what`."""
        root: list[Any] = [None]
        self.put(root, 0, value, what)
        return as_text(root[0])

    def put(self, holder: Any, key: Any, value: object, what: str, is_state: bool = False) -> None:
        """Encode a value as the JSON node `holder[key]`, which later calls may give a number.

        Raises `NotSnapshotable`.
        """
        try:
            holder[key] = self._node(value, 0, holder, key)
        except Unsupported as error:
            raise NotSnapshotable(error.text(what, is_state)) from None
        except BaseException as error:  # the author's object may raise any exception
            expect_no_ctrl_c(error)
            raise NotSnapshotable(f"{what}: expected a value that JSON can keep, got {in_a_line(error)}") from None
        finally:
            self._open.clear()

    def _node(self, value: Any, depth: int, holder: Any, key: Any) -> Any:
        kind = value.__class__
        if kind is str:
            return text(value)
        if kind in PLAIN:
            return value
        if kind is int:
            return number(value)
        if kind is float:
            return fraction(value)
        writer = WRITERS.get(kind)
        if writer is not None:
            return {writer[0]: writer[1](value)}
        if self._names is not None and (name := self._names(value)) is not None:
            return {"$service": name}
        if isinstance(value, Enum):
            return enum_body(value)
        write, is_mutable = self._writer_of(value, type(value))
        seen = self._seen
        if is_mutable and seen is not None:
            before = seen.get(id(value))
            if before is not None and id(value) not in self._open:
                return self._reference(before)
            seen[id(value)] = _Seen(value, holder, key)
        return self._contained(write, value, depth)

    def _writer_of(self, value: Any, kind: type) -> tuple[Callable[[Any, int], Any], bool]:
        known = CONTAINERS.get(kind)
        if known is not None:
            method, is_mutable = known
            return getattr(self, method), is_mutable
        shape = shape_of(kind)
        if shape is None:
            raise Unsupported(value)
        return lambda each, depth: self._object(fields_of(each, shape), depth, shape.name), shape.is_mutable

    def _contained(self, write: Callable[[Any, int], Any], value: Any, depth: int) -> Any:
        if id(value) in self._open:
            raise Unsupported(value, f"a {type(value).__name__} that contains itself")
        if depth >= DEPTH_MAX:
            raise Unsupported(value, f"more than {DEPTH_MAX} containers within each other")
        self._containers += 1
        if self._containers > CONTAINERS_MAX:
            raise Unsupported(value, f"more than {CONTAINERS_MAX:,} containers")
        self._open[id(value)] = None
        node = write(value, depth + 1)
        self._open.pop(id(value), None)
        return node

    def _reference(self, seen: _Seen) -> Any:
        if not seen.number:
            self._numbers += 1
            seen.number = self._numbers
            seen.holder[seen.key] = {"$id": seen.number, "$value": seen.holder[seen.key]}
        return {"$ref": seen.number}

    # Containers

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        nodes: list[Any] = []
        index = 0
        try:
            for index, each in enumerate(value):
                nodes.append(self._node(each, depth, nodes, index))
        except Unsupported as error:
            error.path.append(f"[{index}]")
            raise
        return nodes

    def _tuple(self, value: Any, depth: int) -> Any:
        return {"$tuple": self._list(value, depth)}

    def _set(self, value: Any, depth: int) -> Any:
        return {"$set": self._elements(value, depth)}

    def _frozenset(self, value: Any, depth: int) -> Any:
        return {"$frozenset": self._elements(value, depth)}

    def _elements(self, value: Iterable[Any], depth: int) -> list[Any]:
        """Return the nodes of a set in the order of their texts, which are written without numbers for that."""
        alone = self if self._seen is None else Encoder(self._names)
        nodes = [alone.element(each, depth) for each in value]
        order = sorted((as_text(node), index) for index, node in enumerate(nodes))
        if alone is self:
            return [nodes[index] for _, index in order]
        elements = list(value)
        return self._list([elements[index] for _, index in order], depth)

    def element(self, value: object, depth: int) -> Any:
        """Return the node of an element of a set. Raises `Unsupported`."""
        try:
            return self._node(value, depth, [None], 0)
        except Unsupported as error:
            error.path.append(f"{{{shown(value)}}}")
            raise

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if any(key.__class__ is not str or not is_json_text(key) for key in value):
            return {"$map": self._pairs(value, depth)}
        nodes: dict[str, Any] = {}
        key = ""
        try:
            for key, each in value.items():
                nodes[key] = self._node(each, depth, nodes, key)
        except Unsupported as error:
            error.path.append(f"[{key!r}]")
            raise
        return {"$dict": nodes} if any(key[:1] == "$" for key in nodes) else nodes

    def _pairs(self, value: Mapping[Any, Any], depth: int) -> list[Any]:
        pairs: list[Any] = []
        key: Any = None
        is_key = True
        try:
            for key, each in value.items():
                pair: list[Any] = [None, None]
                is_key = True
                pair[0] = self._node(key, depth, pair, 0)
                is_key = False
                pair[1] = self._node(each, depth, pair, 1)
                pairs.append(pair)
        except Unsupported as error:
            error.path.append(f"(key {shown(key)})" if is_key else f"[{shown(key)}]")
            raise
        return pairs

    def _object(self, fields: Mapping[str, Any], depth: int, name: str) -> Any:
        nodes: dict[str, Any] = {}
        field = ""
        try:
            for field, each in fields.items():
                nodes[field] = self._node(each, depth, nodes, field)
        except Unsupported as error:
            error.path.append(f".{field}")
            raise
        return {"$object": name, "fields": nodes}

    def _bytearray(self, value: bytearray, depth: int) -> Any:
        return {"$bytearray": write_bytearray(value)}

    def _deque(self, value: deque[Any], depth: int) -> Any:
        return {"$deque": self._list(value, depth), "maxlen": value.maxlen}

    def _ordered_dict(self, value: Any, depth: int) -> Any:
        return {"$ordereddict": self._pairs(value, depth)}

    def _counter(self, value: Any, depth: int) -> Any:
        return {"$counter": self._pairs(value, depth)}

    def _default_dict(self, value: Any, depth: int) -> Any:
        factory = value.default_factory
        if not isinstance(factory, type | None) or factory not in FACTORIES:
            raise Unsupported(value, f"a defaultdict with the factory {shown(factory)}")
        return {"$defaultdict": self._pairs(value, depth), "factory": FACTORIES[factory]}


CONTAINERS: Mapping[type, tuple[str, bool]] = {
    list: ("_list", True),
    dict: ("_dict", True),
    tuple: ("_tuple", False),
    set: ("_set", True),
    frozenset: ("_frozenset", False),
    bytearray: ("_bytearray", True),
    deque: ("_deque", True),
    OrderedDict: ("_ordered_dict", True),
    Counter: ("_counter", True),
    defaultdict: ("_default_dict", True),
}
"""By class: the method that writes it, and whether it is mutable, so that it matters whether two are one."""

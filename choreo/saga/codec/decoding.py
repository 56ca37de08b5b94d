"""JSON back to values: the inverse of `encoding.py`.

Laws: pure; every text gives a value or `Undecodable`. Nothing that a text names is called, but for the constructors of
Structs and of the classes in the tables here and in `scalars.py`.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from json import JSONDecoder
from typing import Any, NoReturn

from choreo.saga.codec.classes import built, class_named, enum_member, shape_of
from choreo.saga.codec.encoding import DEPTH_MAX, FACTORIES
from choreo.saga.codec.errors import Undecodable, Unsupported
from choreo.saga.codec.scalars import READERS
from choreo.saga.raised import expect_no_ctrl_c, in_a_line, shown

TAG = '"$'
"""A text without it has JSON's own values only."""

FACTORY_NAMED: Mapping[str | None, Any] = {name: kind for kind, name in FACTORIES.items()}

KEYS: Mapping[str, tuple[frozenset[str], ...]] = {
    "$object": (frozenset({"$object", "fields"}),),
    "$enum": (frozenset({"$enum", "name"}), frozenset({"$enum", "value"})),
    "$deque": (frozenset({"$deque", "maxlen"}),),
    "$defaultdict": (frozenset({"$defaultdict", "factory"}),),
    "$id": (frozenset({"$id", "$value"}),),
}
"""The keys of an object with that tag; of all others the tag alone."""


def _refuse(constant: str) -> NoReturn:
    raise Undecodable(f"expected JSON, got {constant}")


_parse = JSONDecoder(parse_constant=_refuse).decode


def decode(text: str, service_named: Callable[[Any], object] | None = None) -> Any:
    """Decode a text of `encode`. Raises `Undecodable`. `service_named` returns the service with a name."""
    try:
        if text.__class__ is not str:
            raise Undecodable(f"expected JSON, got a value of type {type(text).__name__}")
        node = _parse(text)
        return _Decoder(service_named).value(node, 0) if TAG in text else node
    except Undecodable:
        raise
    except BaseException as error:  # a damaged text, or a Struct's own check, may raise any exception
        expect_no_ctrl_c(error)
        raise Undecodable(f"expected JSON of a value that was kept, got {in_a_line(error)}") from error


class _Decoder:
    def __init__(self, service_named: Callable[[Any], object] | None) -> None:
        self._service_named = service_named
        self._shared: dict[int, Any] = {}

    def value(self, node: Any, depth: int) -> Any:
        if node.__class__ is list:
            return self._list(node, depth)
        if node.__class__ is not dict:
            return node
        tag = next((key for key in node if key[:1] == "$"), None)
        if tag is None:
            return self._fields(node, depth)
        tag = next(iter(node))
        if node.keys() not in KEYS.get(tag, (frozenset({tag}),)):
            raise Undecodable(f"expected an object with one tag, got the keys {shown(list(node))}")
        return self._tagged(tag, node, depth)

    def _tagged(self, tag: str, node: dict[str, Any], depth: int) -> Any:
        body = node[tag]
        reader = READERS.get(tag)
        if reader is not None:
            kind, read = reader
            if not isinstance(body, kind):
                raise Undecodable(f"expected another form of {tag}, got {shown(body)}")
            return read(body)
        special = SPECIAL.get(tag)
        if special is None:
            raise Undecodable(f"expected a tag that choreo writes, got {shown(tag)}")
        kind, method = special
        if body.__class__ is not kind and kind is not object:
            raise Undecodable(f"expected another form of {tag}, got {shown(body)}")
        return getattr(self, method)(node, body, depth)

    def _list(self, node: list[Any], depth: int) -> list[Any]:
        self._expect_depth(depth)
        return [self.value(each, depth + 1) for each in node]

    def _fields(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        self._expect_depth(depth)
        return {key: self.value(each, depth + 1) for key, each in node.items()}

    def _expect_depth(self, depth: int) -> None:
        if depth >= DEPTH_MAX:
            raise Undecodable(f"expected at most {DEPTH_MAX} containers within each other, got more")

    def _pairs(self, body: list[Any], depth: int) -> list[tuple[Any, Any]]:
        self._expect_depth(depth)
        if any(pair.__class__ is not list or len(pair) != 2 for pair in body):
            raise Undecodable("expected pairs of a key and a value, got others")
        return [(self.value(key, depth + 1), self.value(each, depth + 1)) for key, each in body]

    # By tag

    def _tuple(self, node: Any, body: Any, depth: int) -> Any:
        return tuple(self._list(body, depth))

    def _set(self, node: Any, body: Any, depth: int) -> Any:
        return set(self._list(body, depth))

    def _frozenset(self, node: Any, body: Any, depth: int) -> Any:
        return frozenset(self._list(body, depth))

    def _dict(self, node: Any, body: Any, depth: int) -> Any:
        return self._fields(body, depth)

    def _map(self, node: Any, body: Any, depth: int) -> Any:
        return dict(self._pairs(body, depth))

    def _ordered_dict(self, node: Any, body: Any, depth: int) -> Any:
        return OrderedDict(self._pairs(body, depth))

    def _counter(self, node: Any, body: Any, depth: int) -> Any:
        return Counter(dict(self._pairs(body, depth)))

    def _default_dict(self, node: Any, body: Any, depth: int) -> Any:
        factory = node["factory"]
        if not isinstance(factory, str | None) or factory not in FACTORY_NAMED:
            raise Undecodable(f"expected the factory of a defaultdict, got {shown(factory)}")
        return defaultdict(FACTORY_NAMED[factory], self._pairs(body, depth))

    def _deque(self, node: Any, body: Any, depth: int) -> Any:
        return deque(self._list(body, depth), node["maxlen"])

    def _object(self, node: Any, body: Any, depth: int) -> Any:
        try:
            shape = shape_of(class_named(body))
        except Unsupported:
            shape = None
        if shape is None or node["fields"].__class__ is not dict:
            raise Undecodable(f"expected a dataclass, a Struct or a NamedTuple and its fields, got {shown(body)}")
        return built(shape, self._fields(node["fields"], depth))

    def _enum(self, node: Any, body: Any, depth: int) -> Any:
        return enum_member(class_named(body), node)

    def _id(self, node: Any, body: Any, depth: int) -> Any:
        value = self.value(node["$value"], depth)
        self._shared[body] = value
        return value

    def _ref(self, node: Any, body: Any, depth: int) -> Any:
        if body not in self._shared:
            raise Undecodable(f"expected a reference to an object before it, got {body}")
        return self._shared[body]

    def _service(self, node: Any, body: Any, depth: int) -> Any:
        if self._service_named is None:
            raise Undecodable("expected a value, got a reference to a service")
        return self._service_named(body)

    def _pickle(self, node: Any, body: Any, depth: int) -> Any:
        raise Undecodable("expected JSON, got a pickle that an older choreo has kept and that could not be read")


SPECIAL: Mapping[str, tuple[type, str]] = {
    "$tuple": (list, "_tuple"),
    "$set": (list, "_set"),
    "$frozenset": (list, "_frozenset"),
    "$dict": (dict, "_dict"),
    "$map": (list, "_map"),
    "$ordereddict": (list, "_ordered_dict"),
    "$counter": (list, "_counter"),
    "$defaultdict": (list, "_default_dict"),
    "$deque": (list, "_deque"),
    "$object": (str, "_object"),
    "$enum": (str, "_enum"),
    "$id": (int, "_id"),
    "$ref": (int, "_ref"),
    "$service": (object, "_service"),
    "$pickle": (str, "_pickle"),
}
"""By tag: the type of the body, and the method that reads the object."""

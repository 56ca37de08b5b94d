"""A definition as TOML, so that what was built in Python can be kept, and taken apart by the commands.

Laws: what is written is read back as the same definition. TOML's strings, numbers and arrays are JSON's; a table is
written inline.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from choreo.saga.definition import Definition


def as_toml(definition: Definition) -> str:
    """The TOML file of a definition; what is as by default is left out, but for the steps."""
    table: dict[str, Any] = msgspec.to_builtins(definition)
    default: dict[str, Any] = msgspec.to_builtins(Definition(definition.saga))
    return "\n".join(_lines(table, default))


def _lines(table: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if value == default[name] and name != "saga":
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            yield f"[[{name}]]" if isinstance(value, list | tuple) else f"[{name}]"
            for key, inner in each.items():
                if inner is not None:
                    yield f"{_key(key)} = {_value(inner)}"
            yield ""


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = (f"{_key(key)} = {_value(each)}" for key, each in value.items() if each is not None)
        return f"{{ {', '.join(inner)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _string(key)


def _string(text: str) -> str:
    """A basic string: JSON escapes what TOML does, but for the character DEL and what lies beyond 16 bits."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

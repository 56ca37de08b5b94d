"""TOML writer of definitions, so that a definition built in Python can be saved, and changed by the commands.

Laws: the written file reads back as the same definition. Strings, numbers and arrays of TOML are those of JSON; tables
are written inline.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from choreo.saga.definition import Saga
from choreo.saga.file.document import document_of


def as_toml(definition: Saga) -> str:
    """Return the TOML file of a definition. Tables equal to the default are omitted; steps are written in full."""
    table: dict[str, Any] = msgspec.to_builtins(document_of(definition))
    default: dict[str, Any] = msgspec.to_builtins(document_of(Saga(definition.name)))
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
    """Return a TOML basic string. JSON escapes the same characters, except DEL and those beyond 16 bits."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

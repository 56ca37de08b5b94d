"""Errors of the codec: a value that JSON cannot keep, and a text that is no encoded value."""

USER_CLASS = ("__dict__", "__slots__")
"""A class written in Python defines one of them itself; a lock, a file or a generator does not."""


class Undecodable(ValueError):
    """A text is not JSON as the codec writes it, or names a class that is not what it was."""


class Unsupported(Exception):
    """A value without a form in JSON, inside the codec only.

    Containers add their part of the path to it, from the inside outward.
    """

    def __init__(self, value: object, why: str | None = None) -> None:
        super().__init__()
        self.value = value
        self.why = why
        self.path: list[str] = []

    def text(self, what: str, is_state: bool = False) -> str:
        """Return the error text; the outermost keys in a service's state are fields."""
        kind = type(self.value)
        where = _where(self.path[::-1], is_state)
        got = f"a value of type {kind.__name__}" if self.why is None else self.why
        if self.why is None and kind.__module__ != "builtins":
            got = f"{got} ({kind.__module__}.{kind.__qualname__})"
        return f"{what}: {where}expected a value that JSON can keep, got {got}; {_advice(kind, is_state)}"


def _where(path: list[str], is_state: bool) -> str:
    if is_state and path[:1] in (["[0]"], ["[1]"]) and path[1:2] and path[1].startswith("['"):  # fields beside slots
        path = path[1:]
    if is_state and path and path[0].startswith("['"):
        path = [f"field {path[0][1:-1]}", *path[1:]]
    return f"{''.join(path)}: " if path else ""


def _advice(kind: type, is_state: bool) -> str:
    """Return the remedy; a field of a service may be left out, and a result may name what it stands for."""
    state = "leave the field out with __getstate__(), or make it in each call that needs it"
    others = state if is_state else "or hand back a text or a number that identifies it"
    is_written_in_python = any(name in vars(kind) for name in USER_CLASS) and kind.__module__ != "builtins"
    if is_written_in_python:
        return f"make {kind.__name__} a dataclass of a module, {others}"
    return others.removeprefix("or ")

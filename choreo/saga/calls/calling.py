"""Check of services: `execute` and `compensate` must be plain functions, not coroutines or generators.

Laws: pure; it calls no service. Defects that are visible before a call are refused at lookup, with the step's name. A
defect that only a result shows, such as an awaitable, is a defect of the service.
"""

from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, FunctionType, GeneratorType
from typing import Any

from choreo.saga.raised import shown
from choreo.saga.service import ServiceOf

METHODS = ("execute", "compensate")
NAME_MAX = 60

GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200
"""Flags of a code object (`inspect.CO_GENERATOR`, …). Importing inspect takes longer than starting a node."""

KINDS = {COROUTINE: "async def", ASYNC_GENERATOR: "an async generator", GENERATOR: "a generator"}
WRAPPED_MAX = 20

SCALARS = frozenset({type(None), int, str, bool, float, dict, list, tuple, bytes})
"""Result types that are accepted without a further check."""

VARIABLE = 0x04
"""Flag of a code object with `*args`."""


class UnfitService(TypeError):
    """The object found for a step cannot be called as a service."""


def checked(service_of: ServiceOf) -> ServiceOf:
    """Return the same catalogue, with each service checked at lookup. A lookup raises `UnfitService`."""

    def checked_service_of(step: str) -> Any:
        return fit(service_of(step), step)

    return checked_service_of


def fit(service: Any, step: str) -> Any:
    """Return the service. Raises `UnfitService` if a method is missing, or is a coroutine or generator function."""
    for method in METHODS:
        call = getattr(service, method, None)
        if not callable(call):
            named = f"{step[:NAME_MAX]!r}"
            raise UnfitService(f"expected a service with execute() and compensate() for {named}, got {shown(service)}")
        kind = _kind_of(call)
        if kind is not None:
            raise UnfitService(
                f"{_of(step)}: expected a plain function, got {kind} {type(service).__name__}.{method}(), which would "
                f"never run, because nobody awaits or iterates it; make it a plain def, or let a plain {method}() run "
                "it, as asyncio.run() does"
            )
    return service


def takes_call(service: Any) -> bool:
    """Return whether a service takes a `Call`: its `compensate` has one parameter, not a reference and a receipt."""
    code = getattr(_function_of(service.compensate), "__code__", None)
    if code is None:
        return False
    is_bound = not isinstance(service.compensate, FunctionType | partial)
    names = code.co_varnames[is_bound : code.co_argcount]
    return len(names) == 1 or names[:1] == ("call",) or (not names and bool(code.co_flags & VARIABLE))


def takes_nothing(function: Any) -> bool:
    """Return whether a function can be called without an argument, as one that makes services is."""
    code = getattr(_function_of(function), "__code__", None)
    if isinstance(function, type) or code is None:
        return False
    is_bound = not isinstance(function, FunctionType | partial)
    defaults = getattr(_function_of(function), "__defaults__", None) or ()
    return bool(code.co_argcount - is_bound - len(defaults) <= 0)


def by_call(service: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the local transaction and the compensation of a service, of either form, as functions of a `Call`."""
    if takes_call(service):
        return service.execute, service.compensate
    return lambda call: service.execute(call.key), lambda call: service.compensate(call.key, call.result)


class ByCall:
    """A service of either form, as one that takes a `Call`."""

    def __init__(self, service: Any) -> None:
        self._execute, self._compensate = by_call(service)

    def execute(self, call: Any) -> Any:
        return self._execute(call)

    def compensate(self, call: Any) -> Any:
        return self._compensate(call)


def ran(result: Any) -> Any:
    """Return the result of a call. Raises `TypeError` for an awaitable or a generator, and closes it first.

    Closing it avoids the interpreter's warning about a coroutine that was never awaited.
    """
    if result.__class__ in SCALARS or not _is_to_run(result):
        return result
    close = getattr(result, "close", None) or getattr(result, "cancel", None)
    if close is not None and not isinstance(result, AsyncGeneratorType):
        close()
    raise TypeError(f"expected a call that has run when it returns, got {type(result).__name__}, which nobody awaits")


def _is_to_run(result: Any) -> bool:
    return hasattr(type(result), "__await__") or isinstance(result, GeneratorType | AsyncGeneratorType)


def _kind_of(call: Any) -> str | None:
    """Return the kind of a coroutine function or a generator function; None for a plain function."""
    function = _function_of(call)
    code: Any = getattr(function, "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    if getattr(function, "_is_coroutine_mark", None) is not None:  # inspect.markcoroutinefunction
        flags |= COROUTINE
    return next((words for flag, words in KINDS.items() if flags & flag), None)


def _function_of(call: Any) -> Any:
    """Return the function behind bound methods, partials and objects with `__call__`."""
    for _ in range(WRAPPED_MAX):
        if isinstance(call, partial):
            call = call.func
        elif hasattr(call, "__func__"):
            call = call.__func__
        elif not hasattr(call, "__code__") and not isinstance(call, type):
            inner = getattr(type(call), "__call__", None)  # noqa: B004  # its code is read, not whether it is callable
            if not hasattr(inner, "__code__"):
                return call
            call = inner
        else:
            return call
    return call


def _of(step: str) -> str:
    return f"service of {step[:NAME_MAX]!r}"

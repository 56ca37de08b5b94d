"""Invariants of the author's own: predicates over the services of a saga, checked in every state or at rest.

Laws: pure, and light to import, because every program that imports choreo imports it. A predicate reads the state and
changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar, overload

from msgspec import Struct

from choreo.saga.raised import expect_no_ctrl_c, in_a_line, shown
from choreo.saga.spelling import suggestion
from choreo.saga.usage import UsageError

Service = TypeVar("Service")


class InvariantError(Exception):
    """A predicate that raised an exception, or returned neither True nor False."""


class When(StrEnum):
    """States in which a predicate must hold."""

    ALWAYS = "always"
    """Every reachable state."""
    SOMETIMES = "sometimes"
    """At least one state of all histories."""
    EVENTUALLY = "eventually"
    """Every state at rest."""


class ServicesState(Mapping[Any, Any]):
    """Services of one world, by step name; `state[Payments]` is the only service object of that class."""

    def __init__(self, by_step: Mapping[str, Any]) -> None:
        self._by_step = by_step

    @overload
    def __getitem__(self, key: type[Service]) -> Service: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """Return the service object of a class or of a step. Raises `LookupError`, which names those that exist."""
        if isinstance(key, type):
            return self._of_class(key)
        if key in self._by_step:
            return self._by_step[key]
        names = ", ".join(map(repr, self._by_step)) or "none"
        near = suggestion(key, self._by_step) if isinstance(key, str) else ""
        raise LookupError(f"state: expected a class or a step with a service ({names}), got {shown(key)}{near}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_step)

    def __len__(self) -> int:
        return len(self._by_step)

    def _of_class(self, kind: type) -> Any:
        objects = list({id(each): each for each in self._by_step.values()}.values())
        found = [each for each in objects if type(each) is kind] or [each for each in objects if isinstance(each, kind)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LookupError(
                f"state: expected one service of class {kind.__name__}, got {len(found)}; use the name of a step"
            )
        names = ", ".join(dict.fromkeys(type(each).__name__ for each in objects)) or "none"
        raise LookupError(f"state: expected the class of a service ({names}), got {kind.__name__}")


Predicate = Callable[[ServicesState], bool]


class OwnInvariant(Struct, frozen=True, eq=False):
    """A predicate with its title, and the states in which it must hold. It can still be called like the function."""

    when: When
    title: str
    predicate: Predicate

    def __call__(self, state: ServicesState) -> bool:
        """Return whether the predicate holds. Raises `InvariantError`."""
        try:
            holds: object = self.predicate(state)
        except BaseException as error:  # the author's predicate may raise any exception
            expect_no_ctrl_c(error)
            raise InvariantError(f"{self}: expected True or False, got {in_a_line(error)}") from error
        if not isinstance(holds, bool):
            raise InvariantError(f"{self}: expected True or False, got {shown(holds)}")
        return holds

    def __str__(self) -> str:
        return f"invariant {self.title!r} ({getattr(self.predicate, '__name__', 'a function')})"


def always(title: str) -> Callable[[Predicate], OwnInvariant]:
    """Make a function of the state an invariant that holds in every reachable state.

    `state[Payments]` is the service object of that class, `state["charge"]` that of a step. The function returns True
    or False, and changes nothing.
    """
    return _decorator(When.ALWAYS, title)


def sometimes(title: str) -> Callable[[Predicate], OwnInvariant]:
    """Make a function of the state an invariant that holds in at least one state of all histories.

    It guards against vacuity: a saga that never reaches the state in question shows nothing about it.
    """
    return _decorator(When.SOMETIMES, title)


def eventually(title: str) -> Callable[[Predicate], OwnInvariant]:
    """Make a function of the state an invariant that holds at rest: no delivery is in flight, no timer is armed."""
    return _decorator(When.EVENTUALLY, title)


def own_invariants(given: object) -> tuple[OwnInvariant, ...]:
    """Return the invariants that a caller gives. Raises `UsageError` for anything else, and for equal titles."""
    decorated = "@choreo.always(...), @choreo.sometimes(...) or @choreo.eventually(...)"
    if not isinstance(given, list | tuple):
        raise UsageError("invariants", f"expected a list of functions decorated with {decorated}, got {shown(given)}")
    for index, each in enumerate(given):
        if not isinstance(each, OwnInvariant):
            raise UsageError(
                f"invariants[{index}]", f"expected a function decorated with {decorated}, got {shown(each)}"
            )
        if each.title in [other.title for other in given[:index]]:
            raise UsageError(f"invariants[{index}]", f"expected titles that differ, got {each.title!r} twice")
    return tuple(given)


def _decorator(when: When, title: object) -> Callable[[Predicate], OwnInvariant]:
    if not isinstance(title, str) or not title.strip():
        raise TypeError(
            f'@choreo.{when}: expected a title, as in @choreo.{when}("no payment without an order"), got {shown(title)}'
        )

    def decorate(predicate: Predicate) -> OwnInvariant:
        if not callable(predicate):
            raise TypeError(f"@choreo.{when}({title!r}): expected a function of the state, got {shown(predicate)}")
        return OwnInvariant(when, title, predicate)

    return decorate

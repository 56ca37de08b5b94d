"""Steps as methods: `@step` makes a method a step of a service, and `@<name>.compensation` names what undoes it.

Laws: pure. One object may have several steps; each becomes a service of its own (`StepService`) that shares the object.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, overload

from choreo.saga.definition import Kind, Step
from choreo.saga.raised import shown
from choreo.saga.service import Refused

Method = Callable[[Any, Any], Any]
M = TypeVar("M", bound=Method)


class StepMethod:
    """A step of a class: the local transaction, its compensation, and its policy.

    On the class, `Payments.charge` is this object, which a saga's table takes; on an instance it is the plain method.
    """

    def __init__(self, execute: Method, name: str | None, policy: dict[str, Any]) -> None:
        self._execute = execute
        self._compensate: Method | None = None
        self._name = name or execute.__name__
        self._policy = policy
        self.__doc__ = execute.__doc__

    @property
    def step(self) -> Step:
        """The step with its policy. Raises `TypeError` for a key that a step does not have."""
        try:
            return Step(self._name, **self._policy)
        except TypeError as error:
            raise TypeError(f"@step of {self._name}: {error}") from None

    @property
    def name(self) -> str:
        """The name of the step."""
        return self._name

    def compensation(self, method: M) -> M:
        """Make a method the compensation of this step; it takes the call, whose `result` the step returned."""
        if self._compensate is not None:
            raise TypeError(f"@{self._name}.compensation: expected one compensation, got {shown(method)} as well")
        self._compensate = method
        return method

    def of(self, owner: object) -> "StepService":
        """Return the service of this step on an object."""
        compensate = _no_compensation if self._compensate is None else _overridden(owner, self._compensate)
        service = StepService(owner, self._name, self._execute.__get__(owner), compensate.__get__(owner))
        service.has_compensation = self._compensate is not None
        return service

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self._execute.__get__(instance)


class StepService:
    """Service of one step of an object; several share the object, `owner`, whose fields are the state."""

    def __init__(
        self, owner: object, name: str, execute: Callable[[Any], Any], compensate: Callable[[Any], Any]
    ) -> None:
        self.owner = owner
        self.name = name
        self.execute = execute
        self.compensate = compensate
        self.has_compensation = True


@overload
def step(method: Method, /) -> StepMethod: ...
@overload
def step(name: str | None = None, /, **policy: Any) -> Callable[[Method], StepMethod]: ...
def step(method: Any = None, /, **policy: Any) -> Any:
    """Make a method a step. The step has the method's name, or the one given; `policy` are keys of a step.

    `@step`, `@step("charge")`, `@step(attempts=3)`. docs/reference/definition.md explains the keys.
    """
    if method is None or isinstance(method, str):
        return lambda execute: StepMethod(execute, method, policy)
    if not callable(method):
        raise TypeError(f"@step: expected a method or a name, got {shown(method)}")
    return StepMethod(method, None, policy)


def step_methods_of(owner: object) -> list[StepMethod]:
    """Return the steps of an object's class, those of base classes first; an overriding one replaces the inherited."""
    found: dict[str, Any] = {}
    for kind in reversed(type(owner).__mro__):
        found.update(vars(kind))
    return [each for each in found.values() if isinstance(each, StepMethod)]


def owner_of(service: Any) -> Any:
    """Return the object that holds the state of a service: the one whose method it is, or the service itself."""
    return service.owner if isinstance(service, StepService) else service


def needs_compensation(kind: Kind) -> bool:
    """Return whether a step of that kind may have to be compensated."""
    return kind is Kind.COMPENSATABLE


def _overridden(owner: object, method: Method) -> Method:
    """Return the method of that name of the object's class, which may have overridden it."""
    found = getattr(type(owner), getattr(method, "__name__", ""), method)
    return found if isinstance(found, FunctionType) else method


def _no_compensation(owner: object, call: Any) -> None:
    raise Refused(f"{call.step} has no compensation")

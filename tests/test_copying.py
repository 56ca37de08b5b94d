"""Copies of what services hold: every history begins with its own, and what cannot be copied is told."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Report
from choreo.saga.definition import Step
from choreo.saga.service import NotSnapshotable, Refused
from tests.lab_sagas import saga


class Rebuilt:
    """Has a lock, which it leaves out of its copies and makes anew."""

    def __init__(self) -> None:
        self.free, self.lock = 1, threading.Lock()

    def __getstate__(self) -> tuple[int]:
        return (self.free,)

    def __setstate__(self, state: tuple[int]) -> None:
        self.free, self.lock = state[0], threading.Lock()

    def execute(self, reference: str) -> None:
        with self.lock:
            if not self.free:
                raise Refused("none is free")
            self.free -= 1

    def compensate(self, reference: str, receipt: object) -> None:
        with self.lock:
            self.free += 1


class Slotted:
    """Sets a slot when it is executed, and must not find it set."""

    __slots__ = ("used",)

    def execute(self, reference: str) -> None:
        if hasattr(self, "used"):
            raise Refused("used before")
        self.used = True

    def compensate(self, reference: str, receipt: object) -> None:
        del self.used


class Locked(Rebuilt):
    """Holds its lock to itself."""

    __getstate__ = object.__getstate__  # type: ignore[assignment]  # the one that copies everything


class Emptied:
    """Hands out a list, and takes the only seat out of it when it is undone."""

    def execute(self, reference: str) -> list[str]:
        return ["seat 1"]

    def compensate(self, reference: str, receipt: list[str]) -> None:
        receipt.pop()


class Unkept(Emptied):
    """Returns a receipt that cannot be copied."""

    def execute(self, reference: str) -> Any:
        return threading.Lock()


class Leaving(Emptied):
    """Exits the process when its state is read, once it has some."""

    used = False

    def execute(self, reference: str) -> list[str]:
        self.used = True
        return []

    def __getstate__(self) -> dict[str, Any]:
        if self.used:
            raise SystemExit(0)
        return {}


def explored(make: Callable[[], Any], fails: str = "always") -> Report:
    service = make()
    definition = saga(Step("a", service="mine"), Step("b", fails=fails))
    return Explorer(definition, "choreography", lambda name: service if name == "mine" else None).explore()


@pytest.mark.parametrize("make", [Rebuilt, Slotted, Emptied])
def test_every_branch_begins_with_its_own(make: Callable[[], Any]) -> None:
    """A branch of the search has no effects of other branches."""
    assert explored(make).outcomes.keys() == {"compensated"}
    assert explored(make, "never").outcomes.keys() == {"completed"}


def test_a_service_that_cannot_be_copied_is_named() -> None:
    """The error comes before the exploration."""
    with pytest.raises(
        NotSnapshotable,
        match=r"service Locked: expected what can be copied, got the field .*, a lock .TypeError.*__getstate__",
    ):
        explored(Locked)


def test_a_receipt_that_cannot_be_copied_is_told() -> None:
    """The call has taken effect and its answer is lost: a defect of the service, as in every runner."""
    report = explored(Unkept)

    assert {violation.code for violation in report.violations} == {"D1"}
    assert "the result of a: expected a value that JSON can keep" in report.violations[0].sentence


def test_a_service_that_leaves_when_it_is_copied_is_named() -> None:
    """No laboratory ends without a verdict because of it."""
    with pytest.raises(NotSnapshotable, match=r"service Leaving: expected .*, got SystemExit: 0"):
        explored(Leaving)

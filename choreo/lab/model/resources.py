"""The resource store: state that the services of all runs share. Resources with versions, locks and reads of each run.

Laws: the only shared state of the lab. Changes in one local transaction, all or nothing; a copy of it is a value.
Isolation is here and only here: the semantic lock, the order of locks, reread values and version checks (Richardson,
*Microservices Patterns*, chapter 4, after Frank and Zahle).
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from choreo.saga.definition import Resource, Step, Value
from choreo.saga.guarantees import Guarantees
from choreo.saga.service import Refused, ResourceLocked
from choreo.trace.vocabulary import LOCK, READ, RELEASE, WRITE

Copy = tuple[Any, ...]

Overwritten = tuple[tuple[str, Value, int], ...]
"""The overwritten data of a write: the name, the value before, and the version of the write."""


class Effect(Struct, frozen=True, gc=False):
    """An effect of a local transaction, for the trace."""

    action: str
    step: str
    position: int
    run: str
    reason: str | None = None
    resource: str | None = None
    value: Value | None = None
    delta: int | None = None
    version: int | None = None
    based_on: int | None = None
    in_doubt: bool = False
    """The answer is unknown: the call may have taken effect."""
    traceback: str | None = None


class ResourceStore:
    """Resources by name. `note` is called for every read, write, lock and release."""

    def __init__(
        self,
        resources: Mapping[str, Resource],
        guarantees: Guarantees,
        needs: Mapping[str, tuple[str, ...]],
        note: Callable[[Effect], None],
    ) -> None:
        """Make the store; `needs` are the locks that each run will take, by the run's id."""
        self.resources = resources
        self._guarantees = guarantees
        self._needs = needs
        self._note = note
        self.values: dict[str, Value] = {name: resource.initial for name, resource in resources.items()}
        self.versions = dict.fromkeys(resources, 0)
        self.locks: dict[str, str] = {}
        self.reads: dict[tuple[str, str], int] = {}
        self.tries: dict[tuple[str, str], int] = {}
        self.ended: dict[str, None] = {}
        """The runs with an outcome: later actions of theirs, after a dead letter, take no locks."""

    def copy(self) -> Copy:
        """Return the whole state, as a value."""
        return (
            tuple(self.values.values()),
            tuple(self.versions.values()),
            tuple(sorted(self.locks.items())),
            tuple(sorted(self.reads.items())),
            tuple(sorted(self.tries.items())),
            tuple(sorted(self.ended)),
        )

    def restore(self, copy: Copy) -> None:
        values, versions, locks, reads, tries, ended = copy
        self.values = dict(zip(self.values, values, strict=True))
        self.versions = dict(zip(self.versions, versions, strict=True))
        self.locks, self.reads, self.tries = dict(locks), dict(reads), dict(tries)
        self.ended = dict.fromkeys(ended)

    def execute(self, step: Step, run: str, position: int) -> Overwritten:
        """Execute a step: take its locks, and apply its reads, writes and additions.

        Returns the overwritten values, with the versions of the new ones. Raises `Refused` or `ResourceLocked`; then no
        data has changed.
        """
        for name in self.check(step, run):
            self.locks[name] = run
            self._note(Effect(LOCK, step.name, position, run, resource=name))
        for name in step.reads:
            self.reads[run, name] = version = self.versions[name]
            self._note(Effect(READ, step.name, position, run, None, name, self.values[name], None, version))
        overwritten = []
        for name, value in step.writes.items():
            based_on = self.reads.get((run, name), self.versions[name])
            overwritten.append((name, self.values[name], self.versions[name] + 1))
            self._change(step, run, position, name, value, None, based_on)
        for name, delta in step.effect.items():
            self._add(step, run, position, name, delta)
        return tuple(overwritten)

    def check(self, step: Step, run: str) -> list[str]:
        """Return the locks to take if the step is possible now. Raises `Refused` or `ResourceLocked` if it is not."""
        taken = self._locks_to_take(step, run)
        self._check_reads(step, run)
        self._check_writes(step, run)
        self._check_minima(step)
        return taken

    def compensate(self, step: Step, run: str, position: int, overwritten: Overwritten) -> None:
        """Subtract the additions of a step, restore the overwritten values, release the step's locks."""
        for name, delta in step.effect.items():
            self._add(step, run, position, name, -delta)
        for name, value, version in overwritten:
            if self.versions[name] == version or not self._guarantees.version_check:
                self._change(step, run, position, name, value, None, version)
        self.release(run, step.locks, step.name, position)

    def release(self, run: str, names: "tuple[str, ...] | None" = None, step: str = "", position: int = -1) -> None:
        """Release the locks of a run: on these resources, or on all."""
        for name in [name for name, owner in self.locks.items() if owner == run and (names is None or name in names)]:
            del self.locks[name]
            self._note(Effect(RELEASE, step, position, run, resource=name))

    def end(self, run: str) -> None:
        """Release all locks of a run that has its outcome."""
        if self.resources:
            self.ended[run] = None
            self.release(run)

    def count(self, reference: str, what: str) -> int:
        """Count the tries of a call; return the number of this one."""
        self.tries[reference, what] = number = self.tries.get((reference, what), 0) + 1
        return number

    def _locks_to_take(self, step: Step, run: str) -> list[str]:
        guarantees = self._guarantees
        if not guarantees.semantic_lock:
            return []
        wanted = list(step.locks)
        if guarantees.lock_order and wanted:  # and first the earlier ones in lock order that this run will need as well
            wanted = [name for name in sorted(self._needs[run]) if name <= max(wanted)]
        for name in (*wanted, *step.effect, *step.reads, *step.writes):
            owner = self.locks.get(name, run)
            if owner != run:
                if self.resources[name].on_lock == "wait":
                    raise ResourceLocked(name)
                raise Refused(f"{name} is locked by {owner}")
        return [name for name in wanted if name not in self.locks and run not in self.ended]

    def _check_reads(self, step: Step, run: str) -> None:
        for name in step.reads:
            if self._guarantees.reread and self.reads.get((run, name), self.versions[name]) != self.versions[name]:
                raise Refused(f"{name} has changed since it was read")

    def _check_writes(self, step: Step, run: str) -> None:
        for name in step.writes:
            if (
                self._guarantees.version_check
                and self.reads.get((run, name), self.versions[name]) != self.versions[name]
            ):
                raise Refused(f"{name} was changed by another run since it was read")

    def _check_minima(self, step: Step) -> None:
        for name, delta in step.effect.items():
            value, minimum = self.values[name], self.resources[name].minimum
            if minimum is not None and isinstance(value, int) and value + delta < minimum:
                raise Refused(f"{name} is {value}, and {-delta} more would leave less than {minimum}")

    def _add(self, step: Step, run: str, position: int, name: str, delta: int) -> None:
        value = self.values[name]
        if not isinstance(value, int):
            raise TypeError(f"{name}: expected a number to add {delta} to, got {value!r}")
        self._change(step, run, position, name, value + delta, delta, self.versions[name])

    def _change(
        self, step: Step, run: str, position: int, name: str, value: Value, delta: int | None, based_on: int
    ) -> None:
        self.values[name] = value
        self.versions[name] = version = self.versions[name] + 1
        if self.reads.get((run, name)) == version - 1:  # a run knows its own changes
            self.reads[run, name] = version
        self._note(Effect(WRITE, step.name, position, run, None, name, value, delta, version, based_on))

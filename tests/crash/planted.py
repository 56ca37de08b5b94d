"""Bugs to plant in the durable node, each as a patch; as a module of services, a node that has one of them.

Laws: a bug changes one thing. The first kind disables a guarantee; the second kind is a plausible coding mistake.
"""

import os
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from choreo.runtime.durable import rounds
from choreo.runtime.durable.runner import DurableRunner
from choreo.saga.guarantees import ALL_ON
from choreo.saga.service import ServiceOf
from choreo.storage.replay import Replayer
from choreo.storage.service_records import ServiceRecords
from choreo.storage.sqlite.journal import Journal
from choreo.storage.sqlite.opening import connect
from tests.crash import services
from tests.crash.siege import PLANTED

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]

HONEST = sqlite3.Connection
NO_ROWS: Any = ([], [], [], [])

BUGS: dict[str, Bug] = {}


def bug(plant: Bug) -> Bug:
    BUGS[plant.__name__.replace("_", " ")] = plant
    return plant


def without(patch: Patch, guarantee: str) -> None:
    """Disable a guarantee for every runner created from now on."""
    made = DurableRunner.__init__

    def make(self: DurableRunner, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **{**options, "guarantees": replace(ALL_ON, **{guarantee: False})})

    patch.setattr(DurableRunner, "__init__", make)


@bug
def without_outbox(patch: Patch) -> None:
    without(patch, "outbox")


@bug
def without_redelivery(patch: Patch) -> None:
    without(patch, "redelivery")


@bug
def without_idempotent_request(patch: Patch) -> None:
    without(patch, "idempotent_request")


@bug
def without_recorded_outcome(patch: Patch) -> None:
    without(patch, "recorded_outcome")


def commits(patch: Patch, change: Callable[..., None]) -> None:
    """Make each commit call `change` first, with the original commit, the journal, and the four kinds of rows."""
    original = Journal.commit
    patch.setattr(Journal, "commit", lambda self, *rows: change(original, self, *map(list, rows)))


@bug
def what_the_services_hold_is_not_written(patch: Patch) -> None:
    patch.setattr(ServiceRecords, "changed", lambda self: [])


@bug
def what_the_services_hold_is_written_one_transaction_late(patch: Patch) -> None:
    def change(commit: Any, journal: Journal, begun: Any, handled: Any, ended: Any, records: Any) -> None:
        commit(journal, begun, handled, ended, [])
        commit(journal, [], [], [], records)

    commits(patch, change)


@bug
def what_the_services_hold_is_written_one_transaction_early(patch: Patch) -> None:
    def change(commit: Any, journal: Journal, begun: Any, handled: Any, ended: Any, records: Any) -> None:
        commit(journal, [], [], [], records)
        commit(journal, begun, handled, ended, [])

    commits(patch, change)


@bug
def the_inbox_is_not_written(patch: Patch) -> None:
    commits(patch, lambda commit, journal, begun, handled, ended, records: commit(journal, begun, [], ended, records))


@bug
def the_last_row_of_a_transaction_is_not_written(patch: Patch) -> None:
    commits(patch, lambda commit, journal, begun, handled, *rest: commit(journal, begun, handled[:-1], *rest))


@bug
def the_outcome_is_not_written(patch: Patch) -> None:
    commits(patch, lambda commit, journal, begun, handled, ended, records: commit(journal, begun, handled, [], records))


@bug
def the_outcome_is_written_one_transaction_early(patch: Patch) -> None:
    def change(commit: Any, journal: Journal, begun: Any, handled: Any, ended: Any, records: Any) -> None:
        commit(journal, begun, [], ended, [])
        commit(journal, [], handled, [], records)

    commits(patch, change)


@bug
def everything_is_written_one_transaction_late(patch: Patch) -> None:
    """A reply is sent before its transaction is durable."""
    late: dict[Journal, Any] = {}
    close = Journal.close

    def change(commit: Any, journal: Journal, *rows: Any) -> None:
        if any(rows):
            commit(journal, *late.pop(journal, NO_ROWS))
            late[journal] = rows

    def write_and_close(journal: Journal) -> None:
        commit(journal, *late.pop(journal, NO_ROWS))
        close(journal)

    commit = Journal.commit
    commits(patch, change)
    patch.setattr(Journal, "close", write_and_close)


@bug
def every_statement_is_a_transaction(patch: Patch) -> None:
    class Hasty(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute("SELECT 1" if sql in ("BEGIN IMMEDIATE", "COMMIT") else sql, *values)

    def open_hastily(path: str, factory: type[sqlite3.Connection] = sqlite3.Connection) -> Journal:
        return Journal(path, connect(path, type("Mixed", (Hasty, factory), {}) if factory is not HONEST else Hasty))

    patch.setattr(Journal, "open", open_hastily)


@bug
def receipts_are_not_kept(patch: Patch) -> None:
    patch.setattr(rounds, "keep", lambda value, what: None)


@bug
def everything_is_delivered_again(patch: Patch) -> None:
    """Recovery delivers a run from its first event, as if no event had been handled."""
    original = Replayer.replay
    patch.setattr(Replayer, "replay", lambda self, row, deliveries: original(self, row, ()))


@bug
def the_last_delivery_is_made_again(patch: Patch) -> None:
    original = Replayer.replay
    patch.setattr(Replayer, "replay", lambda self, row, deliveries: original(self, row, list(deliveries)[:-1]))


@bug
def numbers_of_runs_begin_again(patch: Patch) -> None:
    patch.setattr(Journal, "last_run", lambda self: 0)


@bug
def origins_are_not_written(patch: Patch) -> None:
    """A resumed run uses other idempotency keys than it began with."""
    patch.setattr(Journal, "keep_origin", lambda self, first_run, origin: None)


def catalogue() -> ServiceOf:
    """Return the services of the siege, in a node that has the bug."""
    if (name := os.environ.get(PLANTED)) is not None:
        BUGS[name](pytest.MonkeyPatch())
    return services.catalogue()

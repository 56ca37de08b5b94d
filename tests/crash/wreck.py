"""State after a crash: the journal as the next node finds it, and the activity of the node when it died.

Laws: only a copy of the journal is opened, so that the next node finds the original untouched.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tests.crash.client import Ask
from tests.crash.files import files_of, put_back


class Where(StrEnum):
    """Activity at the moment of a crash, as the journal shows it."""

    BEFORE_BEGIN = "requests sent, not on disk"
    BEGUN = "runs begun, no service called"
    MIDDLE = "in the middle of runs"
    RECOVERY_FIRST = "in recovery, before its first commit"
    RECOVERY = "in recovery, midway"
    UNTOLD = "all ended, replies unheard"
    IDLE = "everything answered: idle, or ending"


class Seen(NamedTuple):
    """Content of a copy of the journal: unfinished runs with the number of their deliveries, and all outcomes.

    A run among the `suspects` was in a call when a node died; it may end after all others.
    """

    unfinished: dict[int, int]
    message_of: dict[int, int]
    ended: dict[str, str]
    begun: set[str]
    damage: list[str]
    suspects: set[int]

    @property
    def standing(self) -> tuple[int, int]:
        """Return the number of unfinished runs, and of their handled deliveries."""
        return len(self.unfinished), sum(self.unfinished.values())


def where(asks: Sequence[Ask], unheard: Sequence[Ask], before: Seen, after: Seen) -> Where:
    """Classify the activity of a node at its death, from its requests, its unanswered requests, and the journal before
    and after.
    """
    old = before.unfinished.keys() & after.unfinished.keys()
    if old:
        has_begun = (
            any(before.unfinished[run] != after.unfinished[run] for run in old) or old != before.unfinished.keys()
        )
        return Where.RECOVERY if has_begun else Where.RECOVERY_FIRST
    if after.unfinished:
        return Where.MIDDLE if max(after.unfinished.values()) > 1 else Where.BEGUN
    if any(json.dumps(ask.saga.saga_id) not in after.begun for ask in asks):
        return Where.BEFORE_BEGIN
    return Where.UNTOLD if unheard else Where.IDLE


def look(journal: Path, copy: Path) -> Seen:
    """Read a copy of the journal; the journal itself stays untouched for the next node."""
    put_back(copy, files_of(journal))
    with closing(sqlite3.connect(copy)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'").fetchone()[0]:
            return NOTHING_SEEN
        damage = [told for (told,) in connection.execute("PRAGMA quick_check") if told != "ok"]
        damage += [f"{saga_id} has {runs} runs" for saga_id, runs in connection.execute(TWICE)]
        rows = list(connection.execute(RUNS))
        suspects = {run for (run,) in connection.execute("SELECT run FROM deadly_calls")}
    running = [row for row in rows if row[2] == "running"]
    return Seen(
        {run: deliveries for run, _, _, _, deliveries in running},
        {run: int(msg_id) for run, _, _, msg_id, _ in running},
        {saga_id: state for _, saga_id, state, _, _ in rows if state != "running"},
        {saga_id for _, saga_id, _, _, _ in rows},
        damage,
        suspects,
    )


RUNS = """SELECT run, saga_id, state, msg_id,
CASE state WHEN 'running' THEN (SELECT count(*) FROM deliveries WHERE deliveries.run = runs.run) END FROM runs"""

TWICE = "SELECT saga_id, count(*) FROM runs GROUP BY saga_id HAVING count(*) > 1"

NOTHING_SEEN = Seen({}, {}, {}, set(), [], set())

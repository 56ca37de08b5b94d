"""What a death leaves behind: the journal as the next node will find it, and what the dead one was at.

Laws: the journal is looked at only as a copy, so that the next node finds it untouched.
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
    """What the journal shows of the moment of a death."""

    BEFORE_BEGIN = "requests sent, not on disk"
    BEGUN = "runs begun, no service called"
    MIDDLE = "in the middle of runs"
    RECOVERY_FIRST = "in recovery, before its first commit"
    RECOVERY = "in recovery, midway"
    UNTOLD = "all ended, replies unheard"
    IDLE = "everything answered: idle, or ending"


class Seen(NamedTuple):
    """What a copy of the journal shows: unfinished runs with the number of their deliveries, and all outcomes.

    A node that died in a call of one of the `suspects` may bring it to its end after all others.
    """

    unfinished: dict[int, int]
    message_of: dict[int, int]
    ended: dict[str, str]
    begun: set[str]
    damage: list[str]
    suspects: set[int]

    @property
    def standing(self) -> tuple[int, int]:
        """How many runs are unfinished, and how many deliveries of theirs were handled."""
        return len(self.unfinished), sum(self.unfinished.values())


def where(asks: Sequence[Ask], unheard: Sequence[Ask], before: Seen, after: Seen) -> Where:
    """Of a node that was asked for this, and left so much unanswered: what it was at when it died."""
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
    """What a copy of the journal shows; the next node finds the journal itself untouched."""
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

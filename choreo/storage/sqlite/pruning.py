"""Pruning of a journal: deletes runs that ended long ago.

Laws: unfinished and stuck runs stay, and so does the newest run, which reserves the next number.
"""

from choreo.storage.sqlite.journal import Journal

PRUNABLE = (
    "SELECT run FROM runs WHERE state IN ('completed', 'compensated') AND ended_ms < ? AND run > ? "
    "AND run < (SELECT max(run) FROM runs) ORDER BY run LIMIT ?"
)
PRUNABLE_COUNT = (
    "SELECT count(*) FROM runs WHERE state IN ('completed', 'compensated') AND ended_ms < ?1 "
    "AND run < (SELECT max(run) FROM runs)"
)
KEPT_COUNT = "SELECT count(*) FROM runs WHERE state IN ('running', 'stuck') AND begun_ms < ?"
UNUSED_ORIGINS = (
    "DELETE FROM origins WHERE first_run < "
    "(SELECT max(first_run) FROM origins WHERE first_run <= (SELECT min(run) FROM runs))"
)
UNUSED_SAGAS = "DELETE FROM sagas WHERE digest NOT IN (SELECT saga FROM runs WHERE saga IS NOT NULL)"


def prune(journal: Journal, before_ms: int, after: int = 0, limit: int = 1000) -> tuple[int, int]:
    """Delete up to `limit` runs, numbered above `after`, that completed or were compensated before then.

    Returns the number of deleted runs, and the number of the last one (0: there are no more). Unfinished and stuck
    runs stay, and so does the newest run, which reserves the next number. The freed space is reused.
    """
    pruned = [run for (run,) in journal.select(PRUNABLE, (before_ms, after, limit))]
    with journal.transaction():
        for table in ("deliveries", "resumptions", "held", "deadly_calls", "runs"):
            journal.change(f"DELETE FROM {table} WHERE run = ?", [(run,) for run in pruned])
        journal.change(UNUSED_ORIGINS, [()])
        journal.change(UNUSED_SAGAS, [()])
    return len(pruned), pruned[-1] if pruned else 0


def prunable(journal: Journal, before_ms: int) -> tuple[int, int]:
    """Count the runs that ended before then and can be deleted, and the runs begun before then that cannot."""
    ((prunable,),), ((kept,),) = journal.select(PRUNABLE_COUNT, (before_ms,)), journal.select(KEPT_COUNT, (before_ms,))
    return int(prunable), int(kept)

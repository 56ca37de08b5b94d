"""Checks of a journal as a whole: what SQLite finds, deliveries without a run, and cells that no node writes.

Laws: reads only; the number of findings is bounded.
"""

from choreo.storage import cells
from choreo.storage.sqlite.journal import Journal

STRAYS = "SELECT DISTINCT run FROM deliveries WHERE run NOT IN (SELECT run FROM runs) ORDER BY run LIMIT ?"
ROWS_JUDGED_MAX = 10_000


def damage(journal: Journal, limit: int = 100) -> list[str]:
    """Return the errors of SQLite's integrity check; empty if the file is sound."""
    found = [str(text) for (text,) in journal.select(f"PRAGMA integrity_check({int(limit)})")]
    return [] if found == ["ok"] else found


def strays(journal: Journal, limit: int = 100) -> list[int | str]:
    """Return the numbers of missing runs that have deliveries; a value that is not a number is returned as text."""
    return [run if run.__class__ is int else cells.shown(run) for (run,) in journal.select(STRAYS, (limit,))]


def wrong_cells(journal: Journal, limit: int = 100) -> list[str]:
    """Return a sentence for each row with an illegal cell, in the tables beside runs and deliveries."""
    below = journal.select("SELECT run FROM runs WHERE run < 1 LIMIT ?", (limit,))
    found = [f"runs, row {run}: run: expected a number above 0" for (run,) in below]
    for table in cells.BESIDE:
        columns = ", ".join(cells.CELLS[table])
        for row in journal.select(f"SELECT {columns} FROM {table} ORDER BY 1 LIMIT {ROWS_JUDGED_MAX}"):
            wrong = "; ".join(cells.wrong_cells(table, row))
            if wrong and len(found) < limit:
                found.append(f"{table}, row {cells.shown(row[0])}: {wrong}")
    return found

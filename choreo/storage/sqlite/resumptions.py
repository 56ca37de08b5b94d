"""The table of the requests of operators, which reach the node through the journal.

Laws: all SQL about this table stands here.
"""

from choreo.storage.sqlite.journal import Journal

ASK = "INSERT INTO resumptions (run, asked_ms) VALUES (?, ?) RETURNING number"
ASKED = "SELECT number, run FROM resumptions WHERE done_ms IS NULL ORDER BY number"
ANSWER = "UPDATE resumptions SET done_ms = ?, failure = ? WHERE number = ?"
ANSWER_ALL = "UPDATE resumptions SET done_ms = ?, failure = ? WHERE run = ? AND done_ms IS NULL"
ANSWERED = "SELECT done_ms, failure FROM resumptions WHERE number = ?"


def ask_to_resume(journal: Journal, run: int, at_ms: int) -> int:
    """Ask the node to resume a run; return the number of the question."""
    with journal.transaction():
        (row,) = journal.select(ASK, (run, at_ms))
    return int(row[0])


def asked_to_resume(journal: Journal) -> list[tuple[int, int]]:
    """Return the open questions, each with the number of its run."""
    return [(number, run if run.__class__ is int else 0) for number, run in journal.select(ASKED)]


def answer(journal: Journal, question: int, at_ms: int, failure: str | None = None) -> None:
    """Answer a question: the run is idle again, or the reason why it could not be resumed."""
    with journal.transaction():
        text = None if failure is None else failure.encode("utf-8", "backslashreplace").decode()
        journal.change(ANSWER, [(at_ms, text, question)])


def answered(journal: Journal, question: int) -> tuple[bool, str | None]:
    """Return whether a question was answered, and the failure if there was one."""
    found = journal.select(ANSWERED, (question,))
    return (bool(found and found[0][0] is not None), found[0][1] if found else None)


def answer_all(journal: Journal, run: int, at_ms: int, failure: str) -> None:
    """Answer every open question of an operator about that run."""
    journal.change(ANSWER_ALL, [(at_ms, failure.encode("utf-8", "backslashreplace").decode(), run)])

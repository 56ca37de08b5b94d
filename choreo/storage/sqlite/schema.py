"""The tables of the journal, and the migrations of files of older versions.

Laws: a migration only goes forward, in one transaction, and never changes after its release: a further change is a
further migration. docs/reference/journal.md explains every column.
"""

APPLICATION_ID = 0x63686F72
"""`chor`: marks a SQLite file as a journal (https://sqlite.org/pragma.html#pragma_application_id)."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
  run INTEGER PRIMARY KEY,
  saga_id TEXT NOT NULL,
  src TEXT,
  msg_id TEXT,
  reply_as TEXT,
  style TEXT NOT NULL,
  steps TEXT NOT NULL,
  fail_step TEXT,
  fail_compensation TEXT,
  begun_ms INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'running',
  ended_ms INTEGER,
  outcome TEXT,
  resolution TEXT
)""",
        "CREATE INDEX runs_of_saga ON runs (saga_id)",
        "CREATE INDEX runs_unfinished ON runs (run) WHERE state = 'running'",
        "CREATE INDEX runs_stuck ON runs (run) WHERE state = 'stuck'",
        """CREATE TABLE deliveries (
  run INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  seat INTEGER NOT NULL,
  heard TEXT NOT NULL,
  published TEXT NOT NULL,
  detail TEXT,
  receipt,
  PRIMARY KEY (run, number)
) WITHOUT ROWID""",
        "CREATE TABLE services (name TEXT PRIMARY KEY, kind TEXT NOT NULL, records NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE resumptions (
  number INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  asked_ms INTEGER NOT NULL,
  done_ms INTEGER,
  failure TEXT
)""",
        "CREATE INDEX resumptions_asked ON resumptions (number) WHERE done_ms IS NULL",
    ),
    ("CREATE TABLE catalogue (module TEXT NOT NULL)",),
    ("CREATE TABLE origins (first_run INTEGER PRIMARY KEY, origin TEXT NOT NULL)",),
    (
        """CREATE TABLE served (
  step TEXT NOT NULL,
  run INTEGER NOT NULL,
  kind TEXT,
  PRIMARY KEY (step, run)
) WITHOUT ROWID""",
        "CREATE TABLE held (run INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, step TEXT, reason TEXT NOT NULL)",
        """CREATE TABLE deadly_calls (
  run INTEGER NOT NULL,
  seat INTEGER NOT NULL,
  call TEXT NOT NULL,
  deaths INTEGER NOT NULL,
  PRIMARY KEY (run, seat)
) WITHOUT ROWID""",
    ),
    (
        """UPDATE deliveries SET receipt = '{"$float":"nan"}' WHERE receipt = 'NaN'""",
        """UPDATE deliveries SET receipt = '{"$float":"inf"}' WHERE receipt = 'Infinity'""",
        """UPDATE deliveries SET receipt = '{"$float":"-inf"}' WHERE receipt = '-Infinity'""",
    ),
    (
        "CREATE TABLE sagas (digest TEXT PRIMARY KEY, definition TEXT NOT NULL) WITHOUT ROWID",
        "ALTER TABLE runs ADD COLUMN saga TEXT",
        "ALTER TABLE runs ADD COLUMN input TEXT",
    ),
)
"""Migrations: the first makes version 1 from an empty file, the second makes version 2 from version 1, and so on."""

VERSION = len(MIGRATIONS)
"""The version that this choreo writes, and the newest that it reads."""

FIRST_WITHOUT_PICKLES = 6
"""Older versions hold pickles; `unpickling.py` writes them as JSON, after the statements of the migrations."""

"""The journal: what a durable node has promised, in one SQLite file. Owner of sqlite3."""

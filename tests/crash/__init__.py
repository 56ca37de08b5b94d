"""Evidence for the durable node: it is killed again and again, and what it has promised is held against its journal."""

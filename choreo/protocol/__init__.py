"""Protocol of the participants: pure functions from (cell, event) to (next cell, events to publish)."""

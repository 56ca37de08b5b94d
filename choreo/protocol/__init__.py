"""How participants react to events: pure functions from cell and event to the next cell and the events to publish."""

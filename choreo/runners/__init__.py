"""choreo."""

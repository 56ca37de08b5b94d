"""Every state that a definition can reach, breadth first."""

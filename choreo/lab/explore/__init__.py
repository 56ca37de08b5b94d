"""The explorer: every reachable state of a definition, breadth first."""

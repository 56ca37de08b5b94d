"""Runners: they decide which delivery is next, and when."""

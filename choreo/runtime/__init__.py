"""Runners: who decides which delivery is next, and when."""

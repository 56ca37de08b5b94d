"""Analyses of a trace: the sequence of events, causes, a summary of a run, the next events. Runs no service."""

"""What a trace tells: the sequence of events, causes, a summary of a run, the next events. Runs nothing."""

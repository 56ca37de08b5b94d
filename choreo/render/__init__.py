"""Sequence diagrams and all other output drawn with Rich, for every face."""

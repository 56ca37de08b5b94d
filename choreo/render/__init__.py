"""Sequence diagrams and everything else that is drawn with Rich, for every face."""

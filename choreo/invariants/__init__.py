"""Invariants over trace records: the definition of a correct execution."""

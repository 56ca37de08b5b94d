"""Seeded random histories in virtual time, with faults."""

"""Structured traces: written by structlog, which belongs to this package, and read back as plain records."""

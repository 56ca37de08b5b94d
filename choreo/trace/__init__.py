"""Structured traces: written by structlog, which only this package imports, and read back as plain records."""

"""Structured traces: written by structlog, read back as plain records."""

"""The world of the laboratory: runs, shared resources, and services under test."""

"""Crash tests of the durable node: it is killed again and again, and its promises are checked against its journal."""

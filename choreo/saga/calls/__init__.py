"""Calls of services: their forms, their check, and how they are found by the names of steps."""

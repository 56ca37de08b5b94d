"""Saga of a saga: steps, plan, guarantees, outcome, and the service that an author writes. Pure."""

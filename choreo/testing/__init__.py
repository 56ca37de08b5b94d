"""Tests of sagas with pytest: stories with `given`, and the fixture `choreo` of the plugin."""

from choreo.testing.given import Given, given

__all__ = ["Given", "given"]

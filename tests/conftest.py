"""Order of the tests, and the profile of Hypothesis."""

import pytest
from hypothesis import settings

settings.register_profile("choreo", deadline=None)  # a busy machine is no failure
settings.load_profile("choreo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests first, so that all workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)

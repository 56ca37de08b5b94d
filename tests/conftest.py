"""Order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests first, so that all workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)

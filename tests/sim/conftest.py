"""These tests compute and do not wait: they are limited by processor time."""

from __future__ import annotations

import pytest

from tests.support.work_limit import processor_time_limit, without_wall_time_limit

__all__ = ["processor_time_limit"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They have no limit of wall time."""
    without_wall_time_limit(items, "sim")

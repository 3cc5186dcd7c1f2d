"""Searches of a test's own, with real drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.driver_support import Make, Search


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes searches; none outlives the test."""
    made: list[Search] = []

    def new(**options: object) -> Search:
        made.append(Search(tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for search in made:
        search.close()

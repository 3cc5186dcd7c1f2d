"""What the tests of the timeline and of the cost ledger begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.storage.layout import ExperimentPaths
from tests.support.cli_support import Maker


@pytest.fixture
def empty(tmp_path: Path) -> ExperimentPaths:
    """An experiment of which nothing has happened."""
    maker = Maker(tmp_path / "exp")
    for segment in (tmp_path / "exp" / "journal").glob("*"):
        segment.unlink()
    return ExperimentPaths(maker.root)

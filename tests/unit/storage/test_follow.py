"""A follower of a journal reads each event once, over segments and incomplete lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.storage import journal
from hpctune.storage.follow import JournalFollower
from hpctune.storage.journal import Journal


def _append(writer: Journal, *seconds: float) -> None:
    writer.append([[e.Recorded(1.0, e.BudgetUsed(each))] for each in seconds])


def _seconds(follower: JournalFollower) -> list[float]:
    return [recorded.event.seconds for recorded in follower.new() if isinstance(recorded.event, e.BudgetUsed)]


def test_each_event_is_read_once_and_over_segments(tmp_path: Path) -> None:
    follower = JournalFollower(tmp_path / "journal")
    assert _seconds(follower) == []
    first = Journal(tmp_path / "journal")
    _append(first, 1, 2)
    assert _seconds(follower) == [1, 2]
    _append(first, 3)
    second = Journal(tmp_path / "journal")
    _append(first, 99)  # a driver that was replaced
    _append(second, 4)
    assert _seconds(follower) == [3, 4]
    assert _seconds(follower) == []
    assert [r.event.seconds for r in journal.read(tmp_path / "journal")] == [1, 2, 3, 4]  # type: ignore[union-attr]


def test_an_incomplete_line_waits_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    writer = Journal(tmp_path / "journal")
    _append(writer, 1)
    follower = JournalFollower(tmp_path / "journal")
    text = writer.path.read_bytes()
    writer.path.write_bytes(text[:-5])
    assert _seconds(follower) == []
    writer.path.write_bytes(text)
    assert _seconds(follower) == [1]
    with writer.path.open("ab") as file:
        file.write(b"{damaged\n")
    with pytest.raises(StorageError, match="Cannot read"):
        _seconds(follower)

"""Files of which the last whole line counts: what is cut off is not there, and whatever is strange is made anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpctune.errors import StorageError
from hpctune.storage import last_line as lastline
from hpctune.storage.last_line import LastLine, last_line


def test_the_last_whole_line_counts() -> None:
    assert last_line(b"") == b""
    assert last_line(b"one") == b"one"
    assert last_line(b"one\n") == b"one"
    assert last_line(b"one\ntwo\n") == b"two"
    assert last_line(b"one\ntwo\nthr") == b"two"


def test_what_is_new_is_appended_until_the_file_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastline, "LARGEST", 10)
    path = tmp_path / "file"
    file = LastLine(path)
    seen = []
    for number in range(5):
        file.publish(f"line {number}")
        seen.append(path.read_text())
    assert seen == ["line 0\n", "line 0\nline 1\n", "line 2\n", "line 2\nline 3\n", "line 4\n"]


@pytest.mark.parametrize("strange", ["one\ntw", "one\nanother\n", "", None])
def test_a_file_that_is_not_as_it_was_left_is_made_anew(tmp_path: Path, strange: str | None) -> None:
    path = tmp_path / "file"
    file = LastLine(path)
    file.publish("one")
    path.unlink() if strange is None else path.write_text(strange)
    file.publish("three")
    assert path.read_text() == "three\n"


def test_another_writer_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    LastLine(path).publish("one")
    LastLine(path).publish("two")
    assert path.read_text() == "two\n"


def test_what_a_full_disk_cuts_off_is_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    file = LastLine(path)
    file.publish("one")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(StorageError, match="No space"):
            file.publish("three")
    assert last_line(path.read_bytes()) == b"one"
    file.publish("three")
    assert path.read_text() == "three\n"

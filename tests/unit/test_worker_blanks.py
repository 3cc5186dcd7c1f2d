"""Empty output files that serve one trial after the other: never two at a time, and never one that was written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpctune.storage.layout import WorkerPaths
from hpctune.storage.poolfiles import remove_blanks
from hpctune.worker import pool_blanks
from hpctune.worker.pool_blanks import Blanks


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    (tmp_path / "worker").mkdir()
    return tmp_path / "worker"


def test_a_file_that_nobody_wrote_to_serves_the_next(tmp_path: Path, worker: Path) -> None:
    blanks = Blanks(worker, 0)
    inodes = []
    for number in range(3):
        path = tmp_path / f"out{number}"
        blanks.lend([str(path)])
        inodes.append(path.stat().st_ino)
        path.unlink()  # as the driver does when the trial is over
    assert len(set(inodes)) == 1


def test_a_file_that_still_has_its_name_does_not(tmp_path: Path, worker: Path) -> None:
    blanks = Blanks(worker, 0)
    paths = [tmp_path / name for name in "abcdef"]
    blanks.lend(map(str, paths))
    assert len({path.stat().st_ino for path in paths}) == len(paths)


def test_what_was_written_stays_with_its_trial(tmp_path: Path, worker: Path) -> None:
    blanks = Blanks(worker, 0)
    first, second = tmp_path / "first", tmp_path / "second"
    blanks.lend([str(first)])
    first.write_text("said")
    blanks.lend([str(second)])
    assert (first.read_text(), second.read_text()) == ("said", "")
    assert first.stat().st_nlink == 1
    remove_blanks(WorkerPaths(worker))
    assert (first.read_text(), second.read_text(), list(worker.iterdir())) == ("said", "", [])


def test_files_that_are_there_and_places_that_are_not_are_left_alone(tmp_path: Path, worker: Path) -> None:
    there = tmp_path / "there"
    there.write_text("earlier")
    Blanks(worker, 0).lend([str(there), str(tmp_path / "no" / "directory"), os.devnull])
    assert there.read_text() == "earlier"
    assert not (tmp_path / "no").exists()


def test_no_more_than_so_many_are_kept(tmp_path: Path, worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_blanks, "MOST", 5)
    blanks = Blanks(worker, 0)
    for number in range(40):
        blanks.lend([str(tmp_path / f"out{number}")])
    assert len(list(worker.iterdir())) < 10
    assert len(list(tmp_path.glob("out*"))) == 40


def test_without_links_trials_make_their_own_files(
    tmp_path: Path, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    blanks = Blanks(worker, 0)
    for number in range(20):
        blanks.lend([str(tmp_path / f"out{number}")])
    assert not list(tmp_path.glob("out*"))
    assert len(list(worker.iterdir())) == 1

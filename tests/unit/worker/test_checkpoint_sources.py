"""Checkpoints that are made of unusual directories: the working directory, one that grows, one with odd files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.errors import CheckpointError
from hpctune.model.records import Outcome
from hpctune.storage import checkpoints
from hpctune.storage.tree_copy import LINK_BYTES
from tests.support.worker_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    (made.paths.root / "experiment.json").touch()
    return made


def saved(lab: Lab, attempt: int = 1) -> list[Path]:
    """The checkpoints that the results of an attempt name."""
    return [lab.trial.checkpoint(result.checkpoint) for result in lab.results(attempt) if result.checkpoint]


@pytest.mark.parametrize("here", [".", "..", "{trial}"])
def test_the_working_directory_as_a_checkpoint(lab: Lab, here: str, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: dict[str, Any]) -> None:
        source = here.format(trial=hpctune.get_trial_dir())
        for step in range(9):
            Path("model").write_text(f"{step}")
            hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint.from_directory(source))

    lab.run(train)
    inside = "trial" if here == ".." else "."
    contents = [{str(p.relative_to(c)) for p in c.rglob("*")} for c in saved(lab)]
    expected = {".hpctune.json", "model"} if inside == "." else {".hpctune.json", "trial", "trial/model"}
    assert contents == [expected] * 9
    assert [(c / inside / "model").read_text() for c in saved(lab)] == [str(step) for step in range(9)]
    told = capfd.readouterr().err
    assert told.count("contains files that hpctune writes; they are left out") == 1
    assert "tempfile.TemporaryDirectory()" in told
    assert "grow" not in told


def test_a_directory_that_grows_is_told_once(lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(8):
            Path(tmp_path, "all").mkdir(exist_ok=True)
            Path(tmp_path, "all", f"model-{step}").write_text("x" * 500)
            hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint(tmp_path / "all"))

    lab.run(train)
    told = [line for line in capfd.readouterr().err.splitlines() if "grow with each report" in line]
    assert len(told) == 1
    assert "1 files, 500 B at iteration 1, 4 files, 2 kB at iteration 4" in told[0]
    assert f"stay in {tmp_path / 'all'}" in told[0]


@pytest.mark.parametrize(
    ("files", "kilobytes"),
    [([1, 1, 1, 1, 1], [1, 3, 5, 7, 9]), ([9, 10, 11, 12, 13], [1] * 5), ([1, 2, 3, 1, 2], [1] * 5)],
    ids=["a small history", "few more files", "removed in between"],
)
def test_ordinary_changes_are_not_told(
    lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str], files: list[int], kilobytes: list[int]
) -> None:
    def train(config: dict[str, Any]) -> None:
        for step, (count, size) in enumerate(zip(files, kilobytes, strict=True)):
            directory = tmp_path / str(step)
            directory.mkdir()
            for number in range(count):
                Path(directory, str(number)).write_text("x" * 1000 * size)
            hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint(directory))

    lab.run(train)
    assert "grow" not in capfd.readouterr().err


def test_a_large_file_that_grows_is_told(lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(1, 5):
            tmp_path.joinpath("mine").mkdir(exist_ok=True)
            tmp_path.joinpath("mine", "replay").write_bytes(b"x" * (step << 19))
            hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint(tmp_path / "mine"))

    lab.run(train)
    assert capfd.readouterr().err.count("grow with each report") == 1


@pytest.mark.parametrize("staged", [False, True])
def test_odd_files_cost_neither_the_result_nor_the_checkpoint(
    lab: Lab, tmp_path: Path, staged: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    def fill(directory: str) -> None:
        path = Path(directory)
        path.joinpath("model").write_text("weights")
        path.joinpath("last").symlink_to(path / "model")
        path.joinpath("latest").symlink_to(".")
        path.joinpath("dangling").symlink_to("/no/such/place")
        os.mkfifo(path / "pipe")

    def train(config: dict[str, Any]) -> None:
        for step in range(2):
            if staged:
                with hpctune.checkpoint_dir(step) as directory:
                    fill(directory)
                hpctune.report(loss=step)
            else:
                directory = str(tmp_path / str(step))
                Path(directory).mkdir()
                fill(directory)
                hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint(directory))

    assert lab.run(train).outcome is Outcome.COMPLETED
    assert (lab.column("loss"), len(saved(lab))) == ([0, 1], 2)
    for checkpoint in saved(lab):
        assert (checkpoint / "last").resolve() == checkpoint / "model"
        assert (checkpoint / "latest").resolve() == checkpoint
        assert (checkpoint / "dangling").is_symlink()
        assert not (checkpoint / "pipe").exists()
    assert capfd.readouterr().err.count("named pipes, sockets or devices") == 1


@pytest.mark.parametrize("error", [RecursionError("too deep"), ValueError("embedded null byte"), OSError("odd")])
def test_the_result_counts_whatever_saving_raises(lab: Lab, monkeypatch: Any, tmp_path: Path, error: Exception) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(checkpoints.tree_copy, "copy_tree", broken)

    def train(config: dict[str, Any]) -> None:
        with pytest.raises(CheckpointError, match=str(error)):
            hpctune.report({"loss": 1}, checkpoint=hpctune.Checkpoint(tmp_path))

    lab.run(train)
    assert lab.column("loss") == [1]
    assert saved(lab) == []


@pytest.mark.parametrize("way", ["program", "child"])
def test_a_result_from_another_process_counts_without_its_checkpoint(
    lab: Lab, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = {
        "program": [str(Path(sys.executable).with_name("hpctune")), "report", "loss=1", "--checkpoint", "/no/where"],
        "child": [
            sys.executable,
            "-c",
            "import hpctune; hpctune.report({'loss': 1}, checkpoint=hpctune.Checkpoint('/no/where'))",
        ],
    }

    def train(config: dict[str, Any]) -> None:
        subprocess.run(programs[way], check=False)

    lab.run(train)
    assert lab.column("loss") == [1]
    told = capfd.readouterr().err
    words = "--checkpoint /no/where: the directory does not exist. The result counts" if way == "program" else (
        "The result counts, but its checkpoint was not saved"
    )  # fmt: skip
    assert words in told


def test_an_unchanged_model_is_not_copied_again(lab: Lab, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoints.tree_copy, "_cloned", lambda source, target: False)

    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            if step == 0 and config["new"]:
                tmp_path.joinpath("mine").mkdir()
                tmp_path.joinpath("mine", "frozen").write_bytes(b"x" * LINK_BYTES)
            tmp_path.joinpath("mine", "head").write_text(str(step))
            hpctune.report({"loss": step}, checkpoint=hpctune.Checkpoint(tmp_path / "mine"))

    lab.run(train, {"new": True})
    lab.run(train, {"new": False}, attempt=2, restore=str(saved(lab)[-1]))
    frozen = [checkpoint / "frozen" for checkpoint in saved(lab) + saved(lab, attempt=2)]
    assert len(frozen) == 6
    assert {path.stat().st_ino for path in frozen} == {frozen[0].stat().st_ino}
    assert frozen[0].stat().st_nlink == 6

    mine = Path(hpctune.Checkpoint(saved(lab)[0]).to_directory(tmp_path / "mine-again"), "frozen")
    mine.write_bytes(b"changed")
    tmp_path.joinpath("mine", "frozen").write_bytes(b"changed")
    for checkpoint in saved(lab)[:-1]:
        checkpoints.delete(checkpoint)
    assert frozen[2].read_bytes() == b"x" * LINK_BYTES


def test_metadata_of_a_checkpoint_reaches_no_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one, two):
        directory.mkdir()
    hpctune.Checkpoint(one).set_metadata({"a": 1})
    (two / ".metadata.json").hardlink_to(one / ".metadata.json")
    hpctune.Checkpoint(two).update_metadata({"b": 2})
    assert hpctune.Checkpoint(one).get_metadata() == {"a": 1}
    assert hpctune.Checkpoint(two).get_metadata() == {"a": 1, "b": 2}


def test_to_directory_follows_the_same_rules(lab: Lab, tmp_path: Path, monkeypatch: Any) -> None:
    (lab.trial.root / "control.json").write_text("orders")
    (lab.paths.root / "trainable.pkl").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "control.json").write_text("of an older version")
    (tmp_path / "old" / "model").write_text("weights")
    (tmp_path / "old" / "last").symlink_to("model")
    monkeypatch.chdir(lab.trial.root)
    assert hpctune.Checkpoint(tmp_path / "old").to_directory(".") == "."
    assert Path("control.json").read_text() == "orders"
    assert Path("last").readlink() == Path("model")
    with pytest.raises(CheckpointError, match="Cannot copy the checkpoint"):
        hpctune.Checkpoint(tmp_path / "old").to_directory(Path("model"))
    with pytest.raises(CheckpointError, match="does not exist any more"):
        hpctune.Checkpoint(tmp_path / "no").to_directory("new")

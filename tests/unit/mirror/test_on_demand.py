"""Checkpoints of copies: brought when something of them is asked for, whole or not at all."""

from __future__ import annotations

import logging
import pickle
import shutil
import tarfile
from pathlib import Path

import click
import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.local import LocalFileSystem

import hpctune as tune
from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.result import Result
from hpctune.checkpoint import Checkpoint
from hpctune.cli import list as list_, status as status_
from hpctune.errors import CheckpointError, NotAnExperimentError, StorageError
from hpctune.interop.export.archive import choose, pack
from hpctune.interop.export.packing import packing
from hpctune.launch.remote import bring_here
from hpctune.mirror import status
from hpctune.mirror.fetch import fetch, readable, without_checkpoints
from hpctune.mirror.mirror import Mirror
from hpctune.mirror.options import INCOMPLETE, MirrorOptions
from hpctune.mirror.status import MirrorStatus
from hpctune.mirror.target import Remote
from hpctune.storage.layout import ExperimentPaths
from tests.unit.mirror.test_mirror import mirror_of, search


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The copy of an experiment whose trials have two checkpoints each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hpctune.mirror.fetch.PAUSE_S", 0.01)
    simulation = search(tmp_path / "exp")
    simulation.run()
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    mirror.sync()
    shutil.rmtree(tmp_path / "exp")
    return mirror.url


def here(paths: ExperimentPaths) -> list[str]:
    return sorted(path.name for path in paths.root.glob("*/checkpoint_*"))


def test_only_what_is_asked_for_is_brought(url: str, tmp_path: Path) -> None:
    paths = readable(url)
    analysis = tune.ExperimentAnalysis(paths.root)
    best = analysis.get_best_trial("loss", "min")
    assert best is not None
    checkpoint = analysis.get_best_checkpoint(best, "loss", "min")
    result = Result.of(analysis, best)
    assert repr(checkpoint) == repr(result.checkpoint) == repr(analysis.get_last_checkpoint(best))
    assert checkpoint == result.checkpoint
    assert here(paths) == []
    assert isinstance(checkpoint, Checkpoint)
    there = Path(url.removeprefix("file://")) / best.relative_logdir / Path(repr(checkpoint).split("'")[1]).name
    copied = Path(checkpoint.to_directory(tmp_path / "copied"))
    assert {path.name: path.read_bytes() for path in copied.iterdir() if not path.name.startswith(".")} == {
        path.name: path.read_bytes() for path in there.iterdir() if not path.name.startswith(".")
    }
    assert here(paths) == [there.name]
    for place, _ in analysis.get_trial_checkpoints_paths(best):
        assert list(Path(place).iterdir())
    assert len(here(paths)) == 2
    readable(url)
    assert len(here(paths)) == 2, "what was brought stays"


@pytest.mark.parametrize("ask", ["path", "as_directory", "str", "fspath", "pickle", "return_path"])
def test_each_way_to_ask_for_it(url: str, ask: str) -> None:
    analysis = tune.ExperimentAnalysis(readable(url).root)
    trial = analysis.trials[0]
    made = analysis.get_best_checkpoint(trial, "loss", "min")
    assert isinstance(made, Checkpoint)
    if ask == "as_directory":
        with made.as_directory() as directory:
            assert list(Path(directory).iterdir())
    else:
        found = {
            "path": lambda: made.path,
            "str": lambda: str(made),
            "fspath": lambda: Path(made),
            "pickle": lambda: pickle.loads(pickle.dumps(made)),
            "return_path": lambda: analysis.get_best_checkpoint(trial, "loss", "min", return_path=True),
        }[ask]()
        assert list(Path(found).iterdir())  # type: ignore[arg-type]


def test_one_that_cannot_be_brought_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = readable(url)
    checkpoint = tune.ExperimentAnalysis(paths.root).trials[0].checkpoint
    assert checkpoint is not None

    def failing(self: Remote, name: str, path: Path, size: int | None) -> None:
        path.write_bytes(b"half")
        raise StorageError("the line is cut")

    with monkeypatch.context() as broken:
        broken.setattr(Remote, "get", failing)
        with pytest.raises(CheckpointError, match="cannot be brought: the line is cut"):
            _ = checkpoint.path
    assert [path.name for path in paths.root.iterdir() if path.name.startswith(".bringing")] == []
    assert here(paths) == []
    assert list(Path(checkpoint.path).iterdir())


def test_one_that_the_copy_no_longer_has(url: str) -> None:
    paths = readable(url)
    checkpoint = Checkpoint(Path(tune.ExperimentAnalysis(paths.root).trials[0].local_path, "checkpoint_000077"))
    with pytest.raises(CheckpointError, match="does not exist any more"), checkpoint.as_directory():
        pass


def test_what_was_brought_of_another_experiment_at_the_same_place_is_not_taken(url: str, tmp_path: Path) -> None:
    paths = readable(url)
    trial = tune.ExperimentAnalysis(paths.root).trials[0]
    assert trial.checkpoint is not None
    _ = trial.checkpoint.path
    shutil.rmtree(tmp_path / "elsewhere")
    other = search(tmp_path / "exp")
    other.run()
    spec = other.paths.spec
    spec.write_text(spec.read_text().replace(other.spec.experiment_id, "another"))
    Mirror(other.paths, "another", MirrorOptions(place=f"file://{tmp_path}/elsewhere")).sync()
    readable(url)
    assert here(paths) == []


def test_the_rest_of_what_was_fetched_in_part(url: str, tmp_path: Path) -> None:
    root = tmp_path / "part" / "exp"
    fetch(url, root, without_checkpoints)
    (root / INCOMPLETE).write_text(f"{url}\n")
    checkpoint = tune.ExperimentAnalysis(root).trials[0].checkpoint
    assert checkpoint is not None
    assert list(Path(checkpoint.path).iterdir())


def test_an_archive_has_the_checkpoints_of_the_copy(url: str, tmp_path: Path) -> None:
    loaded = LoadedExperiment(readable(url).root)
    goals = (("loss", "min"),)
    with packing(str(tmp_path / "exp.tar"), False) as into:
        chosen = choose(loaded, goals, 2, "all")
        pack(loaded, into, chosen, goals, lambda done, of: None, rows=False, arguments=str)
    with tarfile.open(tmp_path / "exp.tar") as archive:
        names = [Path(name).name for name in archive.getnames()]
    assert sum(name.startswith("checkpoint_") for name in names) == 4


def test_it_is_told_how_far_it_is(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hpctune.mirror.fetch.TELL_AFTER_S", 0.01)
    monkeypatch.setattr("hpctune.mirror.fetch.TELL_EVERY_S", 0.01)
    caplog.set_level(logging.INFO, "hpctune")
    get = Remote.get

    def slow(self: Remote, name: str, path: Path, size: int | None) -> None:
        while f"Bringing {url}: " not in caplog.text:
            pass
        get(self, name, path, size)

    monkeypatch.setattr(Remote, "get", slow)
    fetch(url, tmp_path / "there")
    assert f"Bringing {url}: 0 B of " in caplog.text


def test_a_checkpoint_at_a_url_or_on_a_filesystem(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/on-demand/c/a.txt": b"a", "/on-demand/c/inner/b.txt": b"b"})
    made = Checkpoint.from_uri("memory://on-demand/c")
    assert made.uri == made.cloud_path == "memory://on-demand/c"
    for each in (made, Checkpoint("on-demand/c", filesystem=store), Checkpoint.from_directory("/on-demand/c", store)):
        with each.as_directory() as directory:
            assert (Path(directory, "a.txt").read_text(), Path(directory, "inner/b.txt").read_text()) == ("a", "b")
    kept = Path(made.path)
    del made, each
    assert not kept.exists()
    with pytest.raises(CheckpointError, match="There is nothing at memory://on-demand/none"):
        _ = Checkpoint("memory://on-demand/none").path
    (tmp_path / "d").mkdir()
    assert Checkpoint(tmp_path / "d", filesystem=LocalFileSystem()).path == str(tmp_path / "d")


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL of a store with the copies of two experiments, and something else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))
    place = f"memory://copies-{tmp_path.name}/dir"
    for name in ("one", "two"):
        simulation = search(tmp_path / name)
        simulation.run()
        mirror_of(simulation, place).sync()
    fsspec.filesystem("memory").pipe(f"/copies-{tmp_path.name}/dir/other/file", b"x")
    return place


def invoke(command: click.Command, *words: str) -> str:
    done = CliRunner().invoke(command, words)
    return done.output + str(done.exception or "")


def test_a_url_of_several_copies(two: str) -> None:
    assert [invoke(list_.command, two, "--columns", "name").split() for _ in range(2)] == [["name", "one", "two"]] * 2
    assert len(tune.ExperimentAnalysis(two).trials) == 8
    assert len(tune.ExperimentAnalysis(f"{two}/one/experiment.json").trials) == 4
    assert f"It contains copies: one, two. Name one: {two}/one" in invoke(status_.command, two)
    shown = invoke(status_.command, f"{two}/one")
    assert f"Copy at: {two}/one" in shown
    assert f"hpctune logs {two}/one " in shown
    fsspec.filesystem("memory").rm(f"{two}/two", recursive=True)
    assert invoke(list_.command, two, "--columns", "name").split() == ["name", "one"]
    assert "contains none" in invoke(list_.command, f"{two}/other")


def test_an_experiment_here_of_the_same_name_is_not_taken_for_a_copy_that_is_not_there(
    two: str, tmp_path: Path
) -> None:
    bring_here(f"{two}/one", tmp_path / "results")
    with pytest.raises(NotAnExperimentError, match=f"{two}/none/one is not an experiment"):
        bring_here(f"{two}/none/one", tmp_path / "results")
    kept = bring_here(f"{two}/none/one", tmp_path / "results", must_exist=False)
    status.write(kept, MirrorStatus(f"{two}/later/one"))
    assert bring_here(f"{two}/later/one", tmp_path / "results") == kept, "its first pass has not ended yet"

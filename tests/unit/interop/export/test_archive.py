"""An experiment as an archive: what is in it, where it may go, and that nothing half is left."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpctune.cli.main import cli
from hpctune.errors import TuneError
from tests.support.output_support import Recorder


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Four trials: the third is the best, the second has the lowest latency, and the last has failed."""
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(tmp_path / "exp", origin={"python": "3.11.7", "packages": {"numpy": "2.0"}, "command": "run x"})
    for lr, losses, latency in ((0.1, [3.0, 2.5], 5), (0.2, [2.0, 1.5], 1), (0.3, [0.5, 1.0], 4), (0.4, [], 0)):
        trial = recorder.add(lr=lr, net={"width": 8})
        recorder.start(trial)
        for number in range(1, len(losses) + 1):
            directory = checkpoint(recorder, trial, number)
            directory.mkdir()
            (directory / "weights").write_text(f"{lr} {number}")
            (directory / "latest").symlink_to("weights")
        recorder.report(trial, [{"loss": loss, "latency": latency} for loss in losses], checkpoints=True)
        (recorder.finish if losses else recorder.fail)(trial)
    return recorder


def checkpoint(made: Recorder, trial: str, number: int) -> Path:
    return made.paths.trial(made.state.trials[trial].dirname).root / f"checkpoint_{number:06d}"


def export(*words: object) -> str:
    result = CliRunner().invoke(cli, ["export", *map(str, words)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_best_trials_with_their_best_checkpoints(made: Recorder, tmp_path: Path) -> None:
    said = export(made.paths.root, "kept.tar.gz", "--best", 2, "--rows")
    assert said == (
        "kept.tar.gz: the best of 4 trials (1f3a9_00002, 1f3a9_00001), 2 checkpoints. README.md says what is in it.\n"
    )
    with tarfile.open("kept.tar.gz") as archive:
        archive.extractall(tmp_path / "out", filter="data")
    root = tmp_path / "out" / "exp"
    best = root / "best" / "1_1f3a9_00002"
    assert json.loads((best / "params.json").read_text()) == {"lr": 0.3, "net": {"width": 8}}
    assert (best / "arguments.txt").read_text() == "--lr 0.3 --net.width 8\n"
    assert [path.name for path in best.glob("checkpoint_*")] == ["checkpoint_000001"], "that of the loss 0.5"
    assert (best / "checkpoint_000001" / "latest").is_symlink()
    assert (best / "checkpoint_000001" / "latest").read_text() == "0.3 1"
    assert (root / "best" / "2_1f3a9_00001" / "checkpoint_000002" / "weights").read_text() == "0.2 2"
    with (root / "trials.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["TERMINATED"] * 3 + ["ERROR"]
    with (root / "results.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [3.0, 2.5, 2.0, 1.5, 0.5, 1.0]
    assert (root / "requirements.txt").read_text() == "# Python 3.11.7\nnumpy==2.0\n"
    assert (root / "experiment.json").read_bytes() == made.paths.spec.read_bytes()
    readme = (root / "README.md").read_text()
    assert "- `best/1_1f3a9_00002`: loss = 1; lr=0.3, net/width=8" in readme
    assert 'Checkpoint.from_directory("best/1_1f3a9_00002/checkpoint_000001")' in readme


@pytest.mark.parametrize(("which", "kept"), [("none", []), ("last", ["checkpoint_000002"]), ("all", [1, 2])])
def test_which_checkpoints(made: Recorder, which: str, kept: list[Any]) -> None:
    export(made.paths.root, "folder", "--checkpoints", which)
    names = sorted(path.name for path in Path("folder/best/1_1f3a9_00002").glob("checkpoint_*"))
    assert names == [each if isinstance(each, str) else f"checkpoint_{each:06d}" for each in kept]


def test_several_metrics_and_a_zip(made: Recorder) -> None:
    said = export(made.paths.root, "-o", "kept.zip", "--metric", "loss,latency", "--mode", "min")
    assert "(1f3a9_00002, 1f3a9_00001)" in said
    with zipfile.ZipFile("kept.zip") as archive:
        assert archive.read("exp/best/1_1f3a9_00002/checkpoint_000001/latest") == b"0.3 1"
        assert b"Pareto front" in archive.read("exp/README.md")


def test_the_form_follows_the_target(made: Recorder) -> None:
    export(made.paths.root, "table.json")
    assert len(json.loads(Path("table.json").read_text())) == 4
    export(made.paths.root, "--to", "archive")
    assert Path("exp.tar.gz").is_file()


def test_what_is_there_is_replaced_on_request_only(made: Recorder) -> None:
    for target in ("kept.tar", "folder"):
        export(made.paths.root, target)
        with pytest.raises(TuneError, match="--force"):
            export(made.paths.root, target)
        export(made.paths.root, target, "--force")
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    with pytest.raises(TuneError, match="no export of an experiment"):
        export(made.paths.root, "mine", "--force")
    assert Path("mine/thesis.tex").is_file()


def test_nothing_half_is_left(made: Recorder, tmp_path: Path) -> None:
    """A checkpoint that retention removes in that moment."""
    shutil.rmtree(checkpoint(made, "1f3a9_00002", 1))
    for target in ("kept.tar.gz", "kept.zip", "folder"):
        with pytest.raises(TuneError, match="was removed during the export"):
            export(made.paths.root, target)
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"Export to what\? An archive: hpctune export .*exp TARGET.tar.gz"),
        (["a.zip", "-o", "b.zip"], "Two targets: a.zip and -o b.zip"),
        (["/nowhere/a.zip"], "There is no folder /nowhere"),
        (["s3://bucket/folder"], "names no archive"),
        (["memory3://x/a.zip"], "Protocol not known"),
        (["a.csv", "--best", "2"], "--best says nothing about --to csv"),
        (["a.zip", "--metric", "acc", "--mode", "max"], "acc"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(made: Recorder, words: list[str], said: str) -> None:
    with pytest.raises(TuneError, match=said):
        export(made.paths.root, *words)
    assert [path.name for path in Path().iterdir()] == ["exp"]


def test_at_a_url(made: Recorder) -> None:
    import fsspec

    export(made.paths.root, "memory://kept/exp.tar.gz")
    with fsspec.open("memory://kept/exp.tar.gz") as file, tarfile.open(fileobj=file) as archive:
        assert "exp/trials.csv" in archive.getnames()
    with pytest.raises(TuneError, match="exists"):
        export(made.paths.root, "memory://kept/exp.tar.gz")
    export(made.paths.root, "memory://kept/exp.tar.gz", "--force")

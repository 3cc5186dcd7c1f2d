"""The copy of a project in a trial's directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpctune.storage import bundle, kept_project
from hpctune.storage.kept_project import KeptProject
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.usercode.project import collect_named
from hpctune.worker import Command, transferred
from hpctune.worker.project_copy import place_in


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "my {code}"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "run.sh").write_text("echo 1")
    (root / "bin" / "run.sh").chmod(0o755)
    (root / "data.txt").write_text("1")
    (root / "link.txt").symlink_to("data.txt")
    (root / "sets").symlink_to("/mnt/sets")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


@pytest.fixture
def experiment(tmp_path: Path) -> ExperimentPaths:
    paths = ExperimentPaths(tmp_path / "experiment")
    (paths.root / "trial").mkdir(parents=True)
    return paths


def kept(project: Path, experiment: ExperimentPaths) -> KeptProject:
    found = collect_named("bin/run.sh", project)
    made = kept_project.keep(found, experiment)
    assert KeptProject(**made.to_json()) == made
    return made


def test_a_copy_is_whole_and_keeps_what_a_trial_has_changed(project: Path, experiment: ExperimentPaths) -> None:
    made, trial = kept(project, experiment), TrialPaths(experiment.root / "trial")
    copy = trial.root / kept_project.DIRECTORY
    made.unpack(experiment, trial)
    assert sorted(path.name for path in copy.rglob("*")) == ["bin", "data.txt", "link.txt", "run.sh", "sets"]
    assert os.access(copy / "bin" / "run.sh", os.X_OK)
    assert (copy / "link.txt").readlink() == Path("data.txt")
    assert (copy / "sets").readlink() == Path("/mnt/sets")
    (copy / "data.txt").write_text("2")
    (copy / "bin" / "run.sh").unlink()
    made.unpack(experiment, trial)
    assert (copy / "data.txt").read_text() == "2"
    assert (copy / "bin" / "run.sh").read_text() == "echo 1"
    assert list(trial.root.iterdir()) == [copy]


def test_a_directory_without_files_is_made(tmp_path: Path, experiment: ExperimentPaths) -> None:
    """A program runs in it."""
    root, trial = tmp_path / "empty", TrialPaths(experiment.root / "trial")
    root.mkdir()
    made = kept_project.keep(collect_named("echo 1", root), experiment)
    made.unpack(experiment, trial)
    assert list((trial.root / kept_project.DIRECTORY).iterdir()) == []
    assert made.is_here
    root.rename(tmp_path / "elsewhere")
    assert not made.is_here


def test_a_program_begins_in_a_folder_without_files(project: Path, experiment: ExperimentPaths) -> None:
    (project / "new").mkdir()
    trial = TrialPaths(experiment.root / "trial")
    kept_project.keep(collect_named("../bin/run.sh", project / "new"), experiment).unpack(experiment, trial)
    assert (trial.root / kept_project.DIRECTORY / "new").is_dir()


def test_the_same_files_are_kept_once(project: Path, experiment: ExperimentPaths) -> None:
    first = kept(project, experiment)
    assert kept(project, experiment) == first
    (project / "data.txt").write_text("2")
    assert kept(project, experiment).archive != first.archive
    assert len(list(experiment.code.iterdir())) == 2


def test_the_project_itself_is_known(project: Path, experiment: ExperimentPaths, tmp_path: Path) -> None:
    made = kept(project, experiment)
    assert made.is_here
    (project / "data.txt").unlink()
    (project / "data.txt").write_text("2")
    assert made.is_here, "one file was replaced"
    shutil.copytree(project, tmp_path / "copy", symlinks=True)
    project.rename(tmp_path / "elsewhere")
    assert not made.is_here
    (tmp_path / "copy").rename(project)
    assert not made.is_here, "another machine's directory of that name"


def test_paths_of_the_project_are_those_of_the_copy(experiment: ExperimentPaths) -> None:
    made, trial = KeptProject("/home/ann/code", "x", 1, {}), TrialPaths("/scratch/t1")
    for before, after in {
        "/home/ann/code": "/scratch/t1/project",
        "python /home/ann/code/train.py --data=/home/ann/code/data": "python /scratch/t1/project/train.py "
        "--data=/scratch/t1/project/data",
        "/home/ann/code2/x": "/home/ann/code2/x",
        "/mnt/home/ann/code/x": "/mnt/home/ann/code/x",
        "cd '/home/ann/code' && ls": "cd '/scratch/t1/project' && ls",
        "PYTHONPATH=/home/ann/code:/lib": "PYTHONPATH=/scratch/t1/project:/lib",
        "train.py": "train.py",
    }.items():
        assert made.moved(before, trial) == after


def test_a_project_that_somebody_reaches_by_a_link(
    project: Path, experiment: ExperimentPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = TrialPaths(tmp_path / "t1")
    (tmp_path / "way").symlink_to(project)
    monkeypatch.setenv("PWD", str(tmp_path / "way" / "bin"))
    found = collect_named(f"run.sh --data {tmp_path}/way/data.txt", project / "bin")
    made = kept_project.keep(found, experiment)
    for root in (project, tmp_path / "way"):
        assert made.moved(f"--data={root}/data.txt", trial) == f"--data={trial.root}/project/data.txt"
    assert made.moved(f"{tmp_path}/way2/data.txt", trial) == f"{tmp_path}/way2/data.txt"


def test_a_job_with_copies_finds_its_own(
    project: Path, experiment: ExperimentPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle.save(experiment, Command("bin/run.sh"), None, kept(project, experiment))
    trial = TrialPaths(experiment.root / "trial")
    assert place_in(trial)(str(project)) == str(project), "this machine sees it"
    monkeypatch.setattr(transferred, "_project_is_copied", True)
    assert place_in(trial)(f"{project}/data.txt") == str(trial.root / "project" / "data.txt")

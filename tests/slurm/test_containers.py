"""Trials in a container on a real Slurm: the worker sees what was bound, its job's variables, and nothing else.

The program behind apptainer's command line is bubblewrap here: it makes a new root of the image's directory and of the
binds, without any privilege.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hpctune as tune

from .cluster import SlurmCluster

pytestmark = pytest.mark.slurm
APPTAINER = """#!/bin/bash
shift  # exec
binds=()
while [[ $1 == --* ]]; do
  case $1 in --bind=*) path=${1#--bind=}; binds+=(--bind "${path%%:*}" "${path##*:}") ;; esac
  shift
done
image=$1; shift
exec bwrap --ro-bind "$image/usr" /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin \\
  --ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp "${binds[@]}" -- "$@"
"""


def test_trials_run_inside(tmp_path: Path, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    (tmp_path / "bin").mkdir()
    program, seen, hidden = tmp_path / "bin" / "apptainer", tmp_path / "seen", tmp_path / "hidden"
    program.write_text(APPTAINER)
    program.chmod(0o755)
    for directory in (seen, hidden):
        directory.mkdir()
    image = tmp_path / "image"
    image.mkdir()
    (image / "usr").symlink_to("/usr")

    def train(config: dict[str, object]) -> None:
        import os

        checkpoint = tune.get_checkpoint()
        with tune.checkpoint_dir(1) as directory:
            Path(directory, "state").write_text("x")
        tune.report(
            seen=Path(str(seen)).is_dir(), hidden=Path(str(hidden)).exists(), job=os.environ.get("SLURM_JOB_ID", ""),
            restored=checkpoint is not None,
        )  # fmt: skip

    container = tune.Apptainer(image=str(image), program=str(program), binds=[str(seen)], bind_python=True)
    results = tune.Tuner(
        train, tune_config=tune.TuneConfig(num_samples=2), cluster=tune.SlurmOptions(container=container, poll_s=1.0),
        run_config=tune.RunConfig(name="inside", storage_path=str(tmp_path / "results"), verbose=0),
    ).fit()  # fmt: skip
    assert not results.errors
    rows = [result.metrics for result in results]
    assert [(row["seen"], row["hidden"], bool(row["job"])) for row in rows if row] == [(True, False, True)] * 2

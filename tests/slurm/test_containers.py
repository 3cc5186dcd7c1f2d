"""Trials in a container on a real Slurm: the worker sees what was bound, its job's variables, and nothing else.

Podman and Apptainer are the real ones if they are installed. The ordinary run has bubblewrap behind Apptainer's command
line: it makes a new root of the image's directory and of the binds, without any privilege.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import hpctune as tune

from .cluster import SlurmCluster, wait_for

pytestmark = pytest.mark.slurm
BUBBLEWRAP = """#!/bin/bash
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
# What a machine without systemd and with few privileges needs: runc takes cgroups of version 1, crun does not.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def _needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _bubblewrap(directory: Path, binds: list[str], monkeypatch: pytest.MonkeyPatch) -> tune.Apptainer:
    _needs("bwrap")
    program, image = directory / "apptainer", directory / "image"
    program.write_text(BUBBLEWRAP)
    program.chmod(0o755)
    image.mkdir()
    (image / "usr").symlink_to("/usr")
    return tune.Apptainer(image=str(image), program=str(program), binds=binds, bind_python=True)


def _root(directory: Path) -> Path:
    """An image as a directory: empty but for the places that are bound and the links of a merged /usr."""
    root = directory / "image"
    for name in ("usr", "etc", "proc", "dev", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    return root


def _podman(directory: Path, binds: list[str], monkeypatch: pytest.MonkeyPatch) -> tune.Podman:
    _needs("podman", "runc")
    configuration = directory / "containers.conf"
    configuration.write_text(CONTAINERS_CONF)
    monkeypatch.setenv("CONTAINERS_CONF", str(configuration))
    return tune.Podman(
        image=str(_root(directory)), binds=[*binds, "/usr:/usr:ro"], bind_python=True, options=["--rootfs"]
    )


def _apptainer(directory: Path, binds: list[str], monkeypatch: pytest.MonkeyPatch) -> tune.Apptainer:
    _needs("apptainer")
    options = ["--no-mount=tmp,home"]  # else it shows the node's /tmp, where the tests' directories are
    options += ["--no-privs"] if os.geteuid() == 0 else []  # else it asks for all, which root in a container lacks
    return tune.Apptainer(
        image=str(_root(directory)), binds=[*binds, "/usr:/usr:ro"], bind_python=True, options=options
    )


Make = Callable[[Path, list[str], pytest.MonkeyPatch], tune.Apptainer | tune.Podman]
REAL = [pytest.param(_podman, marks=pytest.mark.nightly), pytest.param(_apptainer, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("container", [_bubblewrap, *REAL])
def test_trials_run_inside(
    tmp_path: Path, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch, container: Make
) -> None:
    program, seen, hidden = tmp_path / "program", tmp_path / "seen", tmp_path / "hidden"
    for directory in (program, seen, hidden):
        directory.mkdir()

    def train(config: dict[str, object]) -> None:
        import os

        checkpoint = tune.get_checkpoint()
        with tune.checkpoint_dir(1) as directory:
            Path(directory, "state").write_text("x")
        tune.report(
            seen=Path(str(seen)).is_dir(), hidden=Path(str(hidden)).exists(), job=os.environ.get("SLURM_JOB_ID", ""),
            restored=checkpoint is not None,
        )  # fmt: skip

    inside = container(program, [str(seen)], monkeypatch)
    results = tune.Tuner(
        train, tune_config=tune.TuneConfig(num_samples=2), cluster=tune.SlurmOptions(container=inside, poll_s=1.0),
        run_config=tune.RunConfig(name="inside", storage_path=str(tmp_path / "results"), verbose=0),
    ).fit()  # fmt: skip
    assert not results.errors
    rows = [result.metrics for result in results]
    assert [(row["seen"], row["hidden"], bool(row["job"])) for row in rows if row] == [(True, False, True)] * 2


@pytest.mark.parametrize("how", ["requeue", "scancel"])
@pytest.mark.parametrize("container", REAL)
def test_a_job_that_slurm_ends_leaves_nothing_running(
    tmp_path: Path, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch, container: Make, how: str
) -> None:
    (tmp_path / "program").mkdir()
    rows, go_on = tmp_path / "rows", tmp_path / "go_on"

    def train(config: dict[str, object]) -> None:
        import time

        checkpoint = tune.get_checkpoint()
        first = 1 if checkpoint is None else int(Path(checkpoint.path, "step").read_text()) + 1
        for step in range(first, 6):
            with tune.checkpoint_dir(step) as directory:
                Path(directory, "step").write_text(str(step))
            tune.report(step=step, first=first)
            with rows.open("a") as file:
                file.write(f"{step}\n")
            while step == 3 and not go_on.exists():
                time.sleep(0.1)

    inside = container(tmp_path / "program", [str(tmp_path)], monkeypatch)
    tuner = tune.Tuner(
        train, cluster=tune.SlurmOptions(container=inside, poll_s=1.0),
        run_config=tune.RunConfig(name="inside", storage_path=str(tmp_path / "results"), verbose=0),
    )  # fmt: skip
    results: list[tune.ResultGrid] = []
    run = threading.Thread(target=lambda: results.append(tuner.fit()))
    run.start()
    wait_for(lambda: rows.exists() and "3" in rows.read_text(), 120, "the third step")
    (job,) = slurm_cluster.squeue("-t", "RUNNING")
    slurm_cluster.run(*(["scontrol", "requeue"] if how == "requeue" else ["scancel"]), job.id)
    if how == "requeue":
        wait_for(lambda: not _inside(tmp_path), 60, "the end of the first run")
        go_on.touch()
    run.join(120)
    wait_for(lambda: not _inside(tmp_path), 60, "the end of the container")
    (result,) = results[0]
    assert (result.error is None) == (how == "requeue")
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["step"]) == ([1, 2, 3, 4, 5] if how == "requeue" else [1, 2, 3])


def _inside(directory: Path) -> list[str]:
    """The command lines of workers that serve experiments below ``directory``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "hpctune.worker" in words and "run" not in words and any(str(directory) in word for word in words):
                found.append(" ".join(words))
    return found

"""Sweeps of W&B with the real package, offline: one run for each trial, and what it logs is heard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpctune.integration import wandb_files

pytest.importorskip("wandb")

TRAIN = """
import os, sys
import wandb
from pathlib import Path
run = wandb.init(project="p", config={"lr": 9.0, "batch": 3}, mode=os.environ.get("MODE"))
mark = Path(os.environ["HPCTUNE_TRIAL_DIR"], "mark")
for epoch in range(4):
    if os.environ.get("FAILS") and epoch == 2 and not mark.exists():
        mark.touch()
        sys.exit(3)
    wandb.log({"train": {"loss": 2.0}}, step=epoch)
    wandb.log({"val/loss": run.config.lr / (epoch + 1), "picture": wandb.Html("x")}, step=epoch)
run.summary["best"] = 1.0
print("CONFIG", dict(run.config))
"""
SWEEP = """
method: grid
program: train.py
command: [{python}, "${{program}}"]
metric: {{name: val/loss, goal: minimize}}
parameters: {{lr: {{values: [0.1, 0.2]}}, model: {{parameters: {{depth: {{value: 2}}}}}}}}
"""


def searched(here: Path, *options: str, **more: str) -> list[Path]:
    """The directories of the trials."""
    (here / "train.py").write_text(TRAIN)
    (here / "sweep.yaml").write_text(SWEEP.format(python=sys.executable))
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | more
    done = subprocess.run(
        ["hpctune", "run", "sweep.yaml", "--cluster", "local", "--storage-path", "results", "-v", "1", *options],
        cwd=here, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("wandb sync" in done.stderr) is (more.get("MODE") != "disabled")
    return sorted((here / "results" / "sweep").glob("train_*"))


def losses(trial: Path) -> list[float]:
    return [json.loads(line)["val/loss"] for line in (trial / "result.json").read_text().splitlines()]


def test_a_trial_is_a_run(tmp_path: Path) -> None:
    trials = searched(tmp_path)
    assert [losses(trial) for trial in trials] == [[lr / n for n in (1, 2, 3, 4)] for lr in (0.1, 0.2)]
    ids = set()
    for trial in trials:
        (directory,) = (trial / "wandb").glob("offline-run-*")
        run_id = directory.name.split("-", 3)[3]
        ids.add(run_id)
        rows = [row for path in wandb_files.files_of(trial, run_id) for row in wandb_files.history(path)]
        assert [step for step, _ in rows] == [0, 1, 2, 3]
        assert [row["val/loss"] for _, row in rows] == losses(trial)
        assert "'batch': 3" in (trial / "stdout").read_text()
        assert "'model': {'depth': 2}" in (trial / "stdout").read_text()
    assert len(ids) == 2


def test_disabled_runs_are_heard(tmp_path: Path) -> None:
    trials = searched(tmp_path, MODE="disabled")
    assert [losses(trial)[-1] for trial in trials] == [0.1 / 4, 0.2 / 4]


def test_a_trial_that_begins_again_is_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text("")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(python=sys.executable))
    subprocess.run(["hpctune", "convert", "sweep.yaml", "-o", "search.py"], cwd=tmp_path, check=True)
    text = (tmp_path / "search.py").read_text()
    text = text.replace("tune.RunConfig(", "tune.RunConfig(failure_config=tune.FailureConfig(max_failures=1), ")
    (tmp_path / "search.py").write_text(text)
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | {"FAILS": "1"}
    done = subprocess.run(
        ["hpctune", "run", "search.py", "--cluster", "local", "--storage-path", "results", "-v", "1"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for trial in (tmp_path / "results" / "sweep").glob("train_*"):
        ids = [directory.name.split("-", 3)[3] for directory in (trial / "wandb").glob("offline-run-*")]
        assert len(ids) == 2
        assert len({*ids}) == 1

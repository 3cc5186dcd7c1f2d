"""Hydra apps whose configs name a launcher that is not installed."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.interop.hydra_launcher import options_of

pytest.importorskip("hydra")
INSTALLED = {one.name for one in importlib.metadata.distributions()}
APP = """
import hydra

@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg):
    return cfg.lr

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - override hydra/launcher: submitit_slurm
  - _self_
lr: 0.1
hydra:
  launcher:
    partition: gpu
    timeout_min: 90
    mem_gb: 16
    additional_parameters: {licenses: matlab}
"""


@pytest.fixture(autouse=True)
def _without_launchers() -> None:
    if INSTALLED & {"hydra-submitit-launcher", "hydra-joblib-launcher"}:
        pytest.skip("a launcher is installed")


def app(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (here / "app.py").write_text(APP)
    (here / "config.yaml").write_text(CONFIG)
    words = [sys.executable, "app.py", *arguments]
    return subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=120, check=False)


def test_a_config_that_names_the_launcher_runs(tmp_path: Path) -> None:
    done = app(tmp_path, "-m", "hydra/sweeper=hpctune", "hydra.sweeper.cluster=debug", "lr=1,2", "hydra.sweep.dir=out")
    assert done.returncode == 0, done.stderr
    files = (tmp_path / "out" / "hpctune").glob("*/result.json")
    assert sorted(json.loads(path.read_text())["value"] for path in files) == [1, 2]


def test_another_sweeper_is_told_what_to_install(tmp_path: Path) -> None:
    done = app(tmp_path, "-m", "lr=1,2")
    assert done.returncode == 1
    assert "pip install hydra-submitit-launcher. Or let hpctune run the jobs" in done.stderr


def _launcher(folder: Path, *overrides: str) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    (folder / "config.yaml").write_text("lr: 1\n")
    with initialize_config_dir(version_base=None, config_dir=str(folder)):
        cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
    return OmegaConf.to_container(cfg.hydra.launcher)


def test_its_fields_are_options_of_the_jobs(tmp_path: Path) -> None:
    fields = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.nodes=2"]
    cluster, slurm, at_a_time = options_of(_launcher(tmp_path, *fields))
    assert (cluster, at_a_time) == ("slurm", 256)
    assert slurm == {"partition": "gpu", "time": 60, "nodes": 2, "signal_delay_s": 120}
    assert options_of(_launcher(tmp_path, "hydra/launcher=submitit_local")) == ("local", {}, None)
    assert options_of(_launcher(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=3")) == ("local", {}, 3)

"""Hydra apps as people have them, with configurations for Optuna's sweeper, unmodified."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hydra")

TEMPLATE = {
    "src/train.py": """
import hydra
from omegaconf import DictConfig

@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig):
    metrics = {"val/acc_best": 1 - abs(cfg.model.optimizer.lr - 0.01) - cfg.data.batch_size / 1000}
    return metrics[cfg.optimized_metric]

if __name__ == "__main__":
    main()
""",
    "configs/train.yaml": """
defaults: [_self_, {data: mnist}, {model: mlp}, {hydra: default}, {experiment: null}, {hparams_search: null}]
task_name: train
seed: 3
""",
    "configs/data/mnist.yaml": "batch_size: 128\n",
    "configs/model/mlp.yaml": "defaults: [{optimizer: adam}]\nwidth: 8\n",
    "configs/model/optimizer/adam.yaml": "lr: 0.001\n",
    "configs/model/optimizer/sgd.yaml": "lr: 0.1\nmomentum: 0.9\n",
    "configs/hydra/default.yaml": """
sweep:
  dir: logs/${task_name}/multiruns/${hydra.runtime.choices.model}
  subdir: ${hydra.job.num}
""",
    "configs/experiment/small.yaml": """
# @package _global_
defaults: [{override /model/optimizer: sgd}]
data: {batch_size: 32}
""",
    "configs/hparams_search/mnist_optuna.yaml": """
# @package _global_
defaults:
  - override /hydra/sweeper: optuna
  - override /hydra/sweeper/sampler: tpe
optimized_metric: val/acc_best
hydra:
  mode: MULTIRUN
  sweeper:
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
    storage: null
    study_name: null
    n_jobs: 1
    direction: maximize
    n_trials: 4
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: ${seed}
      n_startup_trials: 2
    params:
      model.optimizer.lr: tag(log, interval(0.0001, 0.1))
      data.batch_size: choice(32, 64)
""",
}
STRUCTURED = {
    "src/train.py": """
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, List
import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

class Kind(Enum):
    small = 1
    large = 2

@dataclass
class MySQL:
    driver: str = "mysql"
    timeout: int = 30

@dataclass
class Postgres(MySQL):
    driver: str = "pg"

defaults = ["_self_", {"db": "mysql"}, {"override hydra/sweeper": "optuna"}]

@dataclass
class Config:
    defaults: List[Any] = field(default_factory=lambda: defaults)
    db: MySQL = MISSING
    x: float = 0.0
    kind: Kind = Kind.small
    hydra: Any = field(default_factory=lambda: {
        "sweeper": {"direction": "minimize", "n_trials": 5, "sampler": {"seed": 1},
                    "params": {"x": "interval(-5.5, 5.5)", "kind": "choice(small, large)"}},
        "sweep": {"dir": "out/${now:%Y}", "subdir": "${hydra.job.override_dirname}"}})

cs = ConfigStore.instance()
cs.store(name="config", node=Config)
cs.store(group="db", name="mysql", node=MySQL)
cs.store(group="db", name="pg", node=Postgres)

@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg: Config) -> float:
    assert cfg.db.driver in ("mysql", "pg")
    return cfg.x ** 2 + cfg.kind.value + (cfg.db.driver == "pg")

if __name__ == "__main__":
    main()
""",
}


@pytest.fixture(autouse=True)
def _without_the_sweeper_of_optuna() -> None:
    import importlib.metadata

    if any(one.name == "hydra-optuna-sweeper" for one in importlib.metadata.distributions()):
        pytest.skip("Optuna's sweeper is installed")


def run(here: Path, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    words = [sys.executable, "src/train.py", *arguments, "hydra.sweeper.cluster=local", "hydra.sweeper.workers=2"]
    return subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=120, check=False)


def trials(experiment: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text().splitlines()[-1]) for path in sorted(experiment.glob("*/result.json"))]


def test_a_template_whose_config_names_the_sweeper_of_optuna(tmp_path: Path) -> None:
    done = run(tmp_path, TEMPLATE, "hparams_search=mnist_optuna", "experiment=small")
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / "logs" / "train" / "multiruns" / "mlp"
    rows = trials(sweep / "hpctune")
    assert len(rows) == 4
    for row in rows:
        assert set(row["config"]) == {"model.optimizer.lr", "data.batch_size"}
        lr, size = row["config"]["model.optimizer.lr"], row["config"]["data.batch_size"]
        assert row["value"] == pytest.approx(1 - abs(lr - 0.01) - size / 1000)
    best = max(row["value"] for row in rows)
    assert f"best_value: {best}" in (sweep / "optimization_results.yaml").read_text()
    assert "momentum" in (sweep / "0" / ".hydra" / "config.yaml").read_text()


@pytest.mark.nightly
def test_structured_configs_with_the_search_in_them(tmp_path: Path) -> None:
    done = run(tmp_path, STRUCTURED, "-m", "db=mysql,pg")
    assert done.returncode == 0, done.stderr
    (experiment,) = tmp_path.glob("out/*/hpctune")
    rows = trials(experiment)
    assert len(rows) == 5
    for row in rows:
        config = row["config"]
        kinds = {"small": 1, "large": 2}
        assert row["value"] == pytest.approx(config["x"] ** 2 + kinds[config["kind"]] + (config["db"] == "pg"))
    assert len(list(experiment.parent.glob("*x=*/.hydra/config.yaml"))) == 5


@pytest.mark.nightly
def test_a_sampler_that_is_not_here_is_said(tmp_path: Path) -> None:
    change = ("hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler._target_=optuna.samplers.CmaEsSampler")
    done = run(tmp_path, TEMPLATE, "hparams_search=mnist_optuna", *change)
    assert done.returncode == 1
    assert "there is none like 'CmaEsSampler' here" in done.stderr


@pytest.mark.nightly
def test_a_database_that_is_named_can_be_written_afterwards(tmp_path: Path) -> None:
    named = ("hydra.sweeper.storage=sqlite:///a.db", "hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=2")
    done = run(tmp_path, TEMPLATE, "hparams_search=mnist_optuna", *named)
    assert done.returncode == 0, done.stderr
    command = re.search(r"now or later: (hpctune export .*)", done.stdout + done.stderr)
    assert command is not None
    subprocess.run(shlex.split(command[1]), cwd=tmp_path, check=True)
    optuna = pytest.importorskip("optuna")
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/a.db")
    assert len(study.trials) == 2

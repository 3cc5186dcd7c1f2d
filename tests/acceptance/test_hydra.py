"""Multiruns of Hydra apps, unmodified, through the sweeper plugin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpctune.storage.reader import read_experiment

pytest.importorskip("hydra")

APP = """
import logging, os, time
import hydra
from hydra.core.hydra_config import HydraConfig
from helper import score
log = logging.getLogger(__name__)

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    log.info("lr is %s", cfg.lr)
    with open(os.path.join(HydraConfig.get().runtime.output_dir, "out.txt"), "w") as file:
        file.write(str(score(cfg)))
    time.sleep(cfg.pause)
    if cfg.lr == 13:
        raise ValueError("an unlucky rate")
    return score(cfg)

if __name__ == "__main__":
    main()
"""
HELPER = "def score(cfg):\n    return cfg.lr * cfg.width + (1 if cfg.db.name == 'pg' else 0)\n"
CONFIG = """
defaults: [{db: mysql}, _self_]
lr: 0.1
width: 3
pause: 0
text: a
model: {depth: 1}
"""
OPTUNA = """
# @package _global_
hydra:
  sweeper:
    storage: null
    study_name: null
    n_jobs: 2
    direction: maximize
    n_trials: 6
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 1234
      n_startup_trials: 10
      multivariate: true
    params:
      lr: tag(log, interval(0.0001, 0.1))
      width: choice(1, 2)
      model.depth: int(interval(1, 3))
"""
PRUNED = """
import hydra
import hpctune

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    for epoch in range(6):
        hpctune.report(loss=cfg.lr / (epoch + 1))

if __name__ == "__main__":
    main()
"""
LISTENER = """
from pathlib import Path
from hydra.experimental.callback import Callback

class Listener(Callback):
    def on_multirun_start(self, config, **kwargs):
        Path("heard.txt").open("a").write("start ")
    def on_job_end(self, config, job_return, **kwargs):
        Path("heard.txt").open("a").write(f"{job_return.status.name} ")
    def on_multirun_end(self, config, **kwargs):
        Path("heard.txt").open("a").write("end ")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, text in {
        "app.py": APP, "helper.py": HELPER, "pruned.py": PRUNED, "listener.py": LISTENER, "conf/config.yaml": CONFIG,
        "conf/db/mysql.yaml": "name: mysql\n", "conf/db/pg.yaml": "name: pg\n",
        "conf/hparams_search/app_optuna.yaml": OPTUNA,
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def command(*arguments: str, app: str = "app.py", sweeper: str = "hpctune") -> list[str]:
    ours = ["hydra.sweeper.cluster=local"] if sweeper == "hpctune" else []
    return [sys.executable, app, "-m", f"hydra/sweeper={sweeper}", *ours, "hydra.sweep.dir=out", *arguments]


def run(here: Path, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    words = command(*arguments, **options)
    return subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=120, check=False)


def outcome(here: Path, directory: str = "out") -> list[tuple[str, ...]]:
    """What each job has left in its directory: its overrides, its score."""
    found = []
    for job in sorted((here / directory).glob("[0-9]*"), key=lambda path: int(path.name)):
        assert (job / "app.log").read_text()
        overrides = (job / ".hydra" / "overrides.yaml").read_text()
        found.append((overrides, (job / ".hydra" / "config.yaml").read_text(), (job / "out.txt").read_text()))
    return found


def trials(here: Path) -> list[list[dict[str, Any]]]:
    paths = sorted((here / "out" / "hpctune").glob("*/result.json"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


def test_a_grid_is_that_of_hydra(here: Path) -> None:
    words = ("lr=0.1,2", "db=glob(*)", "+new=b", "text=choice('x y')", "model.depth=5")
    done = run(here, *words, "hydra.sweeper.direction=minimize")
    assert done.returncode == 0, done.stderr
    spec = read_experiment(here / "out" / "hpctune").state.spec
    assert (spec.metric, spec.mode) == ("value", "min")  # so that hpctune best needs no options
    theirs = run(here, *words, "hydra.sweep.dir=theirs", sweeper="basic")
    assert theirs.returncode == 0, theirs.stderr
    assert len(outcome(here)) == 4
    assert outcome(here) == outcome(here, "theirs")
    assert (here / "out" / "multirun.yaml").exists()
    assert "best_value: 0.3" in (here / "out" / "optimization_results.yaml").read_text()


def test_a_configuration_for_optuna(here: Path) -> None:
    done = run(here, "+hparams_search=app_optuna", "hydra.sweep.subdir=${hydra.job.num}")
    assert done.returncode == 0, done.stderr
    rows = trials(here)
    assert len(rows) == 6
    for (row,) in rows:
        config = row["config"]
        assert set(config) == {"lr", "width", "model.depth"}
        assert 0.0001 <= config["lr"] <= 0.1
        assert config["model.depth"] in (1, 2, 3)
        assert row["value"] == pytest.approx(config["lr"] * config["width"])
    best = max(row["value"] for (row,) in rows)
    assert f"best_value: {best}" in (here / "out" / "optimization_results.yaml").read_text()


@pytest.mark.parametrize("search", ["grid", "samples"])
def test_several_directions(here: Path, search: str) -> None:
    import yaml

    (here / "two.py").write_text(
        APP[: APP.index("@hydra")] + "@hydra.main(config_path='conf', config_name='config', version_base='1.3')\n"
        "def main(cfg):\n    return cfg.lr, cfg.lr * cfg.width\nmain()\n"
    )
    words = (
        ["lr=1,2", "width=1,3"] if search == "grid" else ["lr=interval(1,2)", "width=1,3", "hydra.sweeper.n_trials=3"]
    )
    both = "hydra.sweeper.direction=[minimize,maximize]"
    done = run(here, *words, both, "hydra.sweeper.metric=[cost,gain]", app="two.py")
    assert done.returncode == 0, done.stderr
    assert len(trials(here)) == (4 if search == "grid" else 3)
    found = yaml.safe_load((here / "out" / "optimization_results.yaml").read_text())["solutions"]
    for one in found:
        assert one["values"] == [one["params"]["lr"], one["params"]["lr"] * one["params"]["width"]]
    if search == "grid":
        assert [one["values"] for one in found] == [[1, 3], [2, 6]]


def test_a_failed_trial_does_not_end_the_sweep(here: Path) -> None:
    callbacks = "+hydra.callbacks.mine._target_=listener.Listener"
    done = run(here, "lr=13,1", callbacks, "hydra.sweeper.n_jobs=1")
    assert done.returncode == 0, done.stderr
    assert "an unlucky rate" in done.stdout + done.stderr
    assert (here / "heard.txt").read_text() == "start FAILED COMPLETED end "
    done = run(here, "lr=13,1", "hydra.sweeper.resume=true", "hydra.sweeper.max_failure_rate=0.2")
    assert done.returncode == 1
    assert "1 of 2 trials failed" in done.stderr


def test_pruning_by_reports(here: Path) -> None:
    options = ("hydra.sweeper.metric=loss", "hydra.sweeper.n_jobs=1")
    scheduler = "hydra.sweeper.scheduler={name: asha, max_t: 6, grace_period: 2, reduction_factor: 2}"
    done = run(here, "lr=1,2,3", scheduler, *options, "hydra.sweeper.slurm={partition: a}", app="pruned.py")
    assert "hydra.sweeper.slurm has no effect" in done.stdout
    assert done.returncode == 0, done.stderr
    assert [len(rows) for rows in trials(here)] == [6, 2, 2]


def test_a_killed_driver_goes_on(here: Path) -> None:
    words = ("lr=1,2,3", "pause=0.5", "hydra.sweeper.n_jobs=1")
    driver = subprocess.Popen(command(*words), cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (here / "out" / "1").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    refused = run(here, *words)
    assert refused.returncode == 1
    assert "hydra.sweeper.resume=true" in refused.stderr
    done = run(here, *words, "hydra.sweeper.resume=true")
    assert done.returncode == 0, done.stderr
    assert [float(each[2]) for each in outcome(here)] == [3.0, 6.0, 9.0]
    assert [row["value"] for (row,) in trials(here)] == [3.0, 6.0, 9.0]


def test_what_cannot_be_is_said_before_the_first_job(here: Path) -> None:
    done = run(here, "lr=interval(0,1)", "hydra.sweeper.sampler=grid")
    assert done.returncode == 1
    assert done.stderr.startswith("lr is an interval")  # without a traceback
    done = run(here, "nothing=a,b")
    assert done.returncode == 1
    assert "Could not override 'nothing'" in done.stderr
    assert not (here / "out" / "hpctune").exists()

"""Workers that stay, on this machine, as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.cluster.options import LocalOptions
from hpctune.errors import UsageError
from hpctune.model import events as e
from hpctune.storage import journal


def run(tmp_path: Path, trainable: Any, config: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """The last result of each trial, in the order of their suggestion."""
    options.setdefault("workers", 1)
    cluster = options.pop("cluster", LocalOptions(cpus=2, gpus=0))
    analysis = tune.run(
        trainable, name="exp", config=config, storage_path=tmp_path, cluster=cluster, verbose=0, **options
    )
    return [dict(trial.last_result) for trial in analysis.trials]


def worker_dirs(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "exp" / "workers").iterdir())


def whoami(config: dict[str, Any]) -> None:
    print("hello from", config["x"])
    tune.report({"x": config["x"], "pid_": os.getpid(), "parent": os.getppid()})


def test_one_worker_takes_all_trials_in_processes_of_their_own(tmp_path: Path) -> None:
    rows = run(tmp_path, whoami, {"x": tune.grid_search([1, 2, 3])})
    assert [r["x"] for r in rows] == [1, 2, 3]
    assert len({r["pid_"] for r in rows}) == 3
    assert len({r["parent"] for r in rows}) == 1
    said = sorted(p.read_text() for p in (tmp_path / "exp").glob("*/stdout") if "workers" not in str(p))
    assert said == ["hello from 1\n", "hello from 2\n", "hello from 3\n"]
    assert worker_dirs(tmp_path) == ["w0001"]


def test_reuse_actors_alone_takes_as_many_workers_as_find_room(tmp_path: Path) -> None:
    rows = run(tmp_path, whoami, {"x": tune.grid_search([*range(6)])}, workers=None, reuse_actors=True)
    assert len(rows) == 6
    assert worker_dirs(tmp_path) == ["w0001", "w0002"]


def test_a_fresh_interpreter_for_each_trial(tmp_path: Path) -> None:
    cluster = LocalOptions(cpus=2, gpus=0, start_method="spawn")
    rows = run(tmp_path, whoami, {"x": tune.grid_search([1, 2])}, cluster=cluster)
    assert len({r["pid_"] for r in rows}) == 2
    assert len({r["parent"] for r in rows}) == 1


MODULE = """
import os, random
from pathlib import Path
import numpy
with open(Path(__file__).with_name("imports"), "a") as file:
    file.write(f"{os.getpid()}\\n")
SEED
def train(config):
    import hpctune as tune
    tune.report({"a": random.random(), "b": float(numpy.random.rand())})
"""
SCRIPT = """
import sys; sys.path.insert(0, PLACE)
import hpctune as tune, fancy
tune.run(fancy.train, name="exp", config={"x": tune.grid_search([1, 2, 3])}, storage_path=PLACE, verbose=0,
         cluster=tune.LocalOptions(cpus=2, gpus=0, workers=1))
"""


@pytest.mark.parametrize(("seed", "different"), [("", 3), ("random.seed(1); numpy.random.seed(1)", 1)])
def test_user_code_is_imported_once_and_random_numbers_are_as_in_a_process_of_ones_own(
    tmp_path: Path, seed: str, different: int
) -> None:
    (tmp_path / "fancy.py").write_text(MODULE.replace("SEED", seed))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("PLACE", repr(str(tmp_path))))
    subprocess.run([sys.executable, str(script)], check=True, timeout=60, cwd=tmp_path)
    imports = (tmp_path / "imports").read_text().split()
    assert len(imports) == 2, "once in the driver, once in the worker"
    rows = [json.loads(p.read_text()) for p in (tmp_path / "exp").glob("*/result.json")]
    assert len({r["a"] for r in rows}) == len({r["b"] for r in rows}) == different


def test_a_trial_may_run_an_experiment_of_its_own(tmp_path: Path) -> None:
    def inner(config: dict[str, Any]) -> None:
        tune.report({"seen": 10 * config["y"]})

    def outer(config: dict[str, Any]) -> None:
        grid = {"y": tune.grid_search([1, config["x"]])}
        analysis = tune.run(inner, name="inner", config=grid, storage_path=config["place"], cluster="debug", verbose=0)
        tune.report({"seen": [trial.last_result["seen"] for trial in analysis.trials]})

    place = tmp_path / "inside"
    (row,) = run(tmp_path, outer, {"x": 7, "place": str(place)})
    assert row["seen"] == [10, 70]


def test_small_trials_side_by_side_in_one_worker(tmp_path: Path) -> None:
    def meets(config: dict[str, Any]) -> None:
        side = Path(config["side"])
        (side / str(config["x"])).touch()
        while len(list(side.iterdir())) < 4:
            pass
        devices = os.environ["CUDA_VISIBLE_DEVICES"]
        tune.report({"x": config["x"], "devices": devices, "threads": os.environ["OMP_NUM_THREADS"]})

    side = tmp_path / "side"
    side.mkdir()
    rows = run(
        tmp_path,
        meets,
        {"x": tune.grid_search([0, 1, 2, 3]), "side": str(side)},
        cluster=LocalOptions(cpus=4, gpus=["7"]),
        resources_per_trial={"cpu": 1, "gpu": 0.25},
    )
    assert {r["devices"] for r in rows} == {"7"}
    assert {r["threads"] for r in rows} == {"1"}
    assert worker_dirs(tmp_path) == ["w0001"]


def test_resources_that_depend_on_the_configuration(tmp_path: Path) -> None:
    trainable = tune.with_resources(whoami, lambda config: {"cpu": config["x"]})
    rows = run(tmp_path, trainable, {"x": tune.grid_search([1, 2, 1])}, workers=2)
    assert [r["x"] for r in rows] == [1, 2, 1]


class Steps(tune.Trainable):
    """Takes other configurations in place, but for those that say no."""

    made = 0

    def setup(self, config: dict[str, Any]) -> None:
        type(self).made += 1
        self.x, self.total = config["x"], 0

    def step(self) -> dict[str, Any]:
        self.total += self.x
        return {"total": self.total, "made": self.made, "pid_": os.getpid(), "where": self.logdir}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"total": self.total}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.total = checkpoint["total"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if new_config["x"] < 0:
            return False
        self.x, self.total = new_config["x"], 0
        return True


def test_reset_config_takes_the_next_trial_in_place(tmp_path: Path) -> None:
    rows = run(
        tmp_path,
        Steps,
        {"x": tune.grid_search([1, 2, -3, 4])},
        stop={"training_iteration": 3},
        checkpoint_at_end=True,
    )
    assert [r["total"] for r in rows] == [3, 6, -9, 12]
    assert [r["training_iteration"] for r in rows] == [3, 3, 3, 3]
    assert [r["made"] for r in rows] == [1, 1, 1, 1]
    pids = [r["pid_"] for r in rows]
    assert (pids[0] == pids[1], pids[2] == pids[3], pids[1] == pids[2]) == (True, True, False)
    assert len({r["where"] for r in rows}) == 4
    assert len(list((tmp_path / "exp").glob("*/checkpoint_000003"))) == 4


def test_a_paused_trial_goes_on_in_a_held_allocation(tmp_path: Path) -> None:
    """Rungs at 1, 2 and 4: who is promoted asks for no new job."""
    scheduler = tune.schedulers.ASHAScheduler(metric="total", mode="max", max_t=4, grace_period=1, reduction_factor=2)
    rows = run(tmp_path, Steps, {"x": tune.grid_search([*range(8)])}, scheduler=scheduler, workers=2)
    assert len(rows) == 8
    assert worker_dirs(tmp_path) == ["w0001", "w0002"]


def test_a_trial_that_takes_over_anothers_state_does_so_in_a_held_allocation(tmp_path: Path) -> None:
    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        metric="total",
        mode="max",
        perturbation_interval=2,
        hyperparam_mutations={"x": tune.uniform(0, 1)},
        synch=True,  # however late one of the workers is
    )
    space = {"x": tune.grid_search([0.1, 0.2, 0.8, 0.9])}
    cluster = LocalOptions(cpus=4, gpus=0)
    run(tmp_path, Steps, space, scheduler=scheduler, stop={"training_iteration": 12}, cluster=cluster, workers=4)
    facts = [recorded.event for recorded in journal.read(tmp_path / "exp" / "journal")]
    assert any(isinstance(fact, e.ExploitRequested) for fact in facts)
    assert sum(isinstance(fact, e.RunStarted) for fact in facts) > 4
    assert worker_dirs(tmp_path) == ["w0001", "w0002", "w0003", "w0004"]


@pytest.mark.parametrize("workers", [0, -1, "many", 1.5])
def test_bad_numbers_of_workers(tmp_path: Path, workers: Any) -> None:
    with pytest.raises(UsageError, match="workers"):
        run(tmp_path, whoami, {"x": 1}, workers=workers)

"""Searches in YAML, TOML and JSON, and the Python that they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.errors import ConfigFileError
from hpctune.interop import declared
from hpctune.space import choice, grid_search, lograndint, loguniform, qloguniform, quniform, randint, randn, uniform
from hpctune.stopper import TrialTargetStopper, split_stop
from hpctune.tuner import Tuner

FULL = """
command: python train.py --lr {lr}
parameters:
  lr: log:1e-4..1e-1
  wd: 1e-4
  width: [16, 32]
  depth: {randint: [1, 5]}
  model:
    kind: {choice: [cnn, rnn]}
    drop: {quniform: {lower: 0, upper: 1, q: 0.1}}
    layers: {value: [1, 2]}
  optimizer: adam
metric: val_acc
mode: max
parse: 'acc ([0-9.]+)'
num_samples: 7
search_alg: {name: tpe, n_initial_points: 3}
scheduler: {name: asha, max_t: 27}
stop: {val_acc: 0.99}
time_budget: 2h
budget: 200gpuh
max_concurrent: 5
seed: 3
name: mine
storage_path: results
cwd: trial
env: {OMP_NUM_THREADS: 1}
resources: {cpu: 2, memory: 1GiB}
cluster: slurm
workers: 4
slurm: {partition: gpu, time: 2h, setup: [module load cuda]}
checkpoint: {num_to_keep: 2}
failure: {max_failures: 3}
log_to_file: true
verbose: 1
"""


def search(tmp_path: Path, text: str, suffix: str = ".yaml") -> Any:
    path = tmp_path / f"search{suffix}"
    path.write_text(text)
    return declared.search_of(declared.read(path), path)


def test_machines_that_are_reached_by_ssh(tmp_path: Path) -> None:
    text = "command: ./train\nparameters: {x: [1, 2]}\nssh: {hosts: [ws1, {host: ws2, gpus: 1}], lost_after_s: 60}\n"
    tuner = search(tmp_path, text).tuner()
    machines = SshOptions(hosts=["ws1", Workstation(host="ws2", gpus=1)], lost_after_s=60)
    assert tuner._cluster == machines
    with pytest.raises(ConfigFileError, match="ssh has no 'host'"):
        search(tmp_path, "command: ./train\nssh: {host: ws1}\n").tuner()


def test_every_key_has_its_effect(tmp_path: Path) -> None:
    found = search(tmp_path, FULL)
    assert set(declared.read(tmp_path / "search.yaml")) | {
        "trials",
        "grid",
        "style",
        "callbacks",
        "share_with_group",
        "ssh",
    } == {*declared.KEYS}
    assert found.space == {
        "lr": loguniform(1e-4, 1e-1),
        "wd": 1e-4,
        "width": choice([16, 32]),
        "depth": randint(1, 5),
        "model": {"kind": choice(["cnn", "rnn"]), "drop": quniform(0, 1, 0.1), "layers": [1, 2]},
        "optimizer": "adam",
    }
    tuner = found.tuner()
    assert isinstance(tuner, Tuner)
    config, run = tuner._tune, tuner._run
    assert (config.metric, config.mode, config.num_samples, config.time_budget_s) == ("val_acc", "max", 7, 7200)
    assert (config.max_concurrent_trials, config.budget) == (5, "200gpuh")
    assert type(config.search_alg).__name__ == "TPESearch"
    assert (type(config.scheduler).__name__, config.scheduler.max_t) == ("AsyncHyperBandScheduler", 27)
    assert (run.name, run.storage_path, run.stop, run.verbose, run.log_to_file) == (
        "mine", "results", {"val_acc": 0.99}, 1, True,
    )  # fmt: skip
    assert run.checkpoint_config.num_to_keep == 2
    assert run.failure_config.max_failures == 3
    assert found.resources == {"cpu": 2, "memory": 2**30}
    assert (tuner._slurm.partition, tuner._slurm.workers, tuner._cluster) == ("gpu", 4, "slurm")


def test_the_python_that_it_means_makes_the_same(tmp_path: Path) -> None:
    found = search(tmp_path, FULL)
    text = found.source("A search.")
    scope: dict[str, Any] = {}
    exec(text, scope)
    again, tuner = scope["tuner"], found.tuner()
    assert again._param_space == tuner._param_space
    assert repr(again._tune).partition("search_alg")[0] == repr(tuner._tune).partition("search_alg")[0]
    assert text.startswith('"""A search."""\n\nimport hpctune as tune\n')
    assert '"lr": tune.loguniform(0.0001, 0.1)' in text


@pytest.mark.parametrize(
    "domain",
    [
        uniform(0, 1), quniform(0, 1, 0.25), loguniform(1e-4, 1), qloguniform(1, 8, 1), randn(0, 2), randint(1, 4),
        lograndint(1, 9), choice([1, "a", None, [1]]), grid_search([1, 2]), {"a": {"b": uniform(0, 1)}}, "it's \"q\"\n",
    ],
)  # fmt: skip
def test_each_domain_as_python(domain: Any) -> None:
    import hpctune
    from hpctune.interop.command_search import CommandSearch

    text = CommandSearch("true", space={"x": domain}).source("x")
    scope: dict[str, Any] = {"hpctune": hpctune}
    exec(text, scope)
    assert scope["tuner"]._param_space == {"x": domain}


def test_toml_and_json(tmp_path: Path) -> None:
    toml = 'command = "python train.py"\nmetric = "loss"\n[parameters]\nlr = "log:1e-4..1e-1"\nn = [1, 2]\n'
    data = {"command": "python train.py", "metric": "loss", "parameters": {"lr": "log:1e-4..1e-1", "n": [1, 2]}}
    (tmp_path / "train.py").touch()
    made = [search(tmp_path, toml, ".toml"), search(tmp_path, json.dumps(data), ".json")]
    assert made[0] == made[1]
    assert made[0].command == "python train.py --lr {lr} --n {n}"
    assert made[0].cwd == str(tmp_path)
    assert made[0].samples == 20


def test_nested_parameters_are_passed_one_by_one(tmp_path: Path) -> None:
    text = "command: ./solve\nparameters: {model: {depth: [1, 2], sizes: {value: [3, 4]}}, lr: 1}\n"
    assert search(tmp_path, text).command == (
        "./solve --model.depth {model/depth} --model.sizes {model/sizes} --lr {lr}"
    )  # fmt: skip
    (tmp_path / "train.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--model_depth')\n"
    )
    text = "command: python train.py\nparameters: {model: {depth: [1, 2]}}\n"
    assert search(tmp_path, text).command == "python train.py --model_depth {model/depth}"


@pytest.mark.parametrize("mode", ["", "mode: max\n"])
def test_a_threshold_of_a_minimized_metric_is_one_to_come_down_to(tmp_path: Path, mode: str) -> None:
    text = (
        "command: ./run\nparameters: {lr: [1, 2]}\nmetric: val/loss\nstop: {val: {loss: 0.1}, training_iteration: 9}\n"
    )
    criteria, stopper = split_stop(search(tmp_path, text + mode).tuner()._run.stop)
    if mode:
        assert (criteria, stopper) == ({"val/loss": 0.1, "training_iteration": 9}, None)
    else:
        assert criteria == {"training_iteration": 9}
        assert isinstance(stopper, TrialTargetStopper)
        assert (stopper.metric, stopper.value, stopper.mode) == ("val/loss", 0.1, "min")


def test_listed_trials_and_grids(tmp_path: Path) -> None:
    found = search(tmp_path, "command: x\ntrials:\n- {lr: 0.1, n: 1}\n- {lr: 0.2, n: 1}\n")
    assert found.samples == 2
    assert found.space == {"lr": choice([0.1, 0.2]), "n": 1}
    assert found.tuner()._tune.search_alg.points_to_evaluate == [{"lr": 0.1, "n": 1}, {"lr": 0.2, "n": 1}]
    found = search(tmp_path, "command: x\ngrid: true\nparameters: {a: [1, 2], b: [3, 4]}\n")
    assert found.space == {"a": grid_search([1, 2]), "b": grid_search([3, 4])}
    assert found.samples == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters: {lr: 1}", "no 'command'"),
        ("command: x\nparamters: {}", "Did you mean 'parameters'"),
        ("command: x\nnum_samples: many", "num_samples cannot be 'many'"),
        ("command: x\nnum_samples: true", "num_samples cannot be True"),
        ("command: x\nmode: best", "mode cannot be 'best'"),
        ("command: x\nverbose: 5", "verbose cannot be 5"),
        ("command: x\nslurm: {partitoin: gpu}", "Did you mean 'partition'"),
        ("command: x\nscheduler: {max_t: 3}", "scheduler cannot be"),
        ("command: x\nparameters: {lr: 1..x}", "parameters: lr: '1..x' is not a range"),
        (
            "command: x\nparameters: {lr: {logunifrom: [0.1, 1]}}",
            "lr: no domain is called 'logunifrom'. Did you mean",
        ),
        ("command: x\nparameters: {lr: {choise: [1, 2]}}", "no domain is called 'choise'. Did you mean 'choice'"),
        ("command: x\nparameters: {lr: {uniform: [2, 1]}}", "uniform"),
        ("command: x\ntime_budget: soon", "time_budget cannot be 'soon'"),
        ("command: x\ntrials: []", "trials must be a list"),
        ("command: x\ncommand: y", "'command' occurs twice"),
        ("command: [x\n", "line 2"),
        ("- 1", "must contain keys"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        search(tmp_path, text)
    assert said in str(caught.value)
    assert "search.yaml" in str(caught.value)


def test_the_schema_accepts_what_the_program_accepts() -> None:
    made = declared.schema()
    assert set(made["properties"]) == set(declared.KEYS)
    assert "partition" in made["properties"]["slurm"]["properties"]
    assert json.loads(json.dumps(made)) == made

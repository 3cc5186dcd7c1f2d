"""Sweep configurations of W&B: what they mean here, and what is said where they mean nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import ConfigFileError
from hpctune.interop import declared, wandb_sweep
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.wandb_space import grid_of, space_of
from hpctune.interop.yaml import load
from hpctune.space import (
    choice,
    loguniform,
    qlograndint,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from hpctune.space.distributions import Beta, LogNormal, weighted_choice
from hpctune.tuner import Tuner

BAYES = """
program: train.py
method: bayes
project: vision
name: lr and size
metric: {name: val/acc, goal: maximize, target: 0.99}
run_cap: 30
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
parameters:
  optimizer.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  batch_size: {distribution: q_log_uniform_values, q: 8, min: 32, max: 256}
  optimizer: {values: [adam, sgd]}
  epochs: {value: 20}
"""
NESTED_GRID = """
method: grid
program: scripts/run.py
command:
  - ${env}
  - CUDA_LAUNCH_BLOCKING=1
  - ${interpreter}
  - ${program}
  - --config
  - base.yaml
  - ${args_no_boolean_flags}
parameters:
  seed: {values: [1, 2, 2.0, 3]}
  augment: {values: [true, false]}
  model:
    parameters:
      width: {values: [16, 32]}
      head: {parameters: {drop: {value: 0.1}}}
  layers: {values: [[64], [64, 32]]}
"""
QUIRKS = """
method: random
program: train.py
metric: {name: loss}
parameters:
  lr: {distribution: uniform, values: [0.1, 0.01]}
  steps: {min: 1, max: 10}
  gamma: {min: 0, max: 1.0}
  beta: {distribution: int_uniform, min: 3, max: 3}
"""
WEIGHTED = """
method: random
program: a.py
metric: {name: loss, goal: minimize}
parameters:
  kind: {values: [a, b], probabilities: [1, 3]}
  drop: {distribution: beta, a: 2, b: 5}
  scale: {distribution: log_normal, mu: 1}
early_terminate: {type: hyperband, max_iter: 27, s: 2, eta: 3, strict: false}
"""
TORCHRUN = """
method: random
metric: {name: eval.loss, goal: minimize}
command: [torchrun, --nproc_per_node, "2", "${envvar:TRAIN}", "${args_no_hyphens}"]
parameters: {lr: {distribution: inv_log_uniform, min: 1, max: 2}}
"""


def search(tmp_path: Path, text: str) -> CommandSearch:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    data = declared.read(path)
    assert wandb_sweep.is_sweep(data)
    return wandb_sweep.search_of(data, path)


def test_a_bayesian_search(tmp_path: Path) -> None:
    found = search(tmp_path, BAYES)
    assert found.space == {
        "optimizer.lr": loguniform(1e-5, 1e-1),
        "batch_size": qlograndint(32, 256, 8),
        "optimizer": choice(["adam", "sgd"]),
        "epochs": 20,
    }
    assert (found.metric, found.mode, found.num_samples, found.search_alg) == ("val/acc", "max", 30, "tpe")
    assert found.scheduler == {"name": "wandb_hyperband", "min_iter": 3, "eta": 2}
    assert found.run["name"] == "lr_and_size"
    assert found.options["project"] == "vision"
    assert isinstance(found.tuner(), Tuner)
    source = found.source("What it means.")
    scope: dict[str, Any] = {}
    exec(source, scope)
    assert 'TargetStopper("val/acc", 0.99, "max")' in source
    assert isinstance(scope["tuner"], Tuner)


def test_a_grid_in_the_order_of_wandb(tmp_path: Path) -> None:
    found = search(tmp_path, NESTED_GRID)
    assert found.rows is not None
    assert len(found.rows) == found.samples == 3 * 2 * 2 * 2
    head = {"head": {"drop": 0.1}}
    assert found.rows[:3] == [
        {"augment": True, "layers": [64], "model": {**head, "width": 16}, "seed": 1},
        {"augment": True, "layers": [64], "model": {**head, "width": 16}, "seed": 2},
        {"augment": True, "layers": [64], "model": {**head, "width": 16}, "seed": 3},
    ]
    assert found.rows[3]["model"] == {**head, "width": 32}
    assert found.metric is None
    assert isinstance(found.tuner(), Tuner)
    program = ["${interpreter}", "scripts/run.py", "--config", "base.yaml", "${args_no_boolean_flags}"]
    assert found.command == ["${env}", "CUDA_LAUNCH_BLOCKING=1", *program]


def test_what_real_files_say_loosely(tmp_path: Path) -> None:
    assert search(tmp_path, QUIRKS).space == {
        "lr": choice([0.1, 0.01]),
        "steps": randint(1, 11),
        "gamma": uniform(0, 1),
        "beta": 3,
    }
    weighted = search(tmp_path, WEIGHTED)
    assert weighted.space == {
        "kind": weighted_choice(["a", "b"], [1, 3]),
        "drop": sample_from(Beta(2, 5)),
        "scale": sample_from(LogNormal(1, 1.0)),
    }
    exec(weighted.source("It."), {})
    torchrun = search(tmp_path, TORCHRUN)
    assert torchrun.space == {"lr": loguniform(math.exp(-2), math.exp(-1))}
    assert torchrun.metric == "eval.loss"


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ({"distribution": "log_uniform", "min": -2, "max": 0}, loguniform(math.exp(-2), 1.0)),
        ({"distribution": "uniform", "value": 0.25}, 0.25),
        ({"distribution": "int_uniform", "value": [4]}, 4),
        ({"distribution": "inv_log_uniform_values", "min": 0.1, "max": 1}, loguniform(0.1, 1)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, quniform(0, 1, 0.25)),
        ({"distribution": "q_uniform", "min": 1, "max": 10}, qrandint(1, 10, 1)),
        ({"distribution": "q_uniform", "min": 0.2, "max": 9.8, "q": 2.0}, qrandint(0, 10, 2)),
        ({"distribution": "q_log_uniform", "min": 0, "max": math.log(64)}, qlograndint(1, 64, 1)),
        ({"distribution": "q_log_uniform_values", "min": 0.001, "max": 30, "q": 10}, qlograndint(10, 30, 10)),
        ({"distribution": "normal"}, randn(0, 1)),
        ({"distribution": "q_normal", "mu": 3, "sigma": 2, "q": 0.5}, qrandn(3, 2, 0.5)),
        ({"distribution": "q_beta", "q": 0.1}, sample_from(Beta(1, 1, 0.1))),
        ({"distribution": "q_log_normal"}, sample_from(LogNormal(0, 1, 1))),
        ({"distribution": "constant", "value": {"a": 1}}, {"a": 1}),
        ({"values": ["one"]}, "one"),
        ({"min": 0.5, "max": 0.5}, 0.5),
    ],
)
def test_every_distribution(given: dict[str, Any], domain: Any) -> None:
    assert space_of({"x": given}) == {"x": domain}


def test_probabilities_hold() -> None:
    drawn = weighted_choice(["a", "b", "c"], [1, 3, 0]).sample(1, size=400)
    assert {*drawn} == {"a", "b"}
    assert 250 < drawn.count("b") < 350


def test_rounded_draws() -> None:
    for distribution, kind in ((Beta(2, 2, 0.25), float), (LogNormal(2, 1, 4), int)):
        drawn = sample_from(distribution).sample(1, size=50)
        assert all(isinstance(value, kind) and value % distribution.q == 0 for value in drawn)
        assert len({*drawn}) > 2


def test_a_grid_of_ranges_and_its_limit() -> None:
    ranges = {"b": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}, "a": {"min": 1, "max": 2}}
    assert grid_of(ranges) == [{"a": 1, "b": 0}, {"a": 1, "b": 0.5}, {"a": 2, "b": 0}, {"a": 2, "b": 0.5}]
    assert grid_of(ranges, 3) == grid_of(ranges)[:3]
    assert grid_of({"x": {"value": 1}}) == [{"x": 1}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "grdi"}, "method cannot be 'grdi'"),
        ({"metrics": {}}, "Did you mean 'metric'"),
        ({"job": "x"}, "W&B Launch"),
        ({"metric": None}, "needs a metric"),
        ({"metric": {"name": "x", "goal": "max"}}, "goal cannot be 'max'"),
        ({"metric": {"name": "x", "gaol": "minimize"}}, "metric has no 'gaol'"),
        ({"metric": {"name": "x", "target": "low"}}, "target must be a number"),
        ({"run_cap": 0}, "run_cap must be"),
        ({"early_terminate": {"type": "envelope"}}, "type: hyperband"),
        ({"early_terminate": {"type": "hyperband", "min_iters": 1}}, "Did you mean 'min_iter'"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate: Give min_iter"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 27}}, "early_terminate: max_iter needs s"),
        ({"command": "python train.py"}, "command must be a list"),
        ({"command": ["${programm}"]}, "command has ${programm}, which is no macro of W&B. Did you mean 'program'"),
        ({"command": ["${HOME}"]}, "A variable of the environment is ${envvar:HOME}"),
        ({"command": ["--lr", "${x}"], "parameters": {"x": {"value": 1}}}, "${args} gives all parameters"),
        ({"program": None}, "no 'program'"),
        ({"parameters": {"x": 3}}, "{value: 3}"),
        ({"parameters": {"x": [1, 2]}}, "{values: [1, 2]}"),
        ({"parameters": {"x": {"min": 1}}}, "has no values"),
        ({"parameters": {"x": {"distribution": "log_unifrom", "min": 1, "max": 2}}}, "Did you mean 'log_uniform'"),
        ({"parameters": {"x": {"distribution": "uniform", "min": 1}}}, "uniform needs max"),
        ({"parameters": {"x": {"distribution": "categorical", "value": [1]}}}, "categorical has no 'value'"),
        ({"parameters": {"x": {"min": 3, "max": 2}}}, "min 3 is greater than max 2"),
        ({"parameters": {"x": {"min": "a", "max": 2, "distribution": "uniform"}}}, "min must be a number"),
        ({"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 2}}}, "greater than 0"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [1]}}}, "weights"),
        ({"parameters": {"x": {"distribution": "int_uniform", "min": 0.5, "max": 2}}}, "whole numbers"),
        ({"parameters": {"x": {"parameters": {"y": {"values": 3}}}}}, "'x.y': values must be a list"),
        ({"method": "grid", "parameters": {"x": {"min": 0.0, "max": 1.0}}}, "which a grid cannot have"),
        ({"method": "grid", "parameters": {n: {"min": 1, "max": 99} for n in "abcd"}}, "Give run_cap"),
    ],
)
def test_bad_sweeps_are_refused(change: dict[str, Any], words: str) -> None:
    data = {
        "program": "train.py",
        "method": "bayes",
        "metric": {"name": "loss"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    with pytest.raises(ConfigFileError) as error:
        wandb_sweep.search_of(data | change, Path("sweep.yaml"))
    assert words in str(error.value)
    assert "sweep.yaml" in str(error.value)


def test_the_program_is_found_beside_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)
    data = {"program": "train.py", "method": "random", "parameters": {"x": {"value": 1}}}
    path = Path("sweeps/a.yaml")
    assert wandb_sweep.search_of(data, path).cwd == str(tmp_path)
    (tmp_path / "sweeps" / "train.py").touch()
    assert wandb_sweep.search_of(data, path).cwd == str(tmp_path / "sweeps")
    (tmp_path / "train.py").touch()
    assert wandb_sweep.search_of(data, path).cwd == str(tmp_path)


def test_the_grid_is_that_of_the_package_of_wandb(tmp_path: Path) -> None:
    sweeps = pytest.importorskip("sweeps.grid_search")
    for text in (NESTED_GRID, "method: grid\nparameters: {b: {min: 1, max: 3}, a: {values: [x, 1.5]}, c: {value: 2}}"):
        data = {key: each for key, each in load(text).items() if key in ("method", "parameters")}
        runs = [run for run in sweeps.grid_search_next_runs([], data, n=1000) if run is not None]
        theirs = [{name: each["value"] for name, each in run.config.items()} for run in runs]
        assert grid_of(data["parameters"]) == theirs


def test_a_sweep_whose_method_is_misspelled_is_still_one(tmp_path: Path) -> None:
    data = {"program": "t.py", "metod": "grid", "parameters": {"lr": {"values": [1]}}}
    assert wandb_sweep.is_sweep(data)
    with pytest.raises(ConfigFileError, match=r"unknown key 'metod'\. Did you mean 'method'"):
        wandb_sweep.search_of(data, tmp_path / "sweep.yaml")


def test_keys_that_w_and_b_warns_of_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = "x-rates: &rates [0.1, 0.2]\nprogram: train.py\nmethod: grid\n"
    found = search(tmp_path, f"{head}parameters: {{lr: {{values: *rates}}}}\n")
    assert found.rows == [{"lr": 0.1}, {"lr": 0.2}]
    assert "has no key 'x-rates': it has no effect" in caplog.text

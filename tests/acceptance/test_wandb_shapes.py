"""Sweeps of W&B as people have them in their repositories, each run unmodified, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpctune.cli.main import cli

WANDB_TRAIN = """
import argparse
import wandb

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", "--learning_rate", type=float, default=0.1)
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--use_bn", action="store_true")
    parser.add_argument("--model.depth", type=int, default=1, dest="depth")
    parser.add_argument("--config")
    args, rest = parser.parse_known_args()
    run = wandb.init(project="vision", config=args)
    for epoch in range(2):
        wandb.log({"train/loss": 1.0, "epoch": epoch}, step=epoch)
        wandb.log({"val/acc": args.lr * args.batch_size + args.depth + len(args.optimizer) + args.use_bn}, step=epoch)
    wandb.finish()

if __name__ == "__main__":
    main()
"""
WANDB = {
    "vision, with a program in a folder and switches": (
        """
program: src/train.py
method: grid
name: resnet sweep v2
metric: {goal: maximize, name: val/acc}
parameters:
  learning_rate: {values: [0.5]}
  batch_size: {value: 2}
  use_bn: {values: [True, False]}
command:
  - ${env}
  - python3
  - -u
  - ${program}
  - ${args_no_boolean_flags}
""",
        {(2, 0.5, True): 7.0, (2, 0.5, False): 6.0},
    ),
    "reinforcement learning, with seeds and options that the program does not know": (
        """
program: src/train.py
method: grid
metric: {name: val/acc, goal: maximize}
parameters:
  env: {values: [CartPole-v1, Acrobot-v1]}
  seed: {value: 3}
  lr: {value: 3e-4}
  total-timesteps: {value: 100000}
""",
        {(env, 3e-4, 3, 100000): 5.0003 for env in ("CartPole-v1", "Acrobot-v1")},
    ),
    "language, with a config file before the arguments, and names with dots": (
        """
program: src/train.py
method: grid
metric: {name: val/acc}
parameters:
  model.depth: {min: 2, max: 2}
command: ["${env}", "${interpreter}", "${program}", "--config", base.yaml, "--batch_size", 4, "${args}"]
""",
        {(2,): 6.4},
    ),
    "nested parameters, and a command without a program": (
        """
method: grid
metric: {name: val/acc}
parameters:
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
  layers: {values: [[64, 64]]}
command: [python3, -m, src.nested]
""",
        {("[64, 64]", "{'name': 'adam'}"): 132.0, ("[64, 64]", "{'name': 'sgd'}"): 131.0},
    ),
}
NESTED = """
import wandb
run = wandb.init(config={"layers": [1], "optimizer": {"name": "x"}, "epochs": 2}, reinit=True)
assert run.config.epochs == 2
wandb.log({"val/acc": sum(wandb.config["layers"]) + len(wandb.config.optimizer["name"])})
"""
AGENTS = {
    "the tutorial's: everything in the module, the configuration is built up": """
import wandb
sweep_config = {"method": "grid"}
sweep_config["metric"] = {"name": "val/acc", "goal": "maximize"}
parameters_dict = {"fc": {"values": [1, 2]}}
sweep_config["parameters"] = parameters_dict
parameters_dict.update({"epochs": {"value": 1}})
sweep_id = wandb.sweep(sweep_config, project="demo")

def train(config=None):
    with wandb.init(config=config):
        config = wandb.config
        for epoch in range(config.epochs):
            wandb.log({"val/acc": config.fc * 10, "epoch": epoch})

wandb.agent(sweep_id, train, count=2)
""",
    "arguments, a file with the configuration, functools.partial": """
import argparse, functools
import wandb, yaml

def objective(args):
    run = wandb.init(project=args.project, entity=args.entity)
    run.log({"val/acc": run.config.fc * 10})
    run.finish()

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", default="q")
    parser.add_argument("--entity")
    args = parser.parse_args()
    with open("agent.yaml") as file:
        sweep = yaml.safe_load(file)
    sweep_id = wandb.sweep(sweep=sweep, project=args.project, entity=args.entity)
    wandb.agent(sweep_id, function=functools.partial(objective, args), project=args.project)

if __name__ == "__main__":
    main()
""",
    "a method of an object": """
import wandb

class Trainer:
    def __init__(self):
        self.sweep = {"name": "s", "method": "grid", "metric": {"name": "val/acc"}, "parameters": {}}
        self.sweep["parameters"] = {"epochs": {"value": 1}, "fc": {"values": [1, 2]}}

    def run(self):
        wandb.init()
        wandb.log({"val/acc": wandb.config.fc * 10, "list": [1, 2]})

    def start(self):
        wandb.agent(wandb.sweep(self.sweep), self.run)

Trainer().start()
""",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")


def hpctune(*words: str) -> None:
    """Run the command in this process."""
    code = cli.main([*words, "--cluster", "debug", "--storage-path", "results", "-v", "0"], standalone_mode=False)
    assert not code


def results(name: str, metric: str) -> dict[tuple[Any, ...], float]:
    """The last value of the metric, by the values of the configuration."""
    last = [json.loads(path.read_text().splitlines()[-1]) for path in Path("results", name).glob("*/result.json")]
    return {tuple(map(_plain, row["config"].values())): pytest.approx(row[metric]) for row in last}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


@pytest.mark.parametrize(
    "shape", [next(iter(WANDB)), *(pytest.param(s, marks=pytest.mark.nightly) for s in [*WANDB][1:])]
)
def test_sweeps_of_wandb(tmp_path: Path, shape: str) -> None:
    text, expected = WANDB[shape]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(WANDB_TRAIN)
    (tmp_path / "src" / "nested.py").write_text(NESTED)
    (tmp_path / "sweep.yaml").write_text(text)
    hpctune("run", "sweep.yaml", "--name", "e")
    assert results("e", "val/acc") == expected


@pytest.mark.nightly
@pytest.mark.parametrize("shape", AGENTS)
def test_scripts_that_call_the_agent(tmp_path: Path, shape: str) -> None:
    (tmp_path / "agent.yaml").write_text(
        "method: grid\nmetric: {goal: maximize, name: val/acc}\n"
        "parameters: {fc: {values: [1, 2]}, epochs: {value: 1}}\n"
    )
    (tmp_path / "train.py").write_text(AGENTS[shape])
    hpctune("run", "train.py", "--name", "e")
    assert sorted(results("e", "val/acc").values(), key=lambda each: each.expected) == [10, 20]

"""`hpctune run` on sweeps of W&B as a user types it; tests/integrations has the same with the real package."""

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

TRAIN = """
import argparse, os, sys, time
import wandb
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--depth", type=int, default=1)
args = parser.parse_args()
run = wandb.init(config=vars(args), project="p")
os.makedirs(f"{os.environ['WANDB_DIR']}/wandb/offline-run-1-{run.id}", exist_ok=True)  # as the real one does
for epoch in range(6):
    wandb.log({"train": {"loss": 1.0}, "epoch": epoch}, commit=False)
    wandb.log({"val/loss": wandb.config.lr * wandb.config["depth"] / (epoch + 1)})
    time.sleep(float(os.environ.get("PAUSE", 0)))
wandb.run.summary["done"] = True
print("CONFIG", sorted(dict(wandb.config).items()), run.id)
wandb.finish()
"""
SWEEP = """
program: train.py
method: grid
name: first
metric: {name: val/loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.4]}
  depth: {min: 1, max: 2}
"""
AGENT = """
import sys
import wandb
config = {"method": "random", "metric": {"name": "acc", "goal": "maximize"},
          "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"values": [1, 2]}}}

def main():
    with wandb.init() as run:
        assert run.config.x == wandb.config["x"]
        run.log({"acc": run.config.x * run.config.n})

if __name__ == "__main__":
    sweep_id = wandb.sweep(sweep=config, project="mine")
    wandb.agent(sweep_id, function=main, count=3)
    wandb.Api().sweep("mine/" + sweep_id)  # needs a server, and a search that is over
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


def words(*arguments: str) -> list[str]:
    return ["hpctune", "run", *arguments, "--cluster", "local", "--storage-path", "results", "-v", "1"]


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | more


def run(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(*arguments), cwd=here, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def rows(here: Path, name: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The results of each trial, by its configuration."""
    found = {}
    for path in (here / "results" / name).glob("*/result.json"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if lines:
            found[tuple(lines[0]["config"].values())] = lines
    return found


@pytest.mark.nightly
def test_a_sweep_file_with_a_killed_driver(here: Path) -> None:
    driver = subprocess.Popen(
        words("sweep.yaml", "--max-concurrent", "2"), cwd=here, env=environment(PAUSE="0.2"), stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(rows(here, "first")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    _, said = driver.communicate()
    assert "val/loss (min), from what wandb.log gets" in said
    done = subprocess.run(
        ["hpctune", "resume", "results/first"], cwd=here, env=environment(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "wandb sync results/first/*/wandb/offline-run-*" in done.stderr.replace(f"{here}/", "")
    found = rows(here, "first")
    assert set(found) == {(depth, lr) for depth in (1, 2) for lr in (0.1, 0.2, 0.4)}
    for (depth, lr), lines in found.items():
        assert [row["val/loss"] for row in lines] == [lr * depth / (epoch + 1) for epoch in range(6)]
        assert [row["train.loss"] for row in lines] == [1.0] * 6
    starts = [path.name.split("_")[2] for path in sorted((here / "results" / "first").glob("train_*"))]
    assert starts == [f"{n:05d}" for n in range(6)]


@pytest.mark.nightly
def test_early_stopping(here: Path) -> None:
    text = SWEEP.replace("{min: 1, max: 2}", "{value: 1}") + "early_terminate: {type: hyperband, min_iter: 2, eta: 2}\n"
    (here / "sweep.yaml").write_text(text)
    done = run(here, "sweep.yaml", "--max-concurrent", "1")
    assert done.returncode == 0, done.stderr
    lengths = {lr: len(lines) for (_, lr), lines in rows(here, "first").items()}
    assert lengths == {0.1: 6, 0.2: 6, 0.4: 2}  # two of two are among the best half of W&B's rule, the third is not


def test_a_script_that_calls_the_agent(here: Path) -> None:
    done = run(here, "agent.py")
    assert done.returncode == 0, done.stderr
    assert "method random" in done.stderr
    found = rows(here, "agent")
    assert len(found) == 3
    assert all(line["acc"] == line["config"]["x"] * line["config"]["n"] for (line,) in found.values())
    assert "what stands behind it in the script does not run" in done.stderr
    done = run(here, "agent.py", "--param", "x=1,2")
    assert done.returncode == 2
    (here / "other.py").write_text("import wandb\nif False:\n    wandb.agent('a/b/c', function=print)\n")
    done = run(here, "other.py")
    assert (done.returncode, "before it called wandb.agent" in done.stderr) == (2, True), done.stderr
    (here / "other.py").write_text("import wandb\nwandb.agent('a/b/c', function=print)\n")
    done = run(here, "other.py")
    assert (done.returncode, "has not made" in done.stderr) == (2, True), done.stderr


SEVERAL = """
import wandb

def configuration(method):
    values = {"values": [1, 2]} if method == "grid" else {"min": 0.0, "max": 1.0}
    return {"method": method, "metric": {"name": "acc"}, "parameters": {"x": values}}

def main():
    with wandb.init() as run:
        run.log({"acc": run.config.x * factor})

factor = 1
first = wandb.sweep(configuration("grid"), project="mine")
wandb.agent(first, function=main)
for factor in (10, 100):
    identity = wandb.sweep(configuration("random"), project="mine")
    wandb.agent(identity, function=main, count=1)
    wandb.agent(identity, function=main, count=2)
wandb.Api().sweep("mine/" + identity)  # needs a server
"""


@pytest.mark.nightly
def test_a_script_with_several_sweeps(here: Path) -> None:
    (here / "several.py").write_text(SEVERAL)
    done = run(here, "several.py")
    assert done.returncode == 0, done.stderr
    for name, factor, count in (("several", 1, 2), ("several-2", 10, 3), ("several-4", 100, 3)):
        found = rows(here, name)
        assert len(found) == count, name
        assert all(line["acc"] == pytest.approx(factor * line["config"]["x"]) for (line,) in found.values())


def test_a_script_that_only_makes_a_sweep(here: Path) -> None:
    (here / "make.py").write_text(
        "import subprocess\nimport wandb, yaml\nwith open('sweep.yaml') as file:\n    config = yaml.safe_load(file)\n"
        "config['parameters']['lr'] = {'values': [0.5]}\nsweep_id = wandb.sweep(config, project='mine')\n"
        "subprocess.run(['wandb', 'agent', f'mine/{sweep_id}'], check=True)\n"
    )
    done = run(here, "make.py")
    assert done.returncode == 0, done.stderr
    assert set(rows(here, "first")) == {(1, 0.5), (2, 0.5)}


def test_options_that_contradict_the_file(here: Path) -> None:
    for options, said in ((("--grid",), "method"), (("--num-samples", "3"), "run_cap"), (("--param", "a=1"), "--set")):
        done = run(here, "sweep.yaml", *options)
        assert done.returncode == 2
        assert said in done.stderr
    assert not (here / "results").exists()


def test_the_python_that_it_means(here: Path) -> None:
    (here / "sweep.yaml").write_text(SWEEP.replace("[0.1, 0.2, 0.4]", "[0.1]"))
    done = subprocess.run(
        ["hpctune", "convert", "sweep.yaml", "-o", "sweep.py"], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    done = run(here, "sweep.py", "--name", "python")
    assert done.returncode == 0, done.stderr
    assert set(rows(here, "python")) == {(1, 0.1), (2, 0.1)}


RANKS = """
import os, subprocess, sys
if "RANK" in os.environ:
    import wandb
    wandb.init(mode="disabled" if os.environ["RANK"] != "0" else None)
    wandb.log({"loss": float(os.environ["RANK"])})
else:
    for rank in "10":
        subprocess.run([sys.executable, __file__], env={**os.environ, "RANK": rank}, check=True)
"""


def test_only_the_first_of_several_processes_reports(here: Path) -> None:
    (here / "train.py").write_text(RANKS)
    (here / "wandb" / "old-run").mkdir(parents=True)  # a directory of runs is no package
    (here / "s.yaml").write_text(
        "program: train.py\nmethod: random\nrun_cap: 1\nmetric: {name: loss}\ncommand: ['${env}', "
        f"'{sys.executable}', '${{program}}']\nparameters: {{a: {{value: 1}}}}\n"
    )
    done = run(here, "s.yaml")
    assert done.returncode == 0, done.stderr
    ((line,),) = rows(here, "s").values()
    assert line["loss"] == 0

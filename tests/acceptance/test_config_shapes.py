"""Searches in files without Python as people write them, each run in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.cli.main import cli

TRAIN = """
import argparse, json, os, sys

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--optimizer.lr", "--lr", dest="lr", type=float, default=0.1)
parser.add_argument("--optimizer.name", dest="name", default="sgd")
parser.add_argument("--layers", type=json.loads, default=[])
parser.add_argument("--width", type=int, default=int(os.environ.get("WIDTH", 1)))
parser.add_argument("--amp", action=argparse.BooleanOptionalAction)
args = parser.parse_args()
base = json.load(open(args.config))["base"] if args.config else 0
for epoch in range(1, 3):
    value = args.lr * args.width + len(args.layers) + len(args.name) + base + bool(args.amp)
    print(json.dumps({"epoch": epoch, "eval": {"val_loss": value / epoch}, "lr": args.lr}), file=sys.stderr)
"""
SHAPES: dict[str, tuple[str, str, list[float]]] = {
    "YAML, nested parameters and lists that are values": (
        "search.yaml",
        """
command: {python} train.py
parameters:
  optimizer: {{lr: [1, 2], name: {{value: adam}}}}
  layers: {{value: [16, 16]}}
  amp: {{grid_search: [true, false]}}
grid: true
metric: val_loss
""",
        [3.5, 4.0, 4.0, 4.5],
    ),
    "YAML with anchors, a folded command and numbers such as 1e0": (
        "search.yml",
        """
command: >
  {python} train.py
    --config base.json
parameters: &common
  lr: 1e0
  width: [2, 4]
grid: true
metric: val_loss
slurm: {{partition: gpu, time: 2h}}
""",
        [4.5, 5.5],
    ),
    "TOML with tables, and options in braces": (
        "search.toml",
        """
command = "WIDTH={{width}} {python} train.py --lr {{lr}}"
metric = "val_loss"
[[trials]]
lr = 1.0
width = 2
[[trials]]
lr = 2.0
width = 4
[failure]
max_failures = 1
""",
        [2.5, 5.5],
    ),
    "JSON with a scheduler and a stop": (
        "search.json",
        """
{{"command": ["{python}", "train.py", "--lr", "{{lr}}"], "parameters": {{"lr": [1, 3]}}, "grid": true,
  "metric": "val_loss", "scheduler": {{"name": "fifo"}}, "stop": {{"training_iteration": 2}}}}
""",
        [2.0, 3.0],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    name, text, expected = SHAPES[shape]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "base.json").write_text('{"base": 4}')
    (tmp_path / name).write_text(text.format(python=sys.executable))
    words = ["run", name, "--cluster", "debug", "--storage-path", "results", "--name", "e", "-v", "0"]
    assert not cli.main(words, standalone_mode=False)
    rows: list[dict[str, Any]] = [
        json.loads(path.read_text().splitlines()[-1]) for path in Path("results", "e").glob("*/result.json")
    ]
    assert sorted(row["val_loss"] for row in rows) == expected
    assert {row["epoch"] for row in rows} == {2}


def test_trials_that_lack_a_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.errors import ConfigFileError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "search.yaml").write_text(
        f"command: {sys.executable} train.py\ntrials: [{{lr: 1, width: 2}}, {{lr: 2}}]\nmetric: val_loss\n"
    )
    with pytest.raises(ConfigFileError, match="trial 2 has no 'width'"):
        cli.main(["run", "search.yaml", "--cluster", "debug", "--dry-run"], standalone_mode=False)

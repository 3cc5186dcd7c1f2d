"""Files of SEML, compared with what the package generates; its experiments, run without a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.interop.seml.experiment import experiment_of
from hpctune.interop.yaml import load
from tests.support.seml_files import FILES, HEAD

pytest.importorskip("seml")

TRAIN = """
import logging
from seml.experiment import Experiment

experiment = Experiment()

@experiment.config
def default():
    model = {"width": 1}
    data = "small"

@experiment.named_config
def big():
    data = "big"

@experiment.automain
def main(lr: float, model: dict, data: str, seed: int, _run):
    logging.info("seed %s", seed)
    for step in range(3):
        experiment.log_scalar("train.loss", 1.0, step)
        experiment.log_scalar("val.loss", lr * model["width"] / (step + 1), step)
    return {"acc": {"test": 1 - lr}, "data": data, "big": data == "big"}
"""
EXPERIMENT = """
seml: {executable: train.py, project_root_dir: .}
slurm: {sbatch_options: {mem: 1G}}
fixed: {model: {width: 2}}
grid:
  lr: {type: choice, options: [0.1, 0.2]}
  +data: {type: choice, options: [big, config/other.yaml]}
"""


def nested(row: dict[str, Any]) -> dict[str, Any]:
    """A configuration as SEML writes it."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        *outer, last = name.split(".")
        place = found
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_configurations_are_those_of_seml(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from seml.experiment.config import convert_values, generate_configs, read_config

    (tmp_path / "train.py").write_text("")
    path = tmp_path / "experiment.yaml"
    path.write_text(HEAD + FILES[name])
    _, _, content = read_config(str(path))
    assert convert_values("1e-5") == 1e-5
    theirs = list({json.dumps(each, sort_keys=True): each for each in generate_configs(content)}.values())
    rows = experiment_of(load(path.read_text()), path).search.rows or ()
    assert [json.dumps(nested(dict(row)), sort_keys=True) for row in rows] == [
        json.dumps(each, sort_keys=True) for each in theirs
    ]


def test_an_experiment_of_seml_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "other.yaml").write_text("data: other\nmodel: {width: 5}\n")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    words = ["--metric", "val.loss", "--cluster", "local", "--storage-path", "results", "-v", "1"]
    done = subprocess.run(
        ["hpctune", "run", "experiment.yaml", *words], cwd=tmp_path, capture_output=True, text=True, timeout=200,
        check=False, env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = [
        json.loads(path.read_text().splitlines()[-1])
        for path in (tmp_path / "results" / "experiment").glob("*/result.json")
    ]
    assert len(last) == 4
    for row in last:
        lr = row["config"]["lr"]
        assert row["val.loss"] == pytest.approx(lr * 2 / 3)  # what is set wins over a named configuration
        assert row["acc.test"] == 1 - lr
        assert row["big"] == (row["config"]["+data"] == "big")
        assert row["training_iteration"] == 4

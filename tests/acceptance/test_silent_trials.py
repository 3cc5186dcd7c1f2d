"""A search in which no trial reports anything is no success, whatever would use the results."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FUNCTION = """
import hpctune as tune


def train(config):
    loss = config["x"] ** 2


tuner = tune.Tuner(train, param_space={"x": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(%s))
"""
COMMAND = """
import hpctune as tune

program = tune.Command(["echo", "epoch 1: val={x}"], parse=r"loss=(?P<loss>[0-9.]+)")
tuner = tune.Tuner(program, param_space={"x": tune.uniform(0, 1)},
                   tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=8))
"""


@pytest.mark.parametrize(
    "script",
    [
        FUNCTION % 'metric="loss", mode="min", num_samples=8',
        FUNCTION % 'metric="loss", mode="min", num_samples=1',
        FUNCTION % 'metric="loss", mode="min", num_samples=8, scheduler="asha", search_alg="tpe"',
        FUNCTION % 'num_samples=8, scheduler=tune.schedulers.ASHAScheduler(metric="loss", mode="min")',
        COMMAND,
    ],
    ids=["function", "one trial", "asha and tpe", "a scheduler with its own metric", "command"],
)
def test_it_ends_with_an_error_that_says_what_to_do(script: str, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(script)
    command = ["hpctune", "run", "config.py", "--name", "n", "--cluster", "local", "--max-concurrent", "1", "-v", "0"]
    environ = {**os.environ, "TUNE_RESULT_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "without a result, and 'loss' is to be optimized" in done.stderr
    assert f"hpctune logs {tmp_path}/n " in done.stderr
    assert ("00000: the program reported nothing; its output has values of val." in done.stderr) == (script == COMMAND)
    assert len(list(tmp_path.glob("n/*/params.json"))) <= 3, "it stops after the first such trials"

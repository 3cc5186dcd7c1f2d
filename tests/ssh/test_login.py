"""A search on the login node behind a real sshd, from a laptop that shares nothing with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .lab import NAME, Laptop, Sshd

CONFIG = """
import time
import hpctune as tune
from helper import loss


def train(config):
    for step in range(1, 4):
        with tune.checkpoint_dir(step) as directory:
            with open(directory + "/state", "w") as file:
                file.write(str(step))
        tune.report({"loss": loss(config["x"], step)})


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([1.0, 2.0, 3.0])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
"""
HELPER = "def loss(x, step):\n    return (x - 2) ** 2 + 1 / step\n"


@pytest.fixture
def project(laptop: Laptop) -> Path:
    root = laptop.work / "project"
    root.mkdir()
    (root / "config.py").write_text(CONFIG)
    (root / "helper.py").write_text(HELPER)
    return root


def test_the_whole_session(laptop: Laptop, sshd: Sshd, project: Path) -> None:
    run = ("run", "project/config.py", "--on", NAME, "--cluster", "local", "--no-doctor", "--name", "first")
    refused = laptop.call(*run)
    assert refused.code == 2, refused
    assert "helper.py" in refused.err
    assert "--yes" in refused.err
    done = laptop.call(*run, "--yes")
    assert done.code == 0, done
    print(done)
    again = laptop.call(*run)
    assert again.code == 0, again
    print(again)
    for words in (
        ["status", "first"],
        ["list"],
        ["best", "first"],
        ["logs", "first", "0"],
        ["fsck", "first"],
        ["timeline", "first"],
    ):
        said = laptop.call(*words, "--on", NAME)
        assert said.code == 0, said
        print(said)
    fetched = laptop.call("fetch", "first", "--on", NAME)
    print(fetched)
    assert fetched.code == 0, fetched
    resumed = laptop.call("resume", "first", "--on", NAME)
    print(resumed)
    stopped = laptop.call("stop", "first", "--on", NAME)
    print(stopped)
    assert 0

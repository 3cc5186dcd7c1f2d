"""Scripts for KerasTuner as people have them, unmodified: its own trials, and the tuner is complete afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from hpctune.model.trial import Phase
from hpctune.storage.reader import read_experiment
from tests.support.cli_support import BIN

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (find_spec("keras_tuner") and find_spec("torch")), reason="KerasTuner or torch is missing"),
]

FUNCTION = """
import os, sys, time
os.environ["KERAS_BACKEND"] = "torch"
import keras_tuner

class Parabola(keras_tuner.engine.base_tuner.BaseTuner):
    def run_trial(self, trial, scale):
        x = trial.hyperparameters.Float("x", -2.0, 2.0)
        if trial.hyperparameters.Boolean("deep"):
            with trial.hyperparameters.conditional_scope("deep", [True]):
                x += trial.hyperparameters.Int("depth", 1, 5)
        with open("begun.txt", "a") as file:
            file.write(f"{trial.trial_id}\\n")
        time.sleep(float(os.environ.get("PAUSE", "0")))
        if os.environ.get("FAILS"):
            raise ValueError("no such weather")
        return {"score": scale * x * x}

if __name__ == "__main__":
    oracles = {"bayes": keras_tuner.oracles.BayesianOptimizationOracle, "grid": keras_tuner.oracles.GridSearchOracle,
               "random": keras_tuner.oracles.RandomSearchOracle}
    oracle = oracles[sys.argv[1]](keras_tuner.Objective("score", "min"), max_trials=6, seed=1)
    tuner = Parabola(oracle=oracle, directory="projects", project_name="parabola", overwrite=True)
    tuner.search(scale=2.0)
    for trial in tuner.oracle.trials.values():
        print("trial", trial.trial_id, trial.status, {k: float(v) for k, v in trial.hyperparameters.values.items()},
              float(trial.score))
    print("best", float(tuner.oracle.get_best_trials()[0].score), "remaining", tuner.remaining_trials)
"""
NETWORK = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras, keras_tuner
import numpy as np

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype("int32")

class Net(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(hp.Int("units", 4, 16)),
                                  keras.layers.Dense(2, activation="softmax")])
        model.compile(keras.optimizers.SGD(hp.Choice("lr", [0.1, 0.01])), "sparse_categorical_crossentropy",
                      metrics=["accuracy"])
        return model

first = keras_tuner.RandomSearch(Net(), "val_loss", max_trials=2, seed=1, directory="projects", project_name="first")
first.search(x, y, epochs=1, validation_split=0.5, verbose=0)
units = first.get_best_hyperparameters()[0]["units"]
second = keras_tuner.Hyperband(Net(), "val_accuracy", max_epochs=2, factor=2, seed=2, directory="projects",
                               project_name="second")
second.search(x, y, validation_split=0.5, callbacks=[keras.callbacks.EarlyStopping(patience=1)])
trials = second.oracle.trials.values()
went_on = [t for t in trials if "tuner/trial_id" in t.hyperparameters.values]
print("went on:", len(went_on) > 0, "units", units in range(4, 17))
print("model:", len(second.get_best_models()[0].predict(x, verbose=0)))
"""


def run(
    tmp_path: Path, text: str, *options: str, args: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "search.py").write_text(text)
    command = [BIN, "run", "search.py", "--cluster", "local", "--storage-path", "results", *options, "--", *args]
    return subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False, env={**os.environ, **env}
    )


def trials(output: str) -> list[str]:
    return re.findall(r"^(?:trial \d|best ).*$", output, re.MULTILINE)


@pytest.mark.parametrize("oracle", ["bayes", "grid", "random"])
def test_one_after_another_the_trials_are_its_own(oracle: str, tmp_path: Path) -> None:
    done = run(tmp_path, FUNCTION, "--max-concurrent", "1", args=(oracle,))
    assert done.returncode == 0, done.stderr
    (tmp_path / "plain").mkdir()
    plain = subprocess.run(
        [sys.executable, tmp_path / "search.py", oracle],
        cwd=tmp_path / "plain",
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(trials(done.stdout)) == 7
    assert trials(done.stdout) == trials(plain.stdout)
    found = next(read_experiment(path).state.trials for path in (tmp_path / "results").iterdir())
    assert {trial.phase for trial in found.values()} == {Phase.TERMINATED}
    assert min(trial.last["score"] for trial in found.values()) == float(trials(plain.stdout)[-1].split()[1])


@pytest.mark.parametrize("how", ["the script", "hpctune resume"])
def test_a_killed_driver_loses_nothing(how: str, tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(FUNCTION)
    command = [BIN, "run", "search.py", "--cluster", "local", "--storage-path", "results", "--name", "mine"]
    with subprocess.Popen(
        [*command, "--", "random"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PAUSE": "1"},
    ) as driver:  # fmt: skip
        begun, deadline = tmp_path / "begun.txt", time.monotonic() + 200
        while not (begun.exists() and len(begun.read_text().splitlines()) >= 3):
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.1)
        driver.send_signal(signal.SIGKILL)
    if how == "the script":
        done = run(tmp_path, FUNCTION, "--name", "mine", "--resume", args=("random",))
        assert "remaining 0" in done.stdout
        assert len(trials(done.stdout)) == 7
    else:
        words = [BIN, "resume", "results/mine"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    found = read_experiment(tmp_path / "results" / "mine").state.trials
    assert [trial.phase for trial in found.values()] == [Phase.TERMINATED] * 6
    assert len(list((tmp_path / "projects" / "parabola").glob("trial_*/trial.json"))) == 6


def test_trials_that_fail_end_the_search_as_there(tmp_path: Path) -> None:
    done = run(tmp_path, FUNCTION, "--max-concurrent", "1", args=("random",), FAILS="1")
    assert done.returncode == 1
    assert "ValueError: no such weather" in done.stderr + done.stdout
    assert "best" not in trials(done.stdout)


def test_networks_with_two_searches_and_hyperbands_checkpoints(tmp_path: Path) -> None:
    done = run(tmp_path, NETWORK)
    assert done.returncode == 0, done.stderr
    assert "went on: True units True" in done.stdout
    assert "model: 64" in done.stdout
    names = sorted(path.name.partition("_")[0] for path in (tmp_path / "results").iterdir())
    assert names == ["first", "second-2"]


def test_what_does_not_go_with_a_tuner_is_said_before_anything_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, FUNCTION, "--set", "x=1", args=("random",))
    assert done.returncode == 2
    assert "--set x=... has nothing to replace" in done.stderr
    assert not (tmp_path / "results").exists()

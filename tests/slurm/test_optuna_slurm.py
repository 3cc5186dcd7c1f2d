"""An Optuna script on Slurm: a requeued job keeps its parameters, and a killed driver loses no trial."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from hpctune.model.trial import Phase
from hpctune.storage.reader import read_experiment

from .cluster import SlurmCluster, wait_for

optuna = pytest.importorskip("optuna")
SCRIPT = """
import os, time
import optuna

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    with open("runs.txt", "a") as file:
        print(trial.number, x, kind, os.environ["SLURM_JOB_ID"], file=file, flush=True)
    for step in range(200):
        trial.report(x + 1 / (step + 1), step)
        if os.path.exists("go"):
            break
        time.sleep(0.1)
    return x

study = optuna.create_study(study_name="s", storage="sqlite:///study.db", load_if_exists=True)
study.optimize(objective, n_trials=6, n_jobs=4)
print(len(study.trials), {t.state.name for t in study.trials})
"""


@pytest.mark.nightly
def test_a_requeue_and_a_killed_driver(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "search.py").write_text(SCRIPT)
    words = (
        "hpctune",
        "run",
        "search.py",
        "--cluster",
        "slurm",
        "--storage-path",
        "results",
        "--name",
        "exp",
        "-v",
        "1",
    )
    driver = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    experiment, runs = tmp_path / "results" / "exp", tmp_path / "runs.txt"

    def lines() -> list[list[str]]:
        return [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []

    wait_for(lambda: len(lines()) >= 4, 90, "four trials")
    requeued = lines()[0]
    subprocess.run(["scontrol", "requeue", requeued[3]], check=True)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    (tmp_path / "go").touch()
    done = subprocess.run([*words, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 {'COMPLETE'}" in done.stdout
    again = [line for line in lines() if line[0] == requeued[0]]
    assert len(again) == 2
    assert again[0][1:3] == again[1][1:3]
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db").trials
    assert {(str(t.number), str(t.params["x"]), t.params["kind"]) for t in stored} == {tuple(n[:3]) for n in lines()}
    assert all(trial.intermediate_values for trial in stored)
    assert read_experiment(experiment).state.phases[Phase.TERMINATED] == 6

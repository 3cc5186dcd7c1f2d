"""scikit-learn's search in joblib's backend on Slurm, with a job that is requeued."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .cluster import SlurmCluster, wait_for

pytest.importorskip("sklearn")
SEARCH = """
import os, time
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from hpctune.sklearn import register_hpctune

class Slow(LogisticRegression):
    def fit(self, X, y):
        with open("fits.txt", "a") as file:
            file.write(f"{self.C}\\n")
        while not os.path.exists("go"):
            time.sleep(0.1)
        return super().fit(X, y)

if __name__ == "__main__":
    X, y = load_iris(return_X_y=True)
    slurm = {"partition": "scavenge", "time": 5, "mem": "300M"}
    search = GridSearchCV(Slow(max_iter=500), {"C": [0.01, 0.1, 1.0]}, cv=2, n_jobs=-1)
    register_hpctune()
    with joblib.parallel_backend("hpctune", slurm=slurm, name="e", storage_path="results", verbosity=0):
        search.fit(X, y)
    print([round(score, 6) for score in search.cv_results_["mean_test_score"]], search.best_params_)
"""


def _started(tmp_path: Path, text: str = SEARCH) -> subprocess.Popen[str]:
    (tmp_path / "search.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "search.py"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _fits(tmp_path: Path) -> list[str]:
    path = tmp_path / "fits.txt"
    return path.read_text().splitlines() if path.exists() else []


def _plain(tmp_path: Path) -> str:
    """What scikit-learn prints without us."""
    text = SEARCH[: SEARCH.index("    slurm =")].replace("from hpctune", "#")
    text += "    search = GridSearchCV(Slow(max_iter=500), {'C': [0.01, 0.1, 1.0]}, cv=2).fit(X, y)\n"
    text += SEARCH[SEARCH.index("    print(") :]
    (tmp_path / "plain.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "plain.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.nightly
def test_an_unmodified_search_with_a_requeued_job(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    search = _started(tmp_path)
    wait_for(lambda: len(_fits(tmp_path)) >= 4, 120, "four fits")
    requeued = next(job.id for job in slurm_cluster.squeue() if job.state == "RUNNING")
    subprocess.run(["scontrol", "requeue", requeued], check=True)
    wait_for(lambda: slurm_cluster.state(requeued) == "PENDING", 60, "the job to leave its node")
    (tmp_path / "go").touch()
    out, said = search.communicate(timeout=200)
    assert search.returncode == 0, said
    assert len(_fits(tmp_path)) > 6 + 1  # each fold of a candidate, the best on all data, and what began again
    assert out == _plain(tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["backend", "class"])
def test_the_same_script_finishes_a_search_whose_driver_was_killed(
    tmp_path: Path, slurm_cluster: SlurmCluster, how: str
) -> None:
    text = SEARCH if how == "backend" else _with_our_class()
    search = _started(tmp_path, text)
    wait_for(lambda: len(_fits(tmp_path)) >= 2, 120, "two fits")
    search.kill()
    search.communicate()
    (tmp_path / "go").touch()
    again = _started(tmp_path, text)
    out, said = again.communicate(timeout=200)
    assert again.returncode == 0, said
    assert "it goes on" in said
    assert len(list((tmp_path / "results").glob("e*"))) == 1
    assert len(_fits(tmp_path)) <= 6 + 1  # nothing is fitted twice; the best one on all data
    assert out == _plain(tmp_path)


def _with_our_class() -> str:
    """The search by our own class in place of joblib's backend."""
    begin, end = SEARCH.index("    search = GridSearchCV"), SEARCH.index("    print(")
    ours = (
        "    from hpctune.sklearn import TuneGridSearchCV\n"
        "    grid = {'C': [0.01, 0.1, 1.0]}\n"
        "    search = TuneGridSearchCV(Slow(max_iter=500), grid, cv=2, slurm=slurm, name='e', storage_path='results')\n"
        "    search.fit(X, y)\n"
    )
    return SEARCH[:begin] + ours + SEARCH[end:]

"""FailureConfig on this machine: trials that hang, experiments whose trials all fail alike, a canary."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import UsageError

pytestmark = pytest.mark.timeout(120)


def run(train: Any, tmp_path: Path, *, samples: int = 4, **failure: Any) -> Any:
    return tune.run(
        train,
        config={"mark": str(tmp_path / "mark"), "x": tune.uniform(0, 1)},
        num_samples=samples,
        failure_config=tune.FailureConfig(**failure),
        cluster=tune.LocalOptions(cpus=2, kill_wait_s=2),
        storage_path=str(tmp_path / "results"),
        raise_on_failed_trial=False,
        verbose=0,
    )


def lives(pid: int) -> bool:
    """Whether the process runs; one that has ended may not have been reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_trial_that_hangs_is_killed_and_goes_on(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        checkpoint = tune.get_checkpoint()
        start = int((Path(checkpoint.path) / "i").read_text()) + 1 if checkpoint is not None else 0
        for i in range(start, 4):
            with tune.checkpoint_dir(i) as directory:
                (Path(directory) / "i").write_text(str(i))
            tune.report(i=i, pid=os.getpid())
            if i == 1 and start == 0:
                Path(config["mark"]).write_text(str(os.getpid()))
                time.sleep(1000)

    analysis = run(train, tmp_path, samples=1, report_timeout_s=3.0, max_failures=1)
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED"
    assert [row["i"] for row in analysis.trial_dataframes[trial.path].to_dict("records")] == [0, 1, 2, 3]
    assert "has not reported for" in (Path(trial.path) / "error.txt").read_text()
    hung = int((tmp_path / "mark").read_text())
    deadline = time.monotonic() + 30
    while lives(hung):
        assert time.monotonic() < deadline, "the hung process lives on"
        time.sleep(0.1)


def test_the_same_error_ends_the_experiment_early(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        raise ValueError(f"bad value {config['x']}")

    analysis = run(train, tmp_path, samples=50, same_error_limit=3)
    failed = [trial for trial in analysis.trials if trial.status == "ERROR"]
    assert 3 <= len(failed) <= 6, "those that were under way may fail as well"
    assert len(analysis.trials) < 50


def test_only_the_canary_fails(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        raise ValueError("bad")

    analysis = run(train, tmp_path, samples=50, canary=True)
    assert [trial.status for trial in analysis.trials] == ["ERROR"]


def test_a_canary_that_lives_lets_the_others_in(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, float]:
        return {"x": config["x"]}

    analysis = run(train, tmp_path, samples=4, canary=True)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 4


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None: ...

    with pytest.raises(UsageError, match="With failure_config, set max_failures and fail_fast in it"):
        tune.run(train, max_failures=2, failure_config=tune.FailureConfig(canary=True))
    with pytest.raises(UsageError, match="state their memory"):
        run(train, tmp_path, grow_memory=2.0)
    slurm = tune.SlurmOptions(partition="main")
    with pytest.raises(UsageError, match="needs a time limit"):
        tune.run(train, failure_config=tune.FailureConfig(grow_time=2.0), cluster=slurm, storage_path=str(tmp_path))

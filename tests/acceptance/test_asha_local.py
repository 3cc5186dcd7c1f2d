"""ASHA on this machine: cheap functions that report faster than any poll stop exactly at their rungs all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.schedulers import ASHAScheduler

RUNGS = {1, 3, 9}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheduler", ["asha", ASHAScheduler(max_t=9, reduction_factor=3)], ids=["name", "object"])
def test_stopped_trials_end_at_rungs(scheduler: Any, tmp_path: Path) -> None:
    def cheap(config: dict[str, Any]) -> None:
        for i in range(1, 2000):
            tune.report(loss=config["x"] + 1.0 / i)

    by_name = scheduler == "asha"
    analysis = tune.run(
        cheap,
        config={"x": tune.grid_search([0.5, 0.4, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3])},
        metric="loss",
        mode="min",
        scheduler=scheduler,
        stop={"training_iteration": 16} if by_name else None,
        cluster=tune.LocalOptions(cpus=2),
        storage_path=str(tmp_path),
        verbose=0,
    )
    rungs = {1, 4, 16} if by_name else RUNGS
    lengths = {trial.config["x"]: len(analysis.trial_dataframes[trial.path]) for trial in analysis.trials}
    assert set(lengths.values()) <= rungs, lengths
    assert lengths[0.1] == max(rungs)
    assert min(lengths.values()) < max(rungs), "nothing was stopped"

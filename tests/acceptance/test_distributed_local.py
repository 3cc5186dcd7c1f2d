"""Searches whose trials have several processes, on this machine: changed resources, and exploits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.integration.tensorflow import DistributedTrainableCreator
from hpctune.model import events as e
from hpctune.schedulers import DistributeResources, PopulationBasedTraining, ResourceChangingScheduler
from hpctune.storage import journal

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(180)]


def counting(config: dict[str, Any]) -> None:
    """Counts on from its checkpoint: ``steps``, or until there are more processes than at first."""
    import time

    import hpctune as tune

    checkpoint = tune.get_checkpoint()
    start, sizes = 0, []
    if checkpoint is not None:
        state = json.loads(Path(checkpoint.path, "state").read_text())
        start, sizes = state["step"], state["sizes"]
    size = tune.get_context().get_world_size()
    for step in range(start + 1, (start + 2 if size > 2 else config["steps"]) + 1):
        sizes.append(size)
        with tune.checkpoint_dir(step) as directory:
            Path(directory, "state").write_text(json.dumps({"step": step, "sizes": sizes}))
        tune.report(step=step, sizes=sizes)
        time.sleep(0.1)


def test_the_number_of_processes_follows_the_resources(tmp_path: Path) -> None:
    analysis = tune.run(
        DistributedTrainableCreator(counting, num_workers=2),
        name="e",
        config={"steps": tune.grid_search([1, 500])},
        scheduler=ResourceChangingScheduler(
            resources_allocation_function=DistributeResources(add_bundles=True), total_resources={"CPU": 4}
        ),
        cluster=tune.LocalOptions(cpus=4),
        storage_path=str(tmp_path),
        verbose=0,
    )
    (long,) = (trial for trial in analysis.trials if trial.config["steps"] == 500)
    sizes = long.last_result["sizes"]
    assert long.last_result["step"] == len(sizes)
    assert sizes == sorted(sizes)
    assert sizes[-2:] == [4, 4]


def climbing(config: dict[str, Any]) -> None:
    """The score is the sum of the rates of all steps."""
    import hpctune as tune

    checkpoint = tune.get_checkpoint()
    rates = json.loads(Path(checkpoint.path, "rates").read_text()) if checkpoint is not None else []
    while len(rates) < 10:
        rates.append(config["rate"])
        with tune.checkpoint_dir(len(rates)) as directory:
            Path(directory, "rates").write_text(json.dumps(rates))
        tune.report(score=sum(rates), rates=rates)


def test_population_based_training(tmp_path: Path) -> None:
    analysis = tune.run(
        DistributedTrainableCreator(climbing, num_workers=2),
        name="e",
        config={"rate": tune.grid_search([0.0, 0.0, 4.0, 5.0])},
        metric="score",
        mode="max",
        scheduler=PopulationBasedTraining(
            "training_iteration", perturbation_interval=4, synch=True, hyperparam_mutations={"rate": [4.0, 5.0]}
        ),
        cluster=tune.LocalOptions(cpus=4),
        storage_path=str(tmp_path),
        verbose=0,
    )
    exploits = [r.event for r in journal.read(tmp_path / "e" / "journal") if isinstance(r.event, e.ExploitRequested)]
    assert exploits
    for trial in analysis.trials:
        rates = trial.last_result["rates"]
        assert len(rates) == 10
        assert trial.last_result["score"] == sum(rates)
        assert rates[0] > 0 or trial.trial_id not in {event.trial_id for event in exploits}, "not the donor's state"

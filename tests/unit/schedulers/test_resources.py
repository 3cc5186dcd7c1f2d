"""ResourceChangingScheduler: who gets what, as Ray Tune gives it, and what a change does to the trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.change import changed
from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Reallocate, Stop
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.model.trial import Trial
from hpctune.schedulers import create_scheduler
from hpctune.schedulers.async_hyperband import ASHAScheduler
from hpctune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
    ResourceChangingScheduler,
    evenly_distribute_cpus_gpus,
)

TRACES = json.loads((Path(__file__).parents[2] / "traces" / "resources.json").read_text())


def trial(index: int, resources: Any = None, **fields: Any) -> Trial:
    parsed = Resources.parse(resources or {"cpu": 1})
    return Trial(f"t{index}", index, f"t{index}", f"t{index}", "", {}, {}, parsed, 0.0, **fields)


def row(iteration: int = 1, **values: Any) -> dict[str, Any]:
    return {"training_iteration": iteration, **values}


def bundles(resources: Resources) -> list[dict[str, float]]:
    return [{"CPU": b.cpus, "GPU": b.gpus} for b in resources.bundles]


@pytest.mark.parametrize("case", TRACES["cases"], ids=[str(i) for i in range(len(TRACES["cases"]))])
def test_each_gets_what_ray_gives(case: dict[str, Any]) -> None:
    kind = DistributeResourcesToTopJob if case["top"] else DistributeResources
    allocate: Any = kind(case["add_bundles"], case["increase_by"], case["times"])
    if case["top"]:
        allocate.metric, allocate.mode = "loss", "min"
    scheduler = ResourceChangingScheduler(resources_allocation_function=allocate, total_resources=case["total"])
    base, trials = Resources.parse(PlacementGroupFactory([case["base"]])), []
    for index, one in enumerate(case["trials"]):
        scheduler.on_trial_add(trial(index, base))
        now = Resources.parse(PlacementGroupFactory(one["bundles"]))
        trials.append(changed(trial(index, now), last={"loss": one["loss"]}))
        scheduler._note(trials[-1])
    who = trials[case["who"]]
    decision = scheduler.on_trial_result(who, row())
    given = decision.resources if isinstance(decision, Reallocate) else who.resources
    assert bundles(given) == case["given"]


def test_what_ended_trials_had_goes_to_the_others() -> None:
    """The footprint is what four trials had at first: it never grows."""
    scheduler = ResourceChangingScheduler(resources_allocation_function=DistributeResources())
    trials = [trial(i, {"cpu": 2}) for i in range(4)]
    for t in trials:
        scheduler.on_trial_add(t)
    assert scheduler.on_trial_result(trials[0], row()) == CONTINUE
    scheduler.on_trial_complete(trials[3], row())
    scheduler.on_trial_error(trials[2])
    first = scheduler.on_trial_result(trials[0], row())
    assert isinstance(first, Reallocate)
    assert first.resources.cpus == 4.0
    second = scheduler.on_trial_result(trials[1], row())
    assert isinstance(second, Reallocate)
    assert second.resources.cpus == 4.0
    assert scheduler.on_trial_result(changed(trials[0], resources=first.resources), row(2)) == CONTINUE
    assert "2 of 2" in scheduler.debug_string()


def test_memory_and_other_resources_stay() -> None:
    asked = {"cpu": 2, "memory": 2**30, "custom_resources": {"license": 1}}
    scheduler = ResourceChangingScheduler(total_resources={"CPU": 8})
    scheduler.on_trial_add(trial(0, asked))
    decision = scheduler.on_trial_result(trial(0, asked), row())
    assert isinstance(decision, Reallocate)
    (bundle,) = decision.resources.bundles
    assert (bundle.cpus, bundle.memory_bytes, bundle.custom) == (8.0, 2**30, {"license": 1.0})


def test_the_base_scheduler_decides_first() -> None:
    scheduler = ResourceChangingScheduler(
        ASHAScheduler(max_t=4, metric="loss", mode="min"), total_resources={"CPU": 9}
    ).fresh()
    t = trial(0)
    scheduler.on_trial_add(t)
    assert (scheduler.metric, scheduler.mode, scheduler.time_attr) == ("loss", "min", "training_iteration")
    assert scheduler.milestone(t) == 1.0
    assert isinstance(scheduler.on_trial_result(t, row(4, loss=1.0)), Stop)


def test_the_last_result_moves_nothing() -> None:
    scheduler = ResourceChangingScheduler(total_resources={"CPU": 9})
    scheduler.on_trial_add(trial(0))
    assert scheduler.on_trial_result(trial(0), row(done=True)) == CONTINUE


def test_a_function_of_ones_own() -> None:
    seen = []

    def allocate(experiment: Any, t: Trial, result: Any, scheduler: Any) -> Any:
        seen.append((len(experiment.get_live_trials()), experiment.total.cpus, result["training_iteration"]))
        return {"cpu": 3} if result["training_iteration"] == 2 else None

    scheduler = ResourceChangingScheduler(resources_allocation_function=allocate)
    scheduler.on_trial_add(trial(0))
    scheduler.on_trial_add(trial(1))
    assert scheduler.on_trial_result(trial(0), row(1)) == CONTINUE
    decision = scheduler.on_trial_result(trial(0), row(2))
    assert isinstance(decision, Reallocate)
    assert decision.resources == Resources.parse({"cpu": 3})
    assert seen == [(2, 2.0, 1), (2, 2.0, 2)]


def test_the_function_of_rays_example_asks_by_these_names() -> None:
    def allocate(controller: Any, t: Trial, result: Any, scheduler: Any) -> Any:
        first = scheduler._base_trial_resources.required_resources["CPU"]
        total = controller._resource_updater.get_num_cpus()
        return PlacementGroupFactory([{"CPU": max(first, total // len(controller.get_live_trials()))}])

    scheduler = ResourceChangingScheduler(resources_allocation_function=allocate)
    scheduler.on_trial_add(trial(0))
    scheduler.on_trial_add(trial(1))
    assert scheduler.on_trial_result(trial(0), row(1)) == CONTINUE
    scheduler.on_trial_complete(trial(1), row(1))
    decision = scheduler.on_trial_result(trial(0), row(2))
    assert isinstance(decision, Reallocate)
    assert decision.resources == Resources.parse({"cpu": 2})


def test_a_fresh_copy_shares_nothing() -> None:
    scheduler = ResourceChangingScheduler()
    scheduler.on_trial_add(trial(0))
    again = scheduler.fresh()
    again.on_trial_add(trial(7))
    assert (list(scheduler._live), list(again._live)) == (["t0"], ["t7"])


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="increase_by must be a dict"):
        DistributeResources(increase_by={"TPU": 1})
    with pytest.raises(UsageError, match="some CPU or GPU"):
        DistributeResources(increase_by={"CPU": 0})
    with pytest.raises(UsageError, match="total_resources"):
        ResourceChangingScheduler(total_resources={"CPU": "many"})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="must be callable"):
        ResourceChangingScheduler(resources_allocation_function=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mode must be"):
        DistributeResourcesToTopJob(mode="best")
    scheduler = ResourceChangingScheduler(resources_allocation_function=DistributeResourcesToTopJob())
    scheduler.on_trial_add(trial(0))
    with pytest.raises(UsageError, match="no metric"):
        scheduler.on_trial_result(trial(0), row())
    wide = PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])
    scheduler = ResourceChangingScheduler()
    scheduler.on_trial_add(trial(0, wide))
    with pytest.raises(UsageError, match="add_bundles=True"):
        scheduler.on_trial_result(trial(0, wide), row())


def test_by_name() -> None:
    made: Any = create_scheduler("resource_changing", resources_allocation_function=evenly_distribute_cpus_gpus)
    assert isinstance(made, ResourceChangingScheduler)

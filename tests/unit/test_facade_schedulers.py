"""Schedulers by name and by class: some work, the others say that they do not yet."""

from __future__ import annotations

from importlib import import_module

import pytest

from hpctune import schedulers
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.schedulers import FIFOScheduler, as_scheduler, create_scheduler

LATER = [
    ("hb_bohb", "HyperBandForBOHB"),
    ("hyperband", "HyperBandScheduler"),
    ("pb2", "PB2"),
    ("pbt", "PopulationBasedTraining"),
    ("pbt", "PopulationBasedTrainingReplay"),
    ("resource_changing_scheduler", "DistributeResources"),
    ("resource_changing_scheduler", "DistributeResourcesToTopJob"),
    ("resource_changing_scheduler", "ResourceChangingScheduler"),
    ("resource_changing_scheduler", "evenly_distribute_cpus_gpus"),
    ("trial_scheduler", "TrialScheduler"),
]


@pytest.mark.parametrize(("module", "name"), LATER)
def test_schedulers_to_come_import_and_say_so(module: str, name: str) -> None:
    found = getattr(import_module(f"hpctune.schedulers.{module}"), name)
    assert getattr(schedulers, name) is found
    with pytest.raises(NotYetSupportedError, match="not supported"):
        found(metric="loss", mode="min")


def test_fifo_by_every_way() -> None:
    assert isinstance(create_scheduler("fifo"), FIFOScheduler)
    assert isinstance(create_scheduler("FIFO", metric="loss", mode="min"), FIFOScheduler)
    assert isinstance(as_scheduler(None, "loss", "min"), FIFOScheduler)
    own = FIFOScheduler()
    assert as_scheduler(own, "loss", "min") is own


@pytest.mark.parametrize("name", ["hyperband", "pbt", "pbt_replay", "pb2", "hb_bohb", "resource_changing"])
def test_names_to_come(name: str) -> None:
    with pytest.raises(NotYetSupportedError, match=name):
        create_scheduler(name)


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(UsageError, match="fifo"):
        create_scheduler("best")
    with pytest.raises(UsageError, match="max_t"):
        create_scheduler("fifo", max_t=3)


@pytest.mark.parametrize("bad", [FIFOScheduler, 3, object()])
def test_what_is_no_scheduler(bad: object) -> None:
    with pytest.raises(UsageError, match="scheduler="):
        as_scheduler(bad, None, None)


class Optimizing(FIFOScheduler):
    metric: str | None = None

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        if self.metric is not None:
            return False
        self.metric = metric
        return True


def test_metric_and_mode_are_handed_on_once() -> None:
    scheduler = Optimizing()
    assert as_scheduler(scheduler, "loss", "min") is scheduler
    assert scheduler.metric == "loss"
    with pytest.raises(UsageError, match="of its own"):
        as_scheduler(scheduler, "other", "min")
    as_scheduler(scheduler, None, None)


def test_unknown_attributes() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = schedulers.Nothing
    assert "PB2" in dir(schedulers)

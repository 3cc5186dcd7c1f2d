"""Schedulers by name, by class, and of one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune import schedulers
from hpctune.errors import UsageError
from hpctune.launch.objectives import notes_on_scheduler
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Trial
from hpctune.schedulers import FIFOScheduler, TrialScheduler, as_scheduler, create_scheduler
from hpctune.search import as_search_algorithm

NAMES = [
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


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_names_and_modules_are_those_of_ray(module: str, name: str) -> None:
    found = getattr(import_module(f"hpctune.schedulers.{module}"), name)
    assert getattr(schedulers, name) is found


def test_one_by_name_does_not_import_all() -> None:
    code = (
        "import sys; from hpctune.schedulers import create_scheduler; create_scheduler('asha'); "
        "print([m for m in sys.modules if m.startswith('hpctune.schedulers.')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "async_hyperband" in told
    assert not any(name in told for name in ("pb2", "pbt", ".hyperband'", "median", "resource"))


def test_fifo_by_every_way() -> None:
    assert isinstance(create_scheduler("fifo"), FIFOScheduler)
    assert isinstance(create_scheduler("FIFO", metric="loss", mode="min"), FIFOScheduler)
    assert isinstance(as_scheduler(None, "loss", "min"), FIFOScheduler)
    own = FIFOScheduler()
    assert as_scheduler(own, "loss", "min") is own


def test_a_population_without_end_has_no_rounds(tmp_path: Path) -> None:
    """It would never decide: said before anything is made."""

    def run(num_samples: int) -> None:
        scheduler = schedulers.PopulationBasedTraining(hyperparam_mutations={"x": [1, 2]}, synch=True)
        hpctune.run(
            lambda config: {"loss": 1.0}, config={"x": 1}, scheduler=scheduler, metric="loss", mode="min", name="exp",
            num_samples=num_samples, storage_path=tmp_path, cluster="debug", verbose=0,
        )  # fmt: skip

    with pytest.raises(UsageError, match=r"PopulationBasedTraining\(synch=True\) decides when every trial"):
        run(-1)
    assert list(tmp_path.iterdir()) == []
    run(2)


def test_what_a_name_needs() -> None:
    with pytest.raises(UsageError, match="'pbt_replay' needs policy_file"):
        create_scheduler("pbt_replay")


def test_unknown_names_and_arguments(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="fifo"):
        create_scheduler("best")
    assert type(create_scheduler("fifo", max_t=3)) is FIFOScheduler
    assert "has no argument 'max_t', which is ignored" in caplog.text


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


# -- schedulers of one's own, under Ray's name ------------------------------------------------------------------------


class Own(TrialScheduler):
    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        return TrialScheduler.STOP if row["loss"] > 1 else TrialScheduler.CONTINUE


def test_the_words_of_ray_are_decisions() -> None:
    own = as_scheduler(Own(), None, None)
    assert own.on_trial_result(None, {"loss": 2.0}) == Stop("stopped by its scheduler")  # type: ignore[arg-type]
    assert own.on_trial_result(None, {"loss": 0.0}) == CONTINUE  # type: ignore[arg-type]
    assert Pause("paused by its scheduler") == TrialScheduler.PAUSE
    assert TrialScheduler.NOOP == CONTINUE


def test_a_method_that_fits_neither_form_is_refused_when_it_is_defined() -> None:
    with pytest.raises(UsageError, match=r"takes 4 arguments.*\(trial, row\).*\(controller, trial, result\)"):

        class Odd(TrialScheduler):
            def on_trial_result(self, a: Any, b: Any, c: Any, d: Any) -> Any:
                return "CONTINUE"


@pytest.mark.parametrize(
    ("searcher", "told"),
    [(None, "BasicVariantGenerator"), ("hyperopt", "HyperOptSearch"), ("bohb", None), ("limited", None)],
)
def test_the_scheduler_of_bohb_without_its_searcher_is_told(searcher: str | None, told: str | None) -> None:
    from hpctune.search import ConcurrencyLimiter, create_searcher

    algorithm: Any = as_search_algorithm(
        ConcurrencyLimiter(create_searcher("bohb"), 2) if searcher == "limited" else searcher
    )
    scheduler = create_scheduler("hb_bohb", metric="loss", mode="min")
    notes = notes_on_scheduler(scheduler, [("loss", "min")], algorithm)
    assert [f"The searcher of this search is {told}," in note for note in notes] == ([] if told is None else [True])

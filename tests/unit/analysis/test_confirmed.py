"""Whether the best is the best: intervals, and what the command says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.analysis.confirmed import Confirmed, confirmed, t_quantile, verdict
from hpctune.analysis.page.data import experiment_data
from hpctune.schedulers import (
    ASHAPromotionScheduler,
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from tests.support.cli_support import hpctune


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 4, 2.77645), (0.975, 30, 2.04227), (0.95, 10, 1.81246)],
)
def test_quantiles_of_students_distribution(share: float, freedom: float, expected: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(expected, rel=1e-4)


def test_the_interval_and_the_verdict(tmp_path: Path) -> None:
    tune.run(lambda config: {"a": 1}, name="e", storage_path=tmp_path, verbose=0, cluster="local", num_samples=2)
    first, second = read_experiment(tmp_path / "e").state.trials.values()

    def made(trial: Any, *values: float) -> Confirmed:
        return Confirmed(trial, 0.5, values, len(values))

    one = made(first, 0.90, 0.91, 0.92)
    assert (one.mean, one.half_width) == (pytest.approx(0.91), pytest.approx(4.30265 * 0.01 / 3**0.5, rel=1e-4))
    assert "is the best" in verdict([one, made(second, 0.70, 0.71, 0.69)], "max")
    assert "not shown" in verdict([one, made(second, 0.89, 0.93, 0.90)], "max")
    assert "Too few" in verdict([one, made(second, 0.5)], "max")
    same = verdict([made(first, 0.1, 0.1), made(second, 0.2, 0.2)], "min")
    assert "is the best. All runs of a configuration gave the same value" in same


def test_the_command(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"] + (config["seed"] % 100) / 1000})

    space = {"x": tune.grid_search([3, 1, 2]), "seed": 7}
    tune.run(
        train, config=space, metric="loss", mode="min", name="e", storage_path=tmp_path, verbose=0, cluster="local"
    )
    root = tmp_path / "e"
    assert hpctune("confirm", root).returncode == 2
    asked = hpctune("confirm", root, "--top", "2", "--seeds", "3")
    assert asked.returncode == 0, asked.stderr
    assert "To run 6 trials: hpctune resume" in asked.stdout
    assert "Too few" in hpctune("confirm", root).stdout
    assert hpctune("resume", root, "-v0").returncode == 0
    trials = list(read_experiment(root).state.trials.values())[3:]
    assert sorted(trial.config["x"] for trial in trials) == [1, 1, 1, 2, 2, 2]
    assert len({trial.config["seed"] for trial in trials}) == 6
    shown = hpctune("confirm", root).stdout
    assert "3 of 3" in shown
    assert "is the best: better than each other one" in shown
    best = hpctune("best", root).stdout
    assert best.index("loss = 1") < best.index("Run again with fresh seeds")
    assert "is the best: better than each other one" in best
    (told,) = experiment_data(root)["confirmed"]
    assert [row[2] for row in told["rows"]] == ["3 of 3", "3 of 3"]
    assert "is the best" in told["verdict"]
    without = hpctune("confirm", root, "--top", "1", "--seeds", "1", "--seed-name", "nothing")
    assert "no 'nothing'" in without.stderr


def train_long(config: dict[str, Any]) -> None:
    for step in range(1, 100):
        tune.report({"loss": config["x"] + (config["seed"] % 100) / 100 + 1 / step, "time": step})


SCHEDULERS: list[Callable[[], Any]] = [
    lambda: ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3),
    lambda: ASHAPromotionScheduler(max_t=9, grace_period=1, reduction_factor=3),
    lambda: HyperBandScheduler(max_t=9, reduction_factor=3),
    lambda: MedianStoppingRule(grace_period=1, min_samples_required=2),
    lambda: PopulationBasedTraining(
        perturbation_interval=3, synch=True, hyperparam_mutations={"x": tune.uniform(0.0, 1.0)}
    ),
]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_runs_again_are_as_long_as_the_first_whatever_the_scheduler_says(
    tmp_path: Path, scheduler: Callable[[], Any]
) -> None:
    space = {"x": tune.grid_search([n / 20 for n in range(8)]), "seed": 0}
    tune.run(
        train_long, config=space, metric="loss", mode="min", name="e", storage_path=tmp_path, verbose=0,
        cluster="debug", scheduler=scheduler(), stop={"training_iteration": 12},
    )  # fmt: skip
    root = tmp_path / "e"
    assert hpctune("confirm", root, "--top", "3", "--seeds", "4").returncode == 0
    assert hpctune("resume", root, "-v0").returncode == 0
    state = read_experiment(root).state
    made = confirmed(ExperimentPaths(root), state, "loss", "min")
    assert [(one.asked, len(one.values)) for one in made] == [(4, 4)] * 3
    again = [trial for name, trial in state.trials.items() if name in state.added]
    assert len(again) == 12
    assert {trial.last_iteration for trial in again} == {one.trial.last_iteration for one in made}


def test_runs_on_a_larger_budget_take_the_place_of_shorter_ones(tmp_path: Path) -> None:
    space = {"x": tune.grid_search([0.1, 0.2, 0.3]), "seed": 0}
    tune.run(
        train_long, config=space, metric="loss", mode="min", name="e", storage_path=tmp_path, verbose=0,
        cluster="debug", scheduler=ASHAScheduler(max_t=4, grace_period=4),
    )  # fmt: skip
    root = tmp_path / "e"
    for words in (["--seeds", "2"], ["--seeds", "3", "--until", "9"]):
        assert hpctune("confirm", root, "--top", "2", *words).returncode == 0
    assert hpctune("resume", root, "-v0").returncode == 0
    state = read_experiment(root).state
    assert [state.trials[name].last_iteration for name in state.added] == [4] * 4 + [9] * 6
    assert [one.asked for one in confirmed(ExperimentPaths(root), state, "loss", "min")] == [3, 3]


def test_runs_that_failed_do_not_count(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": 1.0})
        if config["seed"]:
            raise ValueError("only the first time")
        tune.report({"loss": 0.5})

    space = {"seed": 0}
    tune.run(
        train, config=space, metric="loss", mode="min", name="e", storage_path=tmp_path, verbose=0, cluster="debug"
    )
    root = tmp_path / "e"
    assert hpctune("confirm", root, "--top", "1", "--seeds", "2").returncode == 0
    assert hpctune("resume", root, "-v0").returncode == 1
    assert "0 of 2" in hpctune("confirm", root).stdout

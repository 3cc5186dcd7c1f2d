"""Whether the best is the best: intervals, and what the command says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.analysis.confirmed import Confirmed, t_quantile, verdict
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
    assert "is the best" in verdict([made(first, 0.1, 0.1), made(second, 0.2, 0.2)], "min")


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
    without = hpctune("confirm", root, "--top", "1", "--seeds", "1", "--seed-name", "nothing")
    assert "no 'nothing'" in without.stderr

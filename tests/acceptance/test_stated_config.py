"""A trial that chooses its parameters itself states them, and they are shown like any others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hpctune as tune
from tests.support.cli_support import BIN


def choose(config: dict) -> None:
    tune.report(loss=config["seed"] / 2, config={"lr": config["seed"] / 10, "net": {"width": 8}})
    tune.report(loss=config["seed"], config={"seed": config["seed"], "depth": 3})


def test_what_a_trial_states_is_shown_as_its_configuration(tmp_path: Path) -> None:
    tuner = tune.Tuner(
        choose,
        param_space={"seed": tune.grid_search([1, 2]), "_hpctune": "for the trial alone"},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="own", storage_path=tmp_path, verbose=0),
        cluster="debug",
    )
    results = tuner.fit()
    best = results.get_best_result()
    assert best.config == {"seed": 1, "lr": 0.1, "net": {"width": 8}, "depth": 3}
    assert best.metrics["config"]["lr"] == 0.1
    frame = results.get_dataframe()
    assert sorted(frame["config/lr"]) == [0.1, 0.2]
    assert not any("_hpctune" in column or "stated" in column for column in frame.columns)
    root = str(tmp_path / "own")
    assert "config/lr" in _told("list", root, "--csv")
    shown = _told("best", root)
    assert "lr = 0.1" in shown
    assert "net/width = 8" in shown
    assert "_hpctune" not in shown
    again = tune.ExperimentAnalysis(root)
    assert again.get_best_config("loss", "min") == best.config
    header = (Path(best.path) / "progress.csv").read_text().splitlines()[0]
    assert "stated" not in header


def _told(*arguments: str) -> str:
    return subprocess.run([BIN, *arguments], capture_output=True, text=True, check=True).stdout

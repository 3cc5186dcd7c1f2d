"""Simulated trainings whose next result depends on the one before it, also across pauses and exploits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpctune.model.decisions import CONTINUE, Decision, Exploit, Pause
from hpctune.model.trial import Trial
from hpctune.schedulers.base import FIFOScheduler
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation


def add(config: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Each step adds the configured number."""
    return {"loss": before.get("loss", 0) + config["x"]}


class PauseThenExploit(FIFOScheduler):
    """Pauses every trial at 2; at 4 the second goes on from the first with another number."""

    first = ""

    def on_trial_add(self, trial: Trial) -> None:
        self.first = self.first or trial.trial_id

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        if row["training_iteration"] == 2:
            return Pause("to see whether it remembers")
        if row["training_iteration"] == 4 and trial.index == 1 and trial.config["x"] != 1000:
            return Exploit(self.first, {"x": 1000}, "to see what it takes over")
        return CONTINUE

    def milestone(self, trial: Trial) -> float | None:
        return 2 if trial.last_iteration < 2 else 4


def test_what_came_before_survives_pauses_and_exploits(tmp_path: Path) -> None:
    curve = Curve(metrics=lambda config, iteration: {}, step=add, iterations=6, checkpoint_every=1)
    simulation = Simulation(
        tmp_path / "exp", num_samples=2, slots=1, max_concurrent=1, curve=curve, scheduler=PauseThenExploit
    )
    state = simulation.run()
    first, second = sorted(state.trials.values(), key=lambda trial: trial.index)
    rows = read_experiment(simulation.paths.root, with_rows=True).rows
    x = first.config["x"]
    assert [r.row["loss"] for r in rows if r.trial_id == first.trial_id] == pytest.approx([x * n for n in range(1, 7)])
    last = [r.row for r in rows if r.trial_id == second.trial_id][-1]
    own = round(last["loss"] // 1000)
    assert second.config == {"x": 1000}
    assert own in (1, 2, 3)
    assert last["loss"] == pytest.approx((last["training_iteration"] - own) * x + own * 1000)

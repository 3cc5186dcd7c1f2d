"""Population based training on this machine: real checkpoints on disk, and the weights are the donor's afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.model import events as e
from hpctune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay
from hpctune.storage import journal

LENGTH = 10
RATES = [0.1, 1.0, 2.0, 3.0]


def await_the_others(side: str) -> None:
    """Until all trials have begun: one that ended before the others had a score would find nobody to learn from."""
    (Path(side) / str(tune.get_trial_id())).touch()
    deadline = time.monotonic() + 100
    while len(list(Path(side).iterdir())) < len(RATES) and time.monotonic() < deadline:
        time.sleep(0.01)


class Climber(tune.Trainable):
    """Its weight is the sum of all its rates so far; the history says who has trained it."""

    def setup(self, config: dict[str, Any]) -> None:
        await_the_others(config["side"])
        self.weight, self.history = 0.0, list[str]()

    def step(self) -> dict[str, Any]:
        self.weight += self.config["rate"]
        self.history.append(f"{self.trial_id}:{self.config['rate']}")
        return {"score": self.weight, "history": list(self.history)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"weight": self.weight, "history": self.history}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.weight, self.history = checkpoint["weight"], checkpoint["history"]


def climb(config: dict[str, Any]) -> None:
    """The same as a function, which saves at every second report."""
    import tempfile

    await_the_others(config["side"])
    weight, history = 0.0, list[str]()
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            weight, history = json.loads((Path(directory) / "state.json").read_text())
    while len(history) < LENGTH + 1:
        weight += config["rate"]
        history.append(f"{tune.get_trial_id()}:{config['rate']}")
        row = {"score": weight, "history": history}
        if len(history) % 2:
            tune.report(row)
            continue
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "state.json").write_text(json.dumps([weight, history]))
            tune.report(row, checkpoint=tune.Checkpoint.from_directory(directory))


def exploits(path: str) -> list[e.ExploitRequested]:
    facts = (recorded.event for recorded in journal.read(Path(path) / "journal"))
    return [event for event in facts if isinstance(event, e.ExploitRequested)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("synch", [False, True], ids=["each", "together"])
@pytest.mark.parametrize("trainable", [Climber, climb], ids=["class", "function"])
def test_weights_are_the_donors(trainable: Any, synch: bool, tmp_path: Path) -> None:
    (tmp_path / "side").mkdir()
    analysis = tune.run(
        trainable,
        name="pbt",
        config={"rate": tune.grid_search(RATES), "side": str(tmp_path / "side")},
        metric="score",
        mode="max",
        stop={"training_iteration": LENGTH},
        scheduler=PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=4,
            synch=synch,
            hyperparam_mutations={"rate": tune.uniform(0, 5)},
        ),
        keep_checkpoints_num=1,
        cluster=tune.LocalOptions(cpus=4),
        storage_path=str(tmp_path),
        verbose=0,
    )
    made = exploits(str(tmp_path / "pbt"))
    assert made
    for trial in analysis.trials:
        history = trial.last_result["history"]
        assert len(history) == LENGTH, "an iteration is missing, or was made twice"
        assert trial.last_result["score"] == pytest.approx(sum(float(step.split(":")[1]) for step in history))
        mine = [event for event in made if event.trial_id == trial.trial_id]
        if mine:
            taken = history[: mine[-1].iteration]
            assert trial.trial_id not in taken[-1], "these are not the donor's weights"
            assert {step.split(":")[0] for step in history[mine[-1].iteration :]} == {trial.trial_id}
            assert history[-1] == f"{trial.trial_id}:{trial.config['rate']}"
            assert trial.config["rate"] == mine[-1].config["rate"]
    lines = (tmp_path / "pbt" / "pbt_global.txt").read_text().splitlines()
    assert [json.loads(line)[5] for line in lines] == [event.config for event in made]
    if trainable is Climber and not synch:
        _replay(tmp_path / "pbt" / f"pbt_policy_{made[-1].trial_id}.txt", tmp_path)


def _replay(policy: Path, tmp_path: Path) -> None:
    steps = [json.loads(line) for line in policy.read_text().splitlines()]
    analysis = tune.run(
        Climber,
        name="replay",
        scheduler=PopulationBasedTrainingReplay(policy),
        stop={"training_iteration": LENGTH},
        cluster=tune.LocalOptions(cpus=1),
        storage_path=str(tmp_path),
        verbose=0,
    )
    rates = [float(step.split(":")[1]) for step in analysis.trials[0].last_result["history"]]
    expected = [steps[0][4]["rate"]] * LENGTH
    for _, _, _, iteration, _, config in steps:
        expected[iteration:] = [config["rate"]] * (LENGTH - iteration)
    assert rates == expected

"""What schedulers decide, on a real Slurm: stop at a rung, pause, take over a checkpoint, other resources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hpctune.model import events as e

from .cluster import SlurmCluster, wait_for
from .search import Search

pytestmark = pytest.mark.slurm

ASHA = """
import hpctune as tune
from hpctune.schedulers import ASHAScheduler


def train(config):
    for i in range(1, 1000):
        tune.report(loss=config["x"] + 1.0 / i)


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([0.5, 0.4, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3])},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", scheduler=ASHAScheduler(max_t=81, reduction_factor=3), max_concurrent_trials=4
    ),
    run_config=tune.RunConfig(name="run"),
)
"""

MOVES = """
import json, os, time
from pathlib import Path
import hpctune as tune
from hpctune.model.decisions import CONTINUE, Exploit, Pause, Reallocate
from hpctune.model.resources import Resources
from hpctune.schedulers import FIFOScheduler

GO = Path(GO_FILE)


class Net(tune.Trainable):
    def setup(self, config):
        self.weights = 100 * config["who"]

    def step(self):
        time.sleep(0.2)
        while self.config["who"] and self.iteration + 1 >= 12 and not GO.exists():
            time.sleep(0.05)  # else nobody is left while trial 0 rests, and the search is over
        self.weights += 1
        return {
            "weights": self.weights, "lr": self.config["lr"], "node": os.environ["SLURMD_NODENAME"],
            "cpus": int(os.environ["SLURM_CPUS_ON_NODE"]), "asked": self.trial_resources.bundles[0]["CPU"],
            "done": self.iteration + 1 >= 12,
        }

    def save_checkpoint(self, directory):
        (Path(directory) / "weights").write_text(str(self.weights))

    def load_checkpoint(self, directory):
        self.weights = int((Path(directory) / "weights").read_text())


class Moves(FIFOScheduler):
    '''Trial 0 pauses at 3, trial 1 takes over from trial 2 at 5, trial 3 gets two CPUs at 4.'''

    def __init__(self):
        self.trials, self.done = {}, set()

    def milestone(self, trial):
        return {0: 3, 1: 5, 3: 4}.get(trial.index) if trial.index not in self.done else None

    def on_trial_result(self, trial, row):
        self.trials[trial.index] = trial
        if row["training_iteration"] != self.milestone(trial):
            return CONTINUE
        if trial.index == 1 and (2 not in self.trials or not self.trials[2].checkpoints):
            return CONTINUE
        self.done.add(trial.index)
        if trial.index == 0:
            return Pause("rests")
        if trial.index == 1:
            donor = self.trials[2]
            return Exploit(donor.trial_id, {**trial.config, "lr": 0.5}, "trial 2 is better", "1@lr=0.5")
        return Reallocate(Resources.parse({"cpu": 2}), "more")

    def choose(self, waiting, *, idle):
        ready = [t for t in waiting if t.index != 0 or 0 not in self.done or GO.exists()]
        return ready[0].trial_id if ready else None


tuner = tune.Tuner(
    Net,
    param_space={"who": tune.grid_search([0, 1, 2, 3]), "lr": 0.1},
    tune_config=tune.TuneConfig(metric="weights", mode="max", scheduler=Moves()),
    run_config=tune.RunConfig(
        name="run", checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_frequency=1)
    ),
)
"""


def test_cheap_trials_end_exactly_at_their_rungs(searches: Callable[..., Search]) -> None:
    search = searches(ASHA)
    search.finish()
    lengths = {x: [row["training_iteration"] for row in rows] for x, rows in search.rows().items()}
    assert len(lengths) == 8
    assert all(seen == list(range(1, len(seen) + 1)) for seen in lengths.values())
    assert {len(seen) for seen in lengths.values()} <= {1, 3, 9, 27, 81}
    assert len(lengths[0.1]) == 81, "the best one runs to the end"
    assert min(map(len, lengths.values())) < 81, "nothing was stopped"
    overruns = [f for f in search.facts() if isinstance(f, e.ResultReported) and f.verdict is not e.Verdict.COUNTED]
    assert overruns == [], "no trial ran on past the report at which it was stopped"


def test_pause_exploit_and_other_resources(
    searches: Callable[..., Search], tmp_path: Path, slurm_cluster: SlurmCluster
) -> None:
    go = tmp_path / "go"
    search = searches(MOVES.replace("GO_FILE", repr(str(go))))
    wait_for(lambda: search.experiment.is_dir() and any(isinstance(f, e.TrialPaused) for f in search.facts()), 60)
    (start,) = [f for f in search.facts() if isinstance(f, e.RunStarted) and f.run.trial_id.endswith("_00000")]
    node = start.nodes
    slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=taken")
    try:
        go.touch()
        search.finish()
    finally:
        slurm_cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    rows = search.rows()
    for who, lines in rows.items():
        if who != 1:
            assert [row["training_iteration"] for row in lines] == list(range(1, 13))
            assert [row["weights"] for row in lines] == [100 * who + i for i in range(1, 13)]
    paused = [row["node"] for row in rows[0]]
    assert set(paused[:3]) == {node}
    assert node not in paused[3:], "it went on elsewhere, since its node was taken meanwhile"
    moved = rows[3]
    assert [row["asked"] for row in moved] == [1.0] * 4 + [2.0] * 8
    assert len({row["job_id"] for row in moved}) == 2
    (exploit,) = [f for f in search.facts() if isinstance(f, e.ExploitRequested)]
    taken = rows[1]
    assert [row["weights"] for row in taken[:5]] == [101, 102, 103, 104, 105]
    assert taken[5]["training_iteration"] == exploit.iteration + 1
    assert [row["weights"] for row in taken[5:]] == [200 + i for i in range(exploit.iteration + 1, 13)]
    assert {row["lr"] for row in taken[:5]} == {0.1}
    assert {row["lr"] for row in taken[5:]} == {0.5}
    assert {row["experiment_tag"] for row in taken[5:]} == {"1@lr=0.5"}
    params = json.loads((search.experiment / exploit_dir(search, exploit.trial_id) / "params.json").read_text())
    assert params["lr"] == 0.5, "params.json says what the trial does now"


def exploit_dir(search: Search, trial_id: str) -> str:
    return next(f.dirname for f in search.facts() if isinstance(f, e.TrialAdded) and f.trial_id == trial_id)

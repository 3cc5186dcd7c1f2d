"""Limits of all checkpoints, with the real driver over a simulated cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.spec import CheckpointPolicy
from hpctune.schedulers import ASHAPromotionScheduler, FIFOScheduler
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from tests.sim.crashes import MakeScheduler, assert_nothing_ran_twice, facts, final, run_with_crashes

LIMITS = [CheckpointPolicy(max_total=12), CheckpointPolicy(max_total_bytes=1200), CheckpointPolicy(2, max_total=12)]
CURVE = Curve(metrics=hyperbola, iterations=9, checkpoint_every=1, checkpoint_bytes=100)


def promotion() -> ASHAPromotionScheduler:
    return ASHAPromotionScheduler(metric="loss", mode="min", max_t=9)


def simulation(root: Path, scheduler: MakeScheduler, policy: CheckpointPolicy) -> Simulation:
    return Simulation(root, num_samples=30, slots=4, curve=CURVE, scheduler=scheduler, checkpoint=policy)


def on_disk(sim: Simulation) -> set[str]:
    return {str(path.relative_to(sim.paths.root)) for path in sim.paths.root.glob("*/checkpoint_*")}


def in_journal(state: ExperimentState) -> set[str]:
    return {f"{trial.dirname}/{ref.name}" for trial in state.trials.values() for ref in trial.checkpoints}


@pytest.mark.parametrize("scheduler", [FIFOScheduler, promotion])
@pytest.mark.parametrize("policy", LIMITS)
def test_the_limit_is_kept_over_crashes_and_nothing_else_changes(
    tmp_path: Path, scheduler: MakeScheduler, policy: CheckpointPolicy
) -> None:
    free = simulation(tmp_path / "free", scheduler, CheckpointPolicy())
    expected = free.run()
    limited = simulation(tmp_path / "limited", scheduler, policy)
    state = run_with_crashes(limited, scheduler, every=40)
    assert {i: results for i, (results, _) in final(state).items()} == {
        i: results for i, (results, _) in final(expected).items()
    }
    assert_nothing_ran_twice(limited)
    assert 1 <= state.checkpoints.count <= 12
    assert state.checkpoints.bytes == 100 * state.checkpoints.count
    assert on_disk(limited) == in_journal(state)
    best = min((t for t in state.trials.values()), key=lambda t: t.last["loss"])
    assert best.newest_checkpoint is not None
    assert best.newest_checkpoint.iteration == best.last_iteration
    assert expected.checkpoints.count > 60


def test_the_limit_holds_while_the_search_runs(tmp_path: Path) -> None:
    sim = simulation(tmp_path / "exp", FIFOScheduler, CheckpointPolicy(max_total=12))
    sim.run()
    state, most = ExperimentState(sim.spec), 0
    for event in facts(sim):
        state.apply(e.Recorded(0.0, event))
        most = max(most, state.checkpoints.count)
    assert 12 < most <= 12 + 2 * 4, "each of four trials saves once between two turns, or twice"

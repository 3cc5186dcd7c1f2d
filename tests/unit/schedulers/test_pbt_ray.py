"""Population based training decides as Ray Tune does: the same results and the same draws, the same exploits.

The traces are recorded by scripts/ray_traces_pbt.py. Deliberate differences are listed in
docs/how-to/population-based-training.md; the traces keep clear of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.model.decisions import CONTINUE, Decision, Exploit, Pause
from hpctune.model.resources import Resources
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers import pb2_model
from hpctune.schedulers.pb2 import PB2
from hpctune.schedulers.pbt import Member, PopulationBasedTraining
from hpctune.schedulers.pbt_replay import PopulationBasedTrainingReplay

TRACES = Path(__file__).parents[2] / "traces"
CASES = [
    "pb2_default", "pb2_synch", "pbt_burn_in", "pbt_default", "pbt_few_places", "pbt_jumps", "pbt_max_half",
    "pbt_synch", "pbt_synch_few_places",
]  # fmt: skip
BOUNDS = {"lr": [0.001, 1.0], "batch": [8, 64], "model": {"drop": [0.0, 0.9]}}


class Script:
    """Gives the draws that were recorded, in their order."""

    def __init__(self) -> None:
        self.draws: list[Any] = []

    def random(self) -> float:
        return float(self.draws.pop(0))

    def choice(self, values: Sequence[Any]) -> Any:
        return values[self.draws.pop(0)]

    def getrandbits(self, bits: int) -> int:
        return 0


def mutations(script: Script) -> dict[str, Any]:
    """What scripts/ray_traces_pbt.py mutates."""
    return {
        "lr": lambda: 10.0 ** -(3 * script.random()),
        "batch": [8, 16, 32, 64],
        "layers": lambda: 1 + int(9 * script.random()),
        "skip": lambda: script.random() < 0.5,
        "model": {"drop": lambda: 0.9 * script.random(), "act": ["relu", "tanh", "gelu"]},
    }


class Play:
    """A recorded run, told to one of our schedulers."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = json.loads((TRACES / f"{name}.json").read_text())
        self.script, self.seen = Script(), Counter[str]()
        self.models: list[Any] = []
        arguments = self.data["arguments"]
        if name.startswith("pb2"):
            self.policy: PopulationBasedTraining = PB2(**arguments, hyperparam_bounds=BOUNDS)
            monkeypatch.setattr(pb2_model, "suggest", self._suggest)
        else:
            self.policy = PopulationBasedTraining(**arguments, hyperparam_mutations=mutations(self.script))
        monkeypatch.setattr(self.policy, "_chance", self._chance)
        self.trials = [self._added(index, config) for index, config in enumerate(self.data["configs"])]
        self.policy.on_search_exhausted()

    def _added(self, index: int, config: Mapping[str, Any]) -> Trial:
        name = f"t{index}"
        assert self.policy.complete_config(index, config) == config
        trial = Trial(name, index, name, name, str(index), config, {}, Resources(), 0.0)
        self.policy.on_trial_add(trial)
        return trial

    def _chance(self, member: Member) -> Any:
        return self.script

    def _suggest(self, data: Any, context: Any, limits: Any, batch: Any, seed: int) -> tuple[float, ...]:
        points, rates, current, newpoint, chosen = self.models.pop(0)
        assert [c.time for c in data] == [point[0] for point in points]
        rays = sorted([*point, rate] for point, rate in zip(points, rates, strict=True))  # of one time: in any order
        assert _flat(sorted([c.time, c.before, *c.values, c.rate] for c in data)) == pytest.approx(_flat(rays))
        assert list(context) == pytest.approx(newpoint)
        assert _flat(batch) == pytest.approx(_flat(current or []))
        assert [list(limit) for limit in limits] == [[0.001, 1.0], [8, 64], [0.0, 0.9]]
        self.seen["models with a batch" if batch else "models"] += 1
        return tuple(chosen)

    def end(self, index: int) -> None:
        self.policy.on_trial_complete(self.trials[index], {})
        assert not self.policy.decisions_on_others()

    def choose(self, index: int) -> None:
        waiting = [t for t in self.trials if t.phase in (Phase.PENDING, Phase.PAUSED)]
        assert self.policy.choose(waiting, idle=True) == f"t{index}"
        self.trials[index] = replace(self.trials[index], phase=Phase.RUNNING)

    def result(
        self, index: int, row: dict[str, Any], decision: str, exploits: list[Any], draws: list[Any],
        quantiles: list[list[int]], models: list[Any],
    ) -> None:  # fmt: skip
        self.script.draws, self.models = draws, models
        self.trials[index] = trial = replace(self.trials[index], restore="saved", phase=Phase.RUNNING)
        own = self.policy.on_trial_result(trial, row)
        decided: dict[str, Decision] = dict(self.policy.decisions_on_others())
        assert trial.trial_id not in decided
        decided[trial.trial_id] = own
        self.seen[type(own).__name__] += 1
        self._same_exploits(decided, exploits)
        assert [[f"t{i}" for i in part] for part in quantiles] == list(map(list, self.policy.quantiles()))
        assert not self.script.draws
        assert not self.models
        self._same_decision(own, decision)
        if self.crowded and own != CONTINUE:
            self.trials[index] = replace(self.trials[index], phase=Phase.PAUSED)

    @property
    def crowded(self) -> bool:
        """Whether a trial that leaves its place does not get it again at once."""
        return self.policy.synch or self.data["slots"] < self.data["trials"]

    def _same_decision(self, own: Decision, rays: str) -> None:
        if rays == "NOOP":
            assert isinstance(own, Exploit)
        elif rays == "PAUSE":
            assert isinstance(own, Pause)
            assert own.yields != self.policy.synch
        else:
            assert rays == "CONTINUE"
            # Where nobody waits, the engine makes nothing of a pause that yields.
            assert own == CONTINUE or (isinstance(own, Pause) and own.yields and not self.crowded)

    def _same_exploits(self, decided: Mapping[str, Decision], exploits: list[Any]) -> None:
        ours = {trial_id: d for trial_id, d in decided.items() if isinstance(d, Exploit)}
        assert set(ours) == {f"t{index}" for index, *_ in exploits}
        for index, donor, config, tag in exploits:
            exploit = ours[f"t{index}"]
            assert exploit.donor == f"t{donor}"
            assert _flat_config(exploit.config) == pytest.approx(_flat_config(config))
            assert [type(v) for v in _flat_config(exploit.config).values()] == [
                type(v) for v in _flat_config(config).values()
            ]
            assert exploit.tag.split("[")[0] == tag.split("[")[0]
            self.trials[index] = replace(self.trials[index], config=exploit.config)
            self.seen["exploits"] += 1


def _flat(rows: Any) -> list[float]:
    return [float(value) for row in rows for value in row]


def _flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in config.items() if k != "model"}, **config["model"]}


@pytest.mark.parametrize("name", CASES)
def test_the_same_exploits_as_ray(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(name, monkeypatch)
    for step, (what, *values) in enumerate(play.data["trace"]):
        try:
            getattr(play, what)(*values)
        except AssertionError as error:
            raise AssertionError(f"step {step}: {what} {values}: {error}") from error
    assert play.seen["exploits"] >= 5
    assert play.seen["Continue"] > 20
    if name.startswith("pb2"):
        assert play.seen["models"] >= 3
    if name == "pb2_synch":
        assert play.seen["models with a batch"] >= 3


def test_a_replay_takes_the_steps_that_ray_takes(tmp_path: Path) -> None:
    policies = json.loads((TRACES / "pbt_replay.json").read_text())["policies"]
    assert len(policies) > 3
    assert max(len(changes) for _, _, changes in policies) > 1
    assert any(len(lines) > len(changes) for lines, _, changes in policies), "no lineage that was given up"
    for lines, first, changes in policies:
        path = tmp_path / "pbt_policy.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        policy = PopulationBasedTrainingReplay(path)
        assert policy.complete_config(0, {"unknown": 1}) == first
        trial = Trial("t0", 0, "t0", "t0", "0", first, {}, Resources(), 0.0, restore="own")
        policy.on_trial_add(trial)
        made: list[Any] = []
        for iteration in range(1, 60):
            trial = replace(trial, last_iteration=iteration)
            decision = policy.on_trial_result(trial, {"training_iteration": iteration})
            if isinstance(decision, Exploit):
                assert decision.donor == "t0"
                made.append([iteration, decision.config])
        assert made == changes

"""Population based training alone: who is replaced by whom and how, arguments, rounds, its log and its replay.

"The paper" is Jaderberg et al., "Population Based Training of Neural Networks", 2017 (arXiv 1711.09846).
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.state import ExperimentState
from hpctune.errors import MetricError, UsageError
from hpctune.model import events as e
from hpctune.model.decisions import CONTINUE, Decision, Exploit, Pause
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.output.loggers.pbt_log import PolicyLog
from hpctune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay, as_scheduler
from hpctune.schedulers.explore import explore
from hpctune.space import choice, grid_search, loguniform, sample_from, uniform
from hpctune.storage.layout import ExperimentPaths

FACTOR = {"rate": uniform(0.0, 10.0)}


def pbt(**arguments: Any) -> PopulationBasedTraining:
    given = {"time_attr": "training_iteration", "metric": "score", "mode": "max", "perturbation_interval": 10}
    return PopulationBasedTraining(**{**given, "hyperparam_mutations": FACTOR, **arguments})


class Population:
    """Trials of one scheduler, all of which have checkpoints."""

    def __init__(self, policy: PopulationBasedTraining, size: int, **config: Any) -> None:
        self.policy = policy
        self.trials = [
            Trial(
                f"t{i}", i, f"t{i}", f"t{i}", str(i), {"rate": 1.0 + i, **config}, {}, Resources(), 0.0, restore="saved"
            )
            for i in range(size)
        ]
        for trial in self.trials:
            policy.on_trial_add(trial)
        policy.on_search_exhausted()

    def report(self, index: int, time: float, score: float, **more: Any) -> Decision:
        decision = self.policy.on_trial_result(self.trials[index], {"training_iteration": time, "score": score, **more})
        for trial_id, made in [(f"t{index}", decision), *self.policy.decisions_on_others()]:
            if isinstance(made, Exploit):
                number = int(trial_id[1:])
                self.trials[number] = replace(self.trials[number], config=made.config)
        return decision

    def all_report(self, time: float) -> list[Decision]:
        """Trial number i has score i."""
        return [self.report(i, time, float(i)) for i in range(len(self.trials))]


# -- the paper --------------------------------------------------------------------------------------------------------


def test_truncation_selection() -> None:
    """Section 4.1.1: if in the bottom 20%, copy one of the top 20%, each as likely as the other."""
    donors = Counter[str]()
    for seed in range(200):
        population = Population(pbt(quantile_fraction=0.2, seed=seed), 10)
        population.all_report(10)
        decisions = population.all_report(20)
        copied = {i: d.donor for i, d in enumerate(decisions) if isinstance(d, Exploit)}
        assert set(copied) == {0, 1}
        donors.update(copied.values())
    assert set(donors) == {"t8", "t9"}
    assert min(donors.values()) > 150


def test_explore_perturbs_by_1_2_or_0_8() -> None:
    """Section 4.1.1: each hyperparameter is, independently, perturbed by a factor of 1.2 or 0.8."""
    mutations = {"a": uniform(0, 1), "b": loguniform(1e-3, 1), "c": lambda: 1.0}
    made = Counter[tuple[float, ...]]()
    for seed in range(400):
        new, words = explore({"a": 1.0, "b": 1.0, "c": 1.0}, mutations, random.Random(seed), 0.0, (1.2, 0.8))
        made[tuple(new[key] for key in "abc")] += 1
        assert words == {key: f"* {new[key]:g}" for key in "abc"}
    assert set(made) == {(a, b, c) for a in (1.2, 0.8) for b in (1.2, 0.8) for c in (1.2, 0.8)}
    assert min(made.values()) > 25


def test_explore_resamples_with_a_probability() -> None:
    """Section 4.1.1: or resampled from the original distribution, with some probability."""
    drawn = []
    for seed in range(400):
        new, words = explore({"a": 100.0}, {"a": uniform(0, 1)}, random.Random(seed), 0.25, (1.2, 0.8))
        if words["a"] == "resample":
            drawn.append(new["a"])
    assert 70 < len(drawn) < 130
    assert 0 <= min(drawn) < 0.1
    assert 0.9 < max(drawn) < 1


def test_the_hyperparameters_are_the_donors_and_then_explored() -> None:
    """Algorithm 1: exploit copies weights and hyperparameters, explore changes the copied ones."""
    population = Population(pbt(resample_probability=0), 4, other="kept")
    population.all_report(10)
    exploit = population.report(0, 20, 0.0)
    assert isinstance(exploit, Exploit)
    assert exploit.donor == "t3"
    assert exploit.config["rate"] in (4.0 * 1.2, 4.0 * 0.8)
    assert exploit.config["other"] == "kept"
    assert exploit.tag == f"0@perturbed[rate={exploit.config['rate']:.4g}]"
    assert exploit.reason.startswith("score=0 is among the worst: goes on from t3 (score=3), rate * ")


# -- who, and when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fraction", "count"),
    [(1, 0.5, 0), (2, 0.25, 1), (3, 0.5, 1), (4, 0.25, 1), (5, 0.25, 2), (8, 0, 0), (100, 0.07, 7), (10, 0.5, 5)],
)
def test_how_many_are_the_worst(size: int, fraction: float, count: int) -> None:
    policy = pbt(quantile_fraction=fraction, perturbation_interval=1000, burn_in_period=0)
    population = Population(policy, size)
    for index in range(size):
        policy._members[f"t{index}"].score = float(index)
    worst, best = population.policy.quantiles()
    assert worst == [f"t{i}" for i in range(count)]
    assert best == [f"t{i}" for i in range(size - count, size)]


def test_intervals_and_burn_in() -> None:
    policy = pbt(burn_in_period=25)
    population = Population(policy, 2)
    trial = population.trials[0]
    assert policy.milestone(trial) == 25
    for time in range(1, 25):
        assert population.report(0, time, 1.0) == CONTINUE
    assert population.report(0, 26, 1.0) == Pause("makes room for a trial that waits", yields=True)
    assert policy.milestone(trial) == 36
    assert population.report(0, 35, 1.0) == CONTINUE
    assert population.report(1, 30, 2.0) != CONTINUE
    exploit = population.report(0, 40, 1.0)
    assert isinstance(exploit, Exploit)
    assert policy.milestone(trial) == 40, "counted from the donor's evaluation at 30"


def test_a_diverged_trial_is_replaced_and_never_copied() -> None:
    for seed in range(10):
        population = Population(pbt(quantile_fraction=0.5, seed=seed), 4)
        for index, score in enumerate((math.nan, math.nan, math.nan, 1.0)):
            population.report(index, 10, score)
        for index in (0, 1):
            exploit = population.report(index, 20, math.nan)
            assert isinstance(exploit, Exploit)
            assert exploit.donor == "t3"


def test_who_has_no_checkpoint_is_not_copied() -> None:
    population = Population(pbt(quantile_fraction=0.5), 4)
    population.trials[3] = replace(population.trials[3], restore=None)
    population.all_report(10)
    exploit = population.report(0, 20, 0.0)
    assert isinstance(exploit, Exploit)
    assert exploit.donor == "t2"
    population.trials[2] = replace(population.trials[2], restore=None)
    assert population.report(2, 20, 2.0) == CONTINUE, "it would lose what it has if it made room"
    assert isinstance(population.report(1, 20, 0.0), Pause)


def test_the_last_result_decides_nothing_and_who_is_over_is_not_copied() -> None:
    population = Population(pbt(), 4)
    population.all_report(10)
    assert population.report(3, 20, 9.0, done=True) == CONTINUE
    assert population.report(0, 20, 0.0, done=True) == CONTINUE
    exploit = population.report(1, 20, 0.5)
    assert isinstance(exploit, Exploit)
    assert exploit.donor == "t2"


@pytest.mark.parametrize(("lacks", "says"), [("score", "its metric"), ("training_iteration", "its time_attr")])
def test_a_result_that_lacks_something(lacks: str, says: str) -> None:
    row = {"training_iteration": 10, "score": 1.0, "other": 1}
    del row[lacks]
    strict, lax = pbt(), pbt(require_attrs=False)
    with pytest.raises(MetricError, match=f"needs {says} in every result, unless require_attrs=False, but '{lacks}'"):
        strict.on_trial_result(Population(strict, 2).trials[0], row)
    assert lax.on_trial_result(Population(lax, 2).trials[0], row) == CONTINUE


def test_the_same_seed_whatever_the_order() -> None:
    def configs(order: list[int], seed: int) -> list[Any]:
        population = Population(pbt(synch=True, seed=seed, quantile_fraction=0.5), 6)
        for time in (10, 20, 30):
            for index in order:
                population.report(index, time, population.trials[index].config["rate"])
        return [trial.config for trial in population.trials]

    assert configs([0, 1, 2, 3, 4, 5], 1) == configs([5, 3, 1, 0, 2, 4], 1)
    assert configs([0, 1, 2, 3, 4, 5], 1) != configs([0, 1, 2, 3, 4, 5], 2)


def test_each_exploit_of_a_trial_has_chances_of_its_own() -> None:
    population = Population(pbt(resample_probability=0), 2)
    factors = []
    for time in range(10, 210, 10):
        population.report(1, time, 1.0)
        exploit = population.report(0, time, 0.0)
        assert isinstance(exploit, Exploit)
        factors.append(exploit.config["rate"] / 2.0)
    assert set(factors) == {1.2, 0.8}


# -- synchronous ------------------------------------------------------------------------------------------------------


def paused(population: Population, *indexes: int) -> list[Trial]:
    return [replace(population.trials[i], phase=Phase.PAUSED) for i in indexes]


def test_a_round() -> None:
    policy = pbt(synch=True)
    population = Population(policy, 4)
    for index in (3, 0, 2):
        decision = population.report(index, 10, float(index))
        assert decision == Pause("waits for the others at training_iteration=10")
    assert policy.choose(paused(population, 3, 0, 2), idle=True) is None
    decision = policy.on_trial_result(population.trials[1], {"training_iteration": 12, "score": 1.0})
    assert isinstance(decision, Pause)
    assert not decision.yields
    others = dict(policy.decisions_on_others())
    assert set(others) == {"t0"}
    assert not policy.decisions_on_others(), "each is handed out once"
    assert [policy.milestone(trial) for trial in population.trials] == [22] * 4
    assert policy.choose(paused(population, 1, 2, 3, 0), idle=True) == "t2"
    assert policy.choose(paused(population, 1, 2, 3, 0), idle=False) is None


@pytest.mark.parametrize("how", ["complete", "error", "done"])
def test_who_is_gone_is_not_waited_for(how: str) -> None:
    policy = pbt(synch=True)
    population = Population(policy, 4)
    for index in range(3):
        population.report(index, 10, float(index))
    assert not policy.decisions_on_others()
    if how == "complete":
        policy.on_trial_complete(population.trials[3], {"training_iteration": 5, "score": 9.0})
    elif how == "error":
        policy.on_trial_error(population.trials[3])
    else:
        policy.on_trial_result(population.trials[3], {"training_iteration": 10, "score": 9.0, "done": True})
    ((trial_id, exploit),) = policy.decisions_on_others()
    assert trial_id == "t0"
    assert isinstance(exploit, Exploit)
    assert exploit.donor == "t2"
    policy.on_trial_complete(population.trials[3], {"training_iteration": 10, "score": 9.0})
    assert not policy.decisions_on_others()


def test_no_round_is_over_before_the_population_is_complete() -> None:
    policy = pbt(synch=True)
    population = Population(pbt(), 2)
    for trial in population.trials:
        policy.on_trial_add(trial)
        decision = policy.on_trial_result(trial, {"training_iteration": 10, "score": float(trial.index)})
        assert isinstance(decision, Pause)
        assert not policy.decisions_on_others()
    assert policy.choose(paused(population, 0, 1), idle=False) is None
    policy.on_search_exhausted()
    assert [trial_id for trial_id, _ in policy.decisions_on_others()] == ["t0"]


def test_a_paused_trial_goes_on_where_the_search_waits_for_that() -> None:
    policy = pbt(synch=True)
    population = Population(pbt(), 2)
    for trial in population.trials:
        policy.on_trial_add(trial)
        policy.on_trial_result(trial, {"training_iteration": 10 + trial.index, "score": 1.0})
    assert policy.choose(paused(population, 1, 0), idle=True) == "t0"


def test_a_trial_pauses_once_in_a_round() -> None:
    population = Population(pbt(synch=True), 2)
    population.report(1, 35, 1.0)
    population.report(0, 12, 0.5)
    assert [population.policy.milestone(trial) for trial in population.trials] == [40, 40]
    assert population.report(0, 39, 1.0) == CONTINUE


def test_jumps_over_several_intervals_block_nobody() -> None:
    policy = pbt(synch=True)
    population = Population(policy, 2)
    for time in (35, 60, 100):
        for index in (0, 1):
            population.report(index, time, float(index))
        assert policy.choose(paused(population, 0, 1), idle=True) is not None


# -- configurations ---------------------------------------------------------------------------------------------------


def test_what_a_configuration_lacks_is_drawn() -> None:
    mutations = {"a": uniform(5, 6), "b": [7, 8], "deep": {"c": lambda: random.random(), "d": [1]}, "e": choice(["x"])}
    policy = pbt(hyperparam_mutations=mutations)
    given = {"b": 0, "deep": {"d": 2}, "other": 3}
    made = policy.complete_config(4, given)
    assert made == {"a": made["a"], "b": 0, "deep": {"c": made["deep"]["c"], "d": 2}, "other": 3, "e": "x"}
    assert 5 <= made["a"] <= 6
    assert given == {"b": 0, "deep": {"d": 2}, "other": 3}
    random.seed(99)
    assert policy.complete_config(4, given) == made, "functions draw from the scheduler's seed"
    assert policy.complete_config(5, given) != made


def test_lists_shift_to_a_neighbour() -> None:
    made = Counter[Any]()
    for seed in range(100):
        new, words = explore({"b": 2}, {"b": [1, 2, 3, 9]}, random.Random(seed), 0.0, (1.2, 0.8))
        made[new["b"], words["b"]] += 1
    assert set(made) == {(1, "shift left"), (3, "shift right")}
    ends = {explore({"b": 1}, {"b": [1, 2]}, random.Random(s), 0.0, (1.2, 0.8))[1]["b"] for s in range(20)}
    assert ends == {"shift left (noop)", "shift right"}
    foreign = {explore({"b": 5}, {"b": [1, 2]}, random.Random(s), 0.0, (1.2, 0.8))[0]["b"] for s in range(20)}
    assert foreign == {1, 2}


def test_whole_numbers_switches_and_words_keep_their_kind() -> None:
    config = {"units": 10, "skip": True, "act": "relu", "deep": {"lr": 0.5}}
    mutations = {"units": uniform(1, 50), "skip": lambda: False, "act": choice(["tanh"]), "deep": {"lr": uniform(0, 1)}}
    for seed in range(20):
        new, words = explore(config, mutations, random.Random(seed), 0.0, (1.2, 0.8))
        assert new["units"] in (12, 8)
        assert type(new["units"]) is int
        assert new["skip"] is True
        assert (new["act"], words["act"]) == ("tanh", "resample"), "what cannot be multiplied is drawn"
        assert words["deep/lr"] in ("* 1.2", "* 0.8")
    assert config["deep"] == {"lr": 0.5}


def test_ones_own_exploration() -> None:
    def halve(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "rate": config["rate"] / 2}

    population = Population(pbt(hyperparam_mutations=None, custom_explore_fn=halve), 2)
    population.all_report(10)
    exploit = population.report(0, 20, 0.0)
    assert isinstance(exploit, Exploit)
    assert exploit.config == {"rate": 1.0}

    def longer(config: dict[str, Any]) -> dict[str, Any]:
        config["sizes"].append(1)
        return config

    population = Population(pbt(custom_explore_fn=longer), 2, sizes=[])
    population.all_report(10)
    exploit = population.report(0, 20, 0.0)
    assert isinstance(exploit, Exploit)
    assert exploit.config["sizes"] == [1]
    assert population.trials[1].config["sizes"] == [], "the donor's own"
    forgetful = Population(pbt(custom_explore_fn=lambda config: None), 2)
    forgetful.all_report(10)
    with pytest.raises(UsageError, match="custom_explore_fn must return the new config, a dict, not None"):
        forgetful.report(0, 20, 0.0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"hyperparam_mutations": None}, "Give hyperparam_mutations or custom_explore_fn"),
    ({"hyperparam_mutations": [1]}, "hyperparam_mutations must be a dict"),
    ({"hyperparam_mutations": {"a": 1}}, r"hyperparam_mutations\['a'\] must be a list of values"),
    ({"hyperparam_mutations": {"a": []}}, r"hyperparam_mutations\['a'\] must be a list of values \(not empty\)"),
    ({"hyperparam_mutations": {"a": {"b": 1}}}, r"hyperparam_mutations\['a/b'\]"),
    ({"hyperparam_mutations": {"a": sample_from(lambda spec: 1)}}, "tune.sample_from and tune.grid_search cannot"),
    ({"hyperparam_mutations": {"a": grid_search([1])}}, "tune.sample_from and tune.grid_search cannot"),
    ({"quantile_fraction": 0.6}, "quantile_fraction must be a number from 0 to 0.5, not 0.6"),
    ({"quantile_fraction": -0.1}, "quantile_fraction must be a number of at least 0"),
    ({"resample_probability": 1.1}, "resample_probability must be a number from 0 to 1"),
    ({"perturbation_interval": 0}, "perturbation_interval must be a number greater than 0"),
    ({"burn_in_period": -1}, "burn_in_period must be a number of at least 0"),
    ({"perturbation_factors": ()}, "perturbation_factors must be numbers to multiply with"),
    ({"perturbation_factors": (1.2, "0.8")}, "each of perturbation_factors must be a number"),
    ({"custom_explore_fn": "halve"}, "custom_explore_fn must be a function"),
    ({"mode": "most"}, "mode must be 'min' or 'max'"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        pbt(**arguments)


def test_experiments_share_no_population() -> None:
    given = pbt(metric=None, mode=None)
    made = [as_scheduler(given, "score", "max") for _ in range(2)]
    assert isinstance(made[0], PopulationBasedTraining)
    Population(made[0], 3).all_report(10)
    assert isinstance(made[1], PopulationBasedTraining)
    assert not made[1]._members
    assert made[1].metric == "score"


# -- log and replay ---------------------------------------------------------------------------------------------------


def exploited(state: ExperimentState, log: PolicyLog, trial: int, donor: int, iteration: int, config: Any) -> None:
    event = e.ExploitRequested(
        f"t{trial}", f"t{donor}", "saved", iteration, config, {}, "worse", f"{trial}@perturbed[a=1]"
    )
    state.apply(e.Recorded(0.0, event))
    log.take(event, state)


def population_of(paths: ExperimentPaths, size: int) -> ExperimentState:
    state = ExperimentState(ExperimentSpec("51a1a7ed", paths.root.name, 0.0, "train"))
    for i in range(size):
        state.apply(
            e.Recorded(0.0, e.TrialAdded(f"t{i}", i, f"t{i}", f"t{i}", str(i), {"a": i}, {"a": i}, Resources()))
        )
    return state


def files(root: Path) -> Mapping[str, list[Any]]:
    return {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in root.glob("pbt_*.txt")}


def test_the_log_follows_the_lineage(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path)
    state, log = population_of(paths, 4), PolicyLog(paths)
    log.start()
    steps = [(0, 1, 10, {"a": 5}), (2, 0, 20, {"a": 6}), (0, 3, 20, {"a": 7}), (0, 0, 30, {"a": 8})]
    for step in steps:
        exploited(state, log, *step)
    first, second = ["0", "1", 0, 10, {"a": 1}, {"a": 5}], ["2", "0", 0, 20, {"a": 5}, {"a": 6}]
    third = ["0", "3", 0, 20, {"a": 3}, {"a": 7}]
    expected = {
        "pbt_global.txt": [first, second, third],
        "pbt_policy_t0.txt": [third],
        "pbt_policy_t2.txt": [first, second],
    }
    assert files(tmp_path) == expected
    log.close()
    (tmp_path / "pbt_global.txt").write_text("torn")
    (tmp_path / "pbt_policy_t9.txt").write_text("of a driver that died before its journal said so\n")
    again, state = PolicyLog(paths), population_of(paths, 4)
    for step in steps[:2]:
        exploited(state, again, *step)
    assert (tmp_path / "pbt_global.txt").read_text() == "torn"
    again.start()
    exploited(state, again, *steps[2])
    again.close()
    assert files(tmp_path) == expected
    replay = PopulationBasedTrainingReplay(tmp_path / "pbt_policy_t2.txt")
    assert replay.config == {"a": 1}
    assert replay.changes == [(10, {"a": 5}), (20, {"a": 6})]


def test_a_replay_waits_for_a_checkpoint_and_takes_one_trial(tmp_path: Path) -> None:
    path = tmp_path / "pbt_policy_t0.txt"
    path.write_text(json.dumps(["0", "1", 12, 10, {"a": 1}, {"a": 2}]) + "\n")
    policy = PopulationBasedTrainingReplay(path)
    assert policy.complete_config(0, {"b": 1}) == {"a": 1}
    with pytest.raises(UsageError, match="trains one trial, and the search makes more"):
        policy.complete_config(1, {})
    trial = Trial("t0", 0, "t0", "t0", "0", {"a": 1}, {}, Resources(), 0.0, last_iteration=9)
    assert policy.milestone(trial) == 10
    trial = replace(trial, last_iteration=10)
    assert policy.on_trial_result(trial, {"training_iteration": 10}) == CONTINUE
    assert policy.milestone(trial) == 11
    trial = replace(trial, last_iteration=11, restore="saved")
    assert policy.on_trial_result(trial, {"training_iteration": 11, "done": True}) == CONTINUE
    exploit = policy.on_trial_result(trial, {"training_iteration": 11})
    assert isinstance(exploit, Exploit)
    assert exploit == Exploit("t0", {"a": 2}, exploit.reason, "replay_pbt_policy_t0.txt@perturbed[a=2]")
    assert policy.milestone(trial) is None
    assert policy.fresh().milestone(trial) == 12


def test_a_configuration_that_trained_nothing_is_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "pbt_policy_t2.txt"
    lines = [["0", "1", 0, 8, {"a": 1}, {"a": 2}], ["2", "0", 0, 8, {"a": 2}, {"a": 3}]]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    policy = PopulationBasedTrainingReplay(path)
    assert (policy.config, policy.changes) == ({"a": 1}, [(8, {"a": 3})])


@pytest.mark.parametrize("text", ["", "[1, 2]\n", "no JSON\n", '["0", "1", 12, 10, 1, 2]\n'])
def test_what_is_no_policy_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.txt"
    if text:
        path.write_text(text)
    with pytest.raises(UsageError, match="is no line of a PBT policy log" if text else "Cannot read the policy file"):
        PopulationBasedTrainingReplay(path)

"""PB2: what it learns from, and what its model makes of it."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from hpctune.errors import MissingPackageError, UsageError
from hpctune.model.decisions import Exploit
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial
from hpctune.schedulers import PB2, pb2
from hpctune.schedulers.changes import Change, Observation, changes
from hpctune.schedulers.pb2_model import WINDOW, FadingKernel, suggest

BOUNDS = {"rate": [0.0, 1.0], "deep": {"units": [8, 64]}}


def policy(**arguments: Any) -> PB2:
    given = {"time_attr": "training_iteration", "metric": "score", "mode": "max", "perturbation_interval": 1}
    return PB2(**{**given, "hyperparam_bounds": BOUNDS, "quantile_fraction": 0.5, **arguments})


def trial(index: int, config: dict[str, Any]) -> Trial:
    return Trial(
        f"t{index}", index, f"t{index}", f"t{index}", str(index), config, {}, Resources(), 0.0, restore="saved"
    )


def history(best: float, points: int, seed: int = 0, noise: float = 0.01) -> list[Change]:
    """Changes that are the greater the nearer their first value is to ``best``; the second makes no difference."""
    rng, made = random.Random(seed), []
    for i in range(points):
        values = (rng.random(), 8 + 56 * rng.random())
        made.append(Change("t0", i // 4, 0.5, 0.6, values, 1 - 4 * (values[0] - best) ** 2 + rng.gauss(0, noise)))
    return made


def test_changes_are_of_one_trial_with_the_same_values() -> None:
    observed = [
        Observation("a", 10, (1.0,), 5.0),
        Observation("b", 10, (2.0,), 1.0),
        Observation("a", 20, (1.0,), 7.0),
        Observation("b", 10, (1.5,), 5.0),  # b has taken over from a
        Observation("b", 14, (1.5,), 5.5),
        Observation("b", 14, (1.5,), 6.5),
        Observation("a", 30, (1.1,), 9.0),
    ]
    assert changes(observed) == [Change("b", 14, 5.0, 5.5, (1.5,), 0.125), Change("a", 20, 5.0, 7.0, (1.0,), 0.2)]


def test_the_kernel_fades_with_time() -> None:
    """Bogunovic et al. 2016: the covariance is multiplied by (1 - epsilon) to the half of the distance in time."""
    kernel = FadingKernel(fading=0.2, length=0.5, variance=2.0)
    points = np.array([[0.0, 0.1, 0.3], [1.0, 0.1, 0.3], [3.0, 0.6, 0.0]])
    matrix = kernel(points)
    assert matrix[0, 0] == pytest.approx(2.0)
    assert matrix[0, 1] == pytest.approx(2.0 * 0.8**0.5)
    assert matrix[0, 2] == pytest.approx(2.0 * 0.8**1.5 * math.exp(-(0.25 + 0.09) / 0.5))
    assert kernel.diag(points) == pytest.approx(np.diag(matrix))
    _, gradient = kernel(points, eval_gradient=True)
    for row in range(3):
        for column in range(3):

            def entry(theta: Any, row: int = row, column: int = column) -> float:
                return float(kernel.clone_with_theta(theta)(points)[row, column])

            assert approx_fprime(kernel.theta, entry, 1e-7) == pytest.approx(gradient[row, column], abs=1e-5)


@pytest.mark.parametrize("best", [0.1, 0.5, 0.9])
def test_it_suggests_where_the_changes_were_greatest(best: float) -> None:
    found = [suggest(history(best, 60, seed), (15.0, 0.5), [(0, 1), (8, 64)], [], seed)[0] for seed in range(5)]
    assert sum(abs(value - best) for value in found) / 5 < 0.12


def test_it_keeps_away_from_the_batch() -> None:
    data, limits = history(0.5, 6, seed=2), [(0.0, 1.0), (8.0, 64.0)]
    first = suggest(data, (8.0, 0.5), limits, [], 0)
    again = suggest(data, (8.0, 0.5), limits, [first] * 3, 0)
    apart = math.dist((first[0], first[1] / 56), (again[0], again[1] / 56))
    assert apart > 0.05


@pytest.mark.parametrize("data", [history(0.5, 1), history(2.0, WINDOW + 50), [history(0.5, 1)[0]] * 20])
def test_suggestions_stay_in_bounds_and_are_the_same_again(data: list[Change]) -> None:
    for seed in range(3):
        made = suggest(data, (9.0, 0.7), [(0.0, 1.0), (8.0, 64.0)], [(0.5, 20.0)], seed)
        assert 0.0 <= made[0] <= 1.0
        assert 8.0 <= made[1] <= 64.0
        assert suggest(data, (9.0, 0.7), [(0.0, 1.0), (8.0, 64.0)], [(0.5, 20.0)], seed) == made


def test_an_experiment_gets_better_by_the_model() -> None:
    made = policy(seed=3)
    rng = random.Random(0)
    trials = [trial(i, {"rate": rng.random(), "deep": {"units": 16}, "other": "kept"}) for i in range(6)]
    scores = [0.0] * 6
    for one in trials:
        made.on_trial_add(one)
    for time in range(1, 13):
        for i in range(6):
            scores[i] += 1 - 4 * (trials[i].config["rate"] - 0.8) ** 2
            decision = made.on_trial_result(trials[i], {"training_iteration": time, "score": scores[i]})
            if isinstance(decision, Exploit):
                scores[i] = scores[int(decision.donor[1:])]
                trials[i] = replace(trials[i], config=decision.config)
    rates = sorted(one.config["rate"] for one in trials)
    assert all(0 <= rate <= 1 for rate in rates)
    assert abs(rates[2] - 0.8) < 0.2
    assert all(type(one.config["deep"]["units"]) is int and 8 <= one.config["deep"]["units"] <= 64 for one in trials)
    assert all(one.config["other"] == "kept" for one in trials)


def test_before_anything_is_known_the_donors_values_are_taken() -> None:
    made = policy()
    trials = [trial(i, {"rate": 0.1 * i, "deep": {"units": 10 * i}}) for i in (1, 2)]
    for one in trials:
        made.on_trial_add(one)
    made.on_trial_result(trials[1], {"training_iteration": 1, "score": 5.0})
    exploit = made.on_trial_result(trials[0], {"training_iteration": 1, "score": 1.0})
    assert isinstance(exploit, Exploit)
    assert exploit.config == {"rate": 0.2, "deep": {"units": 20}}


def test_what_a_configuration_lacks_is_drawn_within_the_bounds() -> None:
    made = policy(hyperparam_bounds={"rate": [3, 3], "deep": {"units": [8, 64]}})
    drawn = [made.complete_config(i, {"other": 1}) for i in range(50)]
    assert {config["rate"] for config in drawn} == {3}
    units = [config["deep"]["units"] for config in drawn]
    assert 8 <= min(units) < 16
    assert 56 < max(units) <= 64


def test_only_numbers_can_be_modelled() -> None:
    made = policy()
    one = trial(0, {"rate": "high", "deep": {"units": 8}})
    made.on_trial_add(one)
    with pytest.raises(UsageError, match=r"can only model numbers.*'rate': 'high'"):
        made.on_trial_result(one, {"training_iteration": 1, "score": 1.0})


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (None, "PB2 needs hyperparam_bounds"),
        ({"a": [1, 2, 3]}, r"hyperparam_bounds\['a'\] must be \[least, greatest\], not \[1, 2, 3\]"),
        ({"a": {"b": 1}}, r"hyperparam_bounds\['a/b'\] must be \[least, greatest\], not 1"),
        ({"a": [2, 1]}, "in this order, not"),
        ({"a": ["x", "y"]}, "must be a number"),
    ],
)
def test_wrong_bounds(bounds: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        policy(hyperparam_bounds=bounds)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pb2, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"scikit-learn.*pip install 'hpctune\[pb2\]'"):
        policy()

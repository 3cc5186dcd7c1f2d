"""TuneBOHB against Falkner et al. 2018, section 3.2, and what only it has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ConfigSpace
import numpy as np
import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.schedulers import ASHAScheduler, HyperBandForBOHB
from hpctune.search import ConcurrencyLimiter, TuneBOHB
from hpctune.search.models.kde import Density, imputed, propose
from tests.searchers.driving import Experiment, ask, ask_and_tell

SPACE = {"x": s.uniform(0, 1), "y": s.uniform(0, 1)}


def bohb(space: Any = None, **more: Any) -> TuneBOHB:
    return TuneBOHB(space or SPACE, metric="loss", mode="min", seed=1, **more)


def report(searcher: TuneBOHB, number: int, budget: float, loss: float) -> None:
    searcher.on_trial_result(f"t{number}", {"loss": loss, "training_iteration": budget})


def test_a_density_is_the_mean_of_products_of_kernels() -> None:
    points = np.array([[0.2, 0.0], [0.6, 2.0]])
    density = Density(points, (0, 3), np.array([0.1, 0.3]))

    def gauss(x: float, centre: float) -> float:
        return math.exp(-0.5 * ((x - centre) / 0.1) ** 2) / (0.1 * math.sqrt(2 * math.pi))

    # Aitchison and Aitken: 1 - h at the option itself, h / (k - 1) at each of the others
    expected = (gauss(0.3, 0.2) * 0.7 + gauss(0.3, 0.6) * 0.15) / 2
    assert density.at(np.array([[0.3, 0.0]]))[0] == pytest.approx(expected)
    total = sum(density.at(np.array([[x, c]]))[0] for x in np.arange(-1, 2, 0.01) for c in range(3)) * 0.01
    assert total == pytest.approx(1, abs=1e-3)


def test_bandwidths_follow_the_normal_rule_with_a_least_one() -> None:
    points = np.array([[0.1, 0.5, 0.0], [0.3, 0.5, 1.0], [0.8, 0.5, 1.0]])
    widths = Density.fit(points, (0, 0, 2), 1e-3).widths
    assert widths[0] == pytest.approx(1.06 * points[:, 0].std() * 3 ** (-1 / 7))
    assert widths[1] == 1e-3
    assert 0 < widths[2] <= 0.5
    assert Density.fit(np.array([[0.0], [1.0]]), (2,), 0.9).widths[0] == 0.5


def test_candidates_lie_within_the_space_and_near_the_good() -> None:
    rng = np.random.default_rng(0)
    good = Density(np.array([[0.01, 1.0], [0.02, 1.0]]), (0, 4), np.array([0.02, 0.1]))
    drawn = good.sample(2000, 3, rng)
    assert drawn[:, 0].min() >= 0
    assert drawn[:, 0].max() < 0.4
    assert set(drawn[:, 1]) == {0, 1, 2, 3}
    assert (drawn[:, 1] == 1).mean() == pytest.approx(1 - 0.1 * 3 / 4, abs=0.03)
    bad = Density(np.array([[0.05, 1.0]]), (0, 4), np.array([0.02, 0.1]))
    best = propose(good, bad, 200, 3, rng)
    assert best[0] < 0.02


def test_gaps_are_filled_with_values_of_others() -> None:
    nan = math.nan
    points = np.array([[0.1, nan, nan], [nan, 2.0, nan], [0.3, 2.0, nan]])
    filled = imputed(points, (0, 3, 0), np.random.default_rng(0))
    assert filled[0, 0] == 0.1
    assert filled[1, 0] in (0.1, 0.3)
    assert filled[0, 1] == 2.0
    assert ((filled[:, 2] >= 0) & (filled[:, 2] < 1)).all()
    assert np.isnan(points[0, 1])


def test_a_model_needs_enough_points_and_takes_the_best() -> None:
    """|D_b| >= N_min + 2, and the numbers of good and bad points of equation (3)."""
    searcher = bohb(bohb_config={"min_points_in_model": 3, "top_n_percent": 20})
    ask(searcher, 30)
    for number in range(4):
        report(searcher, number, 1, number)
        assert searcher._models() is None
    report(searcher, 4, 1, 4)
    good, bad = searcher._models()  # type: ignore[misc]
    assert (len(good.points), len(bad.points)) == (3, 4)
    for number in range(5, 30):
        report(searcher, number, 1, number)
    good, bad = searcher._models()  # type: ignore[misc]
    assert (len(good.points), len(bad.points)) == (6, 24)
    assert good.points.tolist() == [searcher._rows[f"t{number}"] for number in range(6)]


def test_the_largest_budget_with_enough_points_decides() -> None:
    searcher = bohb()
    ask(searcher, 12)
    for number in range(12):
        report(searcher, number, 1, number)
    for number in range(4):
        report(searcher, number, 3, -number)
    good, _ = searcher._models()  # type: ignore[misc]
    assert good.points[0].tolist() == searcher._rows["t0"]
    searcher.on_trial_result("t4", {"loss": -9.0, "training_iteration": 99, "hyperband_info": {"budget": 3}})
    good, _ = searcher._models()  # type: ignore[misc]
    assert good.points[0].tolist() == searcher._rows["t4"]
    assert set(searcher._seen) == {1, 3}


def test_failures_count_as_the_worst_of_what_they_reached() -> None:
    searcher = bohb()
    ask(searcher, 3)
    report(searcher, 0, 1, 5.0)
    report(searcher, 0, 3, math.nan)
    report(searcher, 1, 1, 4.0)
    searcher.on_trial_complete("t1", {"loss": 4.0, "training_iteration": 1}, error=True)
    searcher.on_trial_complete("t2", None, error=True)
    assert searcher._seen == {1: {"t0": 5.0, "t1": math.inf, "t2": math.inf}, 3: {"t0": math.inf}}


def test_random_fraction_and_other_constants() -> None:
    def loss(config: Any) -> float:
        return (config["x"] - 0.5) ** 2 + (config["y"] - 0.5) ** 2  # type: ignore[no-any-return]

    def spread(fraction: float) -> float:
        configs = ask_and_tell(bohb(bohb_config={"random_fraction": fraction}), loss, 80)[40:]
        return float(np.std([config["x"] for config in configs]))

    assert spread(0.0) < 0.5 * spread(1.0)
    for wrong, said in (
        ({"num_sample": 3}, "no 'num_sample'. It has: min_points_in_model"),
        ({"random_fraction": 2}, "random_fraction in bohb_config must be from 0 to 1"),
        ({"num_samples": 0}, "num_samples"),
    ):
        with pytest.raises(UsageError, match=said):
            bohb(bohb_config=wrong)


def test_paused_trials_leave_room_for_others() -> None:
    searcher = bohb(max_concurrent=2)
    assert len(ask(searcher, 3)) == 2
    searcher.on_pause("t0")
    searcher.on_pause("stranger")
    assert len(ask(searcher, 2, 5)) == 1
    searcher.on_unpause("t0")
    searcher.on_trial_complete("t1", {"loss": 1.0, "training_iteration": 1})
    assert ask(searcher, 1, 7) == []
    searcher.on_trial_complete("t0", {"loss": 1.0, "training_iteration": 1})
    assert len(ask(searcher, 2, 8)) == 1
    limited = ConcurrencyLimiter(searcher, 4)
    assert searcher.max_concurrent == 4
    assert [bool(limited.suggest(trial_id)) for trial_id in "abc"] == [True, True, False]
    limited.on_pause("a")
    assert limited.suggest("c")
    with pytest.raises(UsageError, match="max_concurrent"):
        bohb(max_concurrent=1.5)


def test_points_evaluated_elsewhere_count_at_the_largest_budget() -> None:
    searcher = bohb()
    for step in range(6):
        searcher.add_evaluated_point({"x": step / 5, "y": 0.5}, step, intermediate_values=[9.0])
    ask(searcher, 1)
    report(searcher, 0, 9, -1.0)
    good, _ = searcher._models()  # type: ignore[misc]
    assert good.points[1].tolist() == [0.0, 0.5]
    assert len(searcher._seen[1]) == 6


def test_it_learns_with_asha_and_survives_kills(tmp_path: Path) -> None:
    def asha() -> ASHAScheduler:
        return ASHAScheduler(metric="loss", mode="min", max_t=9, grace_period=1, reduction_factor=3)

    def loss(config: Any) -> float:
        return (config["x"] - 0.5) ** 2 + (config["y"] - 0.5) ** 2  # type: ignore[no-any-return]

    runs = [
        Experiment(tmp_path / name, TuneBOHB(), SPACE, loss, 40, scheduler=asha, iterations=9)
        for name in ("quiet", "killed")
    ]
    expected = runs[0].run()
    assert runs[1].run(kill_every=40) == expected
    searcher = runs[0].searcher.used
    assert isinstance(searcher, TuneBOHB)
    sizes = [len(searcher._seen[budget]) for budget in (1, 3, 9)]
    assert sizes[0] == 40 > sizes[1] > sizes[2] > 0
    assert np.mean([loss(config) for config in expected[20:]]) < np.mean([loss(config) for config in expected[:10]])


@pytest.mark.parametrize("limit", [0, 3])
def test_it_learns_at_each_budget_of_hyperband(tmp_path: Path, limit: int) -> None:
    """Its trials pause at rungs; with a limit of its own, paused ones leave room for those that the bracket lacks."""

    def loss(config: Any) -> float:
        return (config["x"] - 0.5) ** 2 + (config["y"] - 0.5) ** 2  # type: ignore[no-any-return]

    def hyperband() -> HyperBandForBOHB:
        return HyperBandForBOHB(metric="loss", mode="min", max_t=9, reduction_factor=3)

    experiment = Experiment(
        tmp_path / "exp",
        TuneBOHB(max_concurrent=limit),
        SPACE,
        loss,
        34,
        at_a_time=5,
        scheduler=hyperband,
        iterations=9,
    )
    configs = experiment.run(kill_every=60)
    assert len(configs) == 34
    assert experiment.drivers > 1
    searcher = experiment.searcher.used
    assert isinstance(searcher, TuneBOHB)
    assert searcher._paused == set()
    assert searcher._pending == {}
    assert len(searcher._seen[9]) >= 3
    assert len(searcher._seen[1]) > 20 > len(searcher._seen[9])
    replayed = experiment.replayed().searcher
    assert ask(replayed, 5) == ask(searcher, 5)


def test_a_configuration_space() -> None:
    space = ConfigSpace.ConfigurationSpace(
        {
            "x": ConfigSpace.UniformFloatHyperparameter("x", 0, 1),
            "lr": ConfigSpace.UniformFloatHyperparameter("lr", 1e-4, 1, log=True),
            "n": ConfigSpace.UniformIntegerHyperparameter("n", 1, 3),
            "k": ConfigSpace.UniformIntegerHyperparameter("k", 1, 100, log=True),
            "act": ConfigSpace.CategoricalHyperparameter("act", ["a", "b"]),
            "size": ConfigSpace.OrdinalHyperparameter("size", ["s", "m", "l"]),
            "fix": ConfigSpace.Constant("fix", 7),
        }
    )
    searcher = TuneBOHB(space, metric="loss", mode="min", seed=1)
    configs = ask_and_tell(searcher, lambda config: config["x"], 40)
    assert {config["n"] for config in configs} == {1, 2, 3}
    assert {config["fix"] for config in configs} == {7}
    assert {type(config["act"]) for config in configs} == {str}
    domains = {parameter.name: parameter.domain for parameter in searcher.parameters}
    assert domains["lr"] == s.loguniform(1e-4, 1)
    assert domains["k"] == s.lograndint(1, 101)
    space.add(ConfigSpace.EqualsCondition(space["lr"], space["act"], "a"))
    with pytest.raises(SearchSpaceError, match="conditions"):
        TuneBOHB(space)
    odd = ConfigSpace.ConfigurationSpace({"b": ConfigSpace.BetaFloatHyperparameter("b", 2, 2, 0, 1)})
    with pytest.raises(SearchSpaceError, match="'b', a BetaFloat"):
        TuneBOHB(odd)

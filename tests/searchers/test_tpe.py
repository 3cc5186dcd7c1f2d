"""The searchers on models of hpctune's own: tree-structured Parzen estimators and a Gaussian process."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.schedulers import ASHAScheduler
from hpctune.search import BasicVariantGenerator, SearchGenerator, Suggestion, create_searcher
from hpctune.search.gp import GPSearch
from hpctune.search.models.axes import Axis, draw_design, draw_prior, normal_cdf
from hpctune.search.models.base import ModelSearch
from hpctune.search.models.gp import GaussianProcess, Observations, log_expected_improvement, propose as gp_propose
from hpctune.search.models.tpe import SETTINGS, Parzen, propose as tpe_propose
from hpctune.search.tpe import TPESearch
from tests.searchers.domains import PLAIN_DOMAINS
from tests.searchers.driving import Experiment, ask, ask_and_tell
from tests.searchers.problems import PROBLEMS, Problem

Make = Callable[..., ModelSearch]


def tpe(space: Any = None, seed: int | None = 3, **more: Any) -> ModelSearch:
    return TPESearch(space, metric="loss", mode=more.pop("mode", "min"), seed=seed, **more)


def gp(space: Any = None, seed: int | None = 3, **more: Any) -> ModelSearch:
    return GPSearch(space, metric="loss", mode=more.pop("mode", "min"), seed=seed, **more)


every = pytest.mark.parametrize("make", [tpe, gp])

DOMAINS = {
    **PLAIN_DOMAINS,
    "wide": s.lograndint(1, 100_000),
    "ordered choice": s.choice([16, 32, 64]),
    "choice of lists": s.choice([[1, 2], (3,), {"k": [4]}]),
    "choice of equals": s.choice([1, True, 1.0, "1"]),
    "one option": s.choice(["only"]),
}
TREE = {
    "x": s.uniform(0, 1),
    "twice": s.sample_from(lambda spec: 2 * spec.config.x),
    "net": {"layers": [s.randint(1, 4), 7, {"act": s.choice(["relu", "tanh"])}], "const": 3},
    "model": s.choice(
        [
            {"kind": "svm", "C": s.loguniform(1, 100), "half": s.sample_from(lambda spec: spec.config.model.C / 2)},
            {"kind": "rf", "depth": s.choice(["free", s.randint(2, 5)])},
            "none",
        ]
    ),
    "data": "mnist",
}
FLAT = {"x": s.uniform(-5, 10), "y": s.uniform(0, 15)}


def bowl(config: Mapping[str, Any]) -> float:
    return float((config["x"] - 2) ** 2 + (config["y"] - 9) ** 2)


# -- spaces -----------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_is_searched_within_its_bounds(make: Make, name: str) -> None:
    domain = DOMAINS[name]
    configs = ask_and_tell(make({"p": domain}), lambda config: float(len(repr(config["p"]))), 40)
    assert all(domain.is_valid(config["p"]) for config in configs)
    kinds = {type(option) for option in getattr(domain, "categories", [])} or {type(domain.sample(1))}
    assert {type(config["p"]) for config in configs} <= kinds


@every
def test_rare_values_are_found_as_well(make: Make) -> None:
    space = {"n": s.randint(0, 3), "q": s.qrandint(0, 4, 2), "l": s.lograndint(1, 5), "c": s.choice(list("xyz"))}
    configs = ask_and_tell(make(space), lambda config: 1.0, 60)
    for name, values in {"n": {0, 1, 2}, "q": {0, 2, 4}, "l": {1, 2, 3, 4}, "c": {"x", "y", "z"}}.items():
        assert {config[name] for config in configs} == values


@every
def test_nested_lists_constants_conditions_and_computed_values(make: Make) -> None:
    policy = SearchGenerator(make()).bind(TREE, 80, 0)
    seen = set()
    for index in range(50):
        answer = policy.suggest(index, str(index))
        assert isinstance(answer, Suggestion)
        config, model = answer.config, answer.config["model"]
        assert (config["data"], config["net"]["const"], config["net"]["layers"][1]) == ("mnist", 3, 7)
        assert config["net"]["layers"][0] in (1, 2, 3)
        assert config["net"]["layers"][2]["act"] in ("relu", "tanh")
        assert config["twice"] == answer.evaluated["twice"] == 2 * config["x"]
        assert "data" not in answer.evaluated
        if model != "none" and model["kind"] == "svm":
            assert set(model) == {"kind", "C", "half"}
            assert model["half"] == model["C"] / 2
        seen.add(model if model == "none" else type(model["depth"]) if model["kind"] == "rf" else "svm")
        policy.on_complete(str(index), {"loss": config["x"]}, False)
    assert seen == {"none", "svm", str, int}


@every
def test_what_cannot_be_searched_is_named(make: Make) -> None:
    with pytest.raises(SearchSpaceError, match=r"Search cannot search 'a/g': it is a grid_search.*choice"):
        make({"a": {"g": s.grid_search([1, 2])}, "x": s.uniform(0, 1)})
    with pytest.raises(SearchSpaceError, match="hpctune domains"):
        make({"x": 3})
    with pytest.raises(SearchSpaceError, match=r"The sample_from function of 'f' failed with ZeroDivisionError"):
        make({"x": s.uniform(0, 1), "f": s.sample_from(lambda spec: 1 / 0)}).suggest("t")
    with pytest.raises(UsageError, match="n_initial_points"):
        make(FLAT, n_initial_points=0)


# -- what it is told --------------------------------------------------------------------------------------------------


@every
def test_seeds(make: Make) -> None:
    first, again, other = (ask_and_tell(make(FLAT, seed=seed), bowl, 20) for seed in (1, 1, 2))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


@every
def test_max_is_min_of_the_negative(make: Make) -> None:
    assert ask_and_tell(make(FLAT), bowl, 25) == ask_and_tell(make(FLAT, mode="max"), lambda c: -bowl(c), 25)


@every
def test_points_come_first_and_rewards_are_learned(make: Make) -> None:
    best = {"x": 2.0, "y": 9.0}
    searcher = make(FLAT, points_to_evaluate=[best, {"y": 1.0}])
    first, second = ask(searcher, 2)
    assert first == best
    assert second["y"] == 1.0
    assert -5 <= second["x"] <= 10

    points = ask_and_tell(make(FLAT, seed=8), bowl, 30)
    rewards = [bowl(point) for point in points]
    told = make(FLAT, points_to_evaluate=points, evaluated_rewards=rewards)
    [suggested] = ask(told, 1)
    assert bowl(suggested) < statistics.median(bowl(c) for c in ask(make(FLAT), 60))
    added = make(FLAT)
    for point, reward in zip(points, rewards, strict=True):
        added.add_evaluated_point(point, reward)
    assert ask(added, 1) == [suggested]


@every
@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_where_trials_fail_fewer_are_tried(make: Make, bad: float | None) -> None:
    """Almost half of the space fails."""

    def loss(config: Mapping[str, Any]) -> float | None:
        return bad if config["x"] < 1.5 else bowl({**config, "x": config["x"] - 3})

    configs = ask_and_tell(make(FLAT), loss, 60)
    assert sum(config["x"] < 1.5 for config in configs[20:]) < 0.2 * 40
    assert min(value for config in configs if isinstance(value := loss(config), float) and value < 1e9) < 0.5


@every
def test_all_failing_is_no_end(make: Make) -> None:
    configs = ask_and_tell(make(FLAT), lambda config: None, 30)
    assert len({config["x"] for config in configs}) == 30


@every
def test_parallel_trials_differ(make: Make) -> None:
    """Twelve at a time, without a result in between."""
    searcher = make(FLAT)
    ask_and_tell(searcher, bowl, 20)
    spread = ask(searcher, 12, first=100)
    assert len({(round(config["x"], 2), round(config["y"], 2)) for config in spread}) >= 10


@every
def test_nothing_is_tried_twice_before_all_has_been_tried(make: Make) -> None:
    space = {"a": s.randint(0, 4), "b": s.choice(["u", "v", "w"])}
    configs = ask_and_tell(make(space), lambda config: config["a"] + len(config["b"]), 12)
    counts = Counter((config["a"], config["b"]) for config in configs[10:])
    assert max(counts.values()) == 1
    assert not set(counts) & {(config["a"], config["b"]) for config in configs[:10]}


@every
def test_trials_under_way_count_with_what_they_have_reported(make: Make) -> None:
    def suggested(**options: Any) -> list[dict[str, Any]]:
        searcher = make(FLAT, **options)
        for number, config in enumerate(ask(searcher, 30)):
            searcher.on_trial_result(f"t{number}", {"loss": bowl(config), "training_iteration": 1})
        return ask(searcher, 5, first=30)

    def median(configs: list[dict[str, Any]]) -> float:
        return statistics.median(map(bowl, configs))

    assert median(suggested()) < 0.5 * median(suggested(learn_from_intermediate=False))
    assert suggested(learn_from_intermediate=False) == ask(make(FLAT), 35)[30:]


def test_a_process_knows_what_early_stops_mean() -> None:
    """The longer a trial trains the lower its loss: one that was stopped early is no worse for that."""
    searcher = gp({"x": s.uniform(0, 1)})
    for number in range(24):
        [config] = ask(searcher, 1, first=number)
        for iteration in (1, 3, 9):
            loss = (config["x"] - 0.3) ** 2 + 1 / iteration
            row = {"loss": loss, "training_iteration": iteration}
            searcher.on_trial_result(f"t{number}", row)
            if (iteration == 1 and number % 3) or iteration == 9:  # two of three are stopped, whatever they are
                searcher.on_trial_complete(f"t{number}", row)
                break
    assert abs(ask(searcher, 1, first=50)[0]["x"] - 0.3) < 0.05


# -- resuming ---------------------------------------------------------------------------------------------------------


@every
def test_a_killed_driver_changes_nothing(make: Make, tmp_path: Path) -> None:
    def asha() -> ASHAScheduler:
        return ASHAScheduler(metric="loss", mode="min", max_t=9, reduction_factor=3)

    def experiment(name: str) -> Experiment:
        points = [{"x": 0.25}]
        searcher = make(seed=None, points_to_evaluate=points, n_initial_points=6)
        return Experiment(
            tmp_path / name, searcher, TREE, lambda c: c["x"], 20, at_a_time=3, scheduler=asha, iterations=9
        )

    whole, killed = experiment("whole"), experiment("killed")
    configs = whole.run()
    assert len(configs) == 20
    assert configs[0]["x"] == 0.25
    assert killed.run(kill_every=13) == configs
    assert killed.drivers > 3
    assert killed.replayed().suggest(0, "next") == whole.replayed().suggest(0, "next")


# -- quality and cost -------------------------------------------------------------------------------------------------


def best_of(make: Make, problem: Problem, seed: int, trials: int = 60) -> float:
    return min(map(problem.loss, ask_and_tell(make(problem.space, seed=seed), problem.loss, trials)))


@pytest.mark.parametrize("make", [tpe, pytest.param(gp, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_better_than_random(make: Make, problem: Problem) -> None:
    """The median over ten seeds at 60 trials is at most half as far from the minimum (measured: a quarter at most)."""

    def at_random(seed: int) -> float:
        policy = BasicVariantGenerator().bind(problem.space, 60, seed)
        answers = [policy.suggest(index, str(index)) for index in range(60)]
        return min(problem.loss(answer.config) for answer in answers if isinstance(answer, Suggestion))

    ours = statistics.median(best_of(make, problem, seed) for seed in range(10)) - problem.best
    random = statistics.median(map(at_random, range(10))) - problem.best
    assert ours <= (0.6 if make is tpe else 0.3) * random


def test_by_name() -> None:
    assert isinstance(create_searcher("tpe", metric="loss", mode="min", n_initial_points=5), TPESearch)
    assert isinstance(create_searcher("gp", seed=1), GPSearch)


# -- the mathematics --------------------------------------------------------------------------------------------------

AXES = [
    Axis(prior_probabilities=(0.5, 0.3, 0.2)),
    Axis(parent=0, option=1),
    Axis(prior_probabilities=(0.25,) * 4, centers=(0.125, 0.375, 0.625, 0.875)),
]


def test_a_design_has_one_point_in_every_share_of_an_axis() -> None:
    points = draw_design([Axis(), Axis(prior_probabilities=(0.5, 0.25, 0.25))], 8, np.random.default_rng(1))
    assert sorted(np.floor(points[:, 0] * 8)) == list(range(8))
    assert Counter(points[:, 1]) == {0: 4, 1: 2, 2: 2}


def test_the_prior_has_its_masses_and_leaves_out_what_does_not_exist() -> None:
    points = draw_prior(AXES, 4000, np.random.default_rng(1))
    shares = np.bincount(points[:, 0].astype(int)) / 4000
    assert np.abs(shares - [0.5, 0.3, 0.2]).max() < 0.03
    assert (np.isnan(points[:, 1]) == (points[:, 0] != 1)).all()


def test_a_parzen_density_is_one_and_is_what_is_drawn() -> None:
    rng = np.random.default_rng(2)
    points = draw_prior(AXES, 7, rng)
    density = Parzen(AXES, points, np.linspace(1, 2, 7), SETTINGS)
    cells = np.linspace(0.005, 0.995, 100)
    grid = [(a, b, c) for a in range(3) for b in (cells if a == 1 else [math.nan]) for c in range(4)]
    chances = np.exp(density.log_density(np.array(grid))) * [0.01 if a == 1 else 1 for a, _, _ in grid]
    assert chances.sum() == pytest.approx(1, abs=1e-3)
    drawn = density.sample(20_000, rng)
    for option in range(3):
        own = sum(chance for chance, (a, _, _) in zip(chances, grid, strict=True) if a == option)
        assert (drawn[:, 0] == option).mean() == pytest.approx(own, abs=0.015)
    low = sum(chance for chance, (a, b, _) in zip(chances, grid, strict=True) if a == 1 and b < 0.4)
    assert ((drawn[:, 0] == 1) & (drawn[:, 1] < 0.4)).mean() == pytest.approx(low, abs=0.015)


def test_the_normal_distribution() -> None:
    z = np.linspace(-6, 6, 500)
    exact = [statistics.NormalDist().cdf(each) for each in z]
    assert np.abs(normal_cdf(z) - exact).max() < 2e-7


def test_expected_improvement_is_the_integral() -> None:
    steps = np.linspace(-8, 8, 400_001)
    bell = np.exp(-0.5 * steps**2) / math.sqrt(2 * math.pi) * (steps[1] - steps[0])
    for mean, deviation, goal in ((0.5, 1.0, 0.0), (-1.0, 0.3, 0.2), (2.0, 0.7, 0.1)):
        expected = (np.maximum(goal - (mean + deviation * steps), 0) * bell).sum()
        [found] = log_expected_improvement(np.array([mean]), np.array([deviation]), goal)
        assert found == pytest.approx(math.log(expected), abs=0.01)
    far = log_expected_improvement(np.linspace(0, 60, 400), np.ones(400), 0.0)
    assert (np.diff(far) < 0).all(), "it falls, however unlikely an improvement is"


def test_a_process_goes_through_what_it_has_seen() -> None:
    rng = np.random.default_rng(3)
    places = rng.random((25, 2))
    values = np.sin(5 * places[:, 0]) + places[:, 1] ** 2
    process = GaussianProcess.fit(places, np.array([0, 1]), (values - values.mean()) / values.std(), rng)
    mean, deviation = process.predict(places)
    assert np.abs(mean * values.std() + values.mean() - values).max() < 0.05
    new = rng.random((200, 2))
    mean, deviation = process.predict(new)
    truth = (np.sin(5 * new[:, 0]) + new[:, 1] ** 2 - values.mean()) / values.std()
    assert np.abs(mean - truth).mean() < 0.1
    assert (np.abs(mean - truth) < 4 * deviation + 0.05).mean() > 0.9


@pytest.mark.parametrize("losses", [np.zeros(30), np.append(np.arange(15.0), [math.inf] * 15), np.full(30, 1e300)])
def test_odd_losses_are_no_obstacle(losses: Any) -> None:
    rng = np.random.default_rng(4)
    points, none = draw_prior(AXES, 30, rng), np.empty((0, 3))
    for point in (
        tpe_propose(AXES, points, losses, none, SETTINGS, rng),
        gp_propose(AXES, Observations(points, losses, np.ones(30)), none, rng),
    ):
        assert point[0] in (0, 1, 2)
        assert np.isnan(point[1]) == (point[0] != 1)
        assert point[2] in (0, 1, 2, 3)

"""What holds for every searcher whose library searches axes. A test module derives from it, one for each library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.axes import AxisSearcher
from tests.searchers.domains import PLAIN_DOMAINS
from tests.searchers.driving import Experiment, ask_and_tell

DOMAINS = {
    **PLAIN_DOMAINS,
    "numbers": s.choice([16, 32, 64]),
    "lists": s.choice([[1, 2], (3,), {"k": [4]}]),
    "one": s.choice(["only"]),
    "equal": s.uniform(2, 2),
}
TREE = {
    "x": s.uniform(0, 1),
    "net": {"layers": [s.randint(1, 4), 7]},
    "model": s.choice([{"kind": "svm", "C": s.loguniform(1, 100)}, {"kind": "rf", "depth": s.randint(2, 5)}, "none"]),
    "data": "mnist",
}
PLANE = {"x": s.uniform(0, 1), "y": s.uniform(-1, 1)}


def square(config: Any) -> float:
    return float((config["x"] - 0.7) ** 2 + (config["y"] - 0.2) ** 2)


class SearcherContract:
    """``kind``: the searcher; ``seed``: the name of its argument for the seed; ``arguments``: what else it gets."""

    kind: type[AxisSearcher]
    seed = "seed"
    space = "space"
    arguments: dict[str, Any] = {}
    trials = 16
    """How many trials: some random ones, and some of the model."""

    def make(self, space: Any = None, seed: int = 3, **more: Any) -> AxisSearcher:
        given = {"metric": "loss", "mode": "min", self.space: space, self.seed: seed}
        return self.kind(**{**given, **self.arguments, **more})

    def test_every_domain_is_searched_within_its_bounds(self) -> None:
        searcher = self.make(DOMAINS)
        configs = ask_and_tell(searcher, lambda config: config["uniform"] + config["randint"], self.trials)
        for name, domain in DOMAINS.items():
            assert all(domain.is_valid(config[name]) for config in configs), name
            kinds = {type(option) for option in getattr(domain, "categories", [])} or {type(domain.sample(1))}
            assert {type(config[name]) for config in configs} <= kinds, name

    def test_nested_spaces_and_conditions(self) -> None:
        searcher = self.make()
        assert searcher.set_search_properties(None, None, TREE)
        for config in ask_and_tell(searcher, lambda config: config["x"], self.trials):
            assert config["net"]["layers"][0] in (1, 2, 3)
            assert config["net"]["layers"][1] == 7
            model = config["model"]
            assert model == "none" or set(model) == ({"kind", "C"} if model["kind"] == "svm" else {"kind", "depth"})

    def test_what_cannot_be_searched_is_named(self) -> None:
        for space, said in (
            ({"g": s.grid_search([1, 2]), "x": s.uniform(0, 1)}, r"'g': it is a grid_search"),
            ({"f": s.sample_from(lambda spec: 1)}, r"'f': it is a sample_from"),
            ({"c": s.choice([1])}, "nothing to search"),
            (5, "takes a space of hpctune domains"),
        ):
            with pytest.raises(SearchSpaceError, match=said):
                self.make(space).suggest("t")
        with pytest.raises(UsageError, match="needs both"):
            self.kind(**{self.space: PLANE, **self.arguments}).suggest("t")

    def test_points_come_first(self) -> None:
        points = [{"x": 0.25, "y": 0.5}, {"x": 0.5}]
        first, second, third = ask_and_tell(self.make(PLANE, points_to_evaluate=points), square, 3)
        assert first == pytest.approx(points[0])
        assert second["x"] == pytest.approx(0.5)
        assert -1 <= second["y"] <= 1
        assert third["x"] not in (0.25, 0.5)

    def test_points_that_were_changed_for_a_resume(self) -> None:
        """What was tried is not tried again, and what is new is tried: in whatever order the list is now."""
        a, b, c, d = ({"x": x, "y": y} for x, y in ((0.25, 0.5), (0.5, 0.0), (0.75, -0.5), (0.125, 0.25)))
        tried = ask_and_tell(self.make(PLANE, points_to_evaluate=[a, b, c]), square, 2)
        resumed: Any = self.make(PLANE, points_to_evaluate=[d, b, a])
        for number, config in enumerate(tried):
            resumed.on_suggestion_replayed(str(number), config)
            resumed.on_trial_complete(str(number), {"loss": square(config)})
        assert resumed.suggest("2") == pytest.approx(d)
        resumed.on_trial_complete("2", {"loss": square(d)})
        next_one: Any = resumed.suggest("3")
        assert all(next_one != pytest.approx(point) for point in (a, b, c, d))

    def test_points_with_rewards_are_learned_from_and_not_tried(self) -> None:
        points = [{"x": 0.25, "y": 0.5}, {"x": 0.5, "y": 0.0}]
        known = self.make(PLANE, points_to_evaluate=points, evaluated_rewards=[0.3, 0.1])
        configs = ask_and_tell(known, square, self.trials)
        assert len(configs) == self.trials
        assert all(config["x"] != pytest.approx(0.25) for config in configs)
        with pytest.raises(UsageError, match="evaluated_rewards has 1 entries"):
            self.make(PLANE, points_to_evaluate=points, evaluated_rewards=[0.3])

    def test_points_that_were_evaluated_elsewhere(self) -> None:
        searcher = self.make(PLANE)
        searcher.add_evaluated_point({"x": 0.25, "y": 0.5}, 0.3)
        ask_and_tell(searcher, square, 2)
        searcher.add_evaluated_point({"x": 0.5, "y": 0.5}, 0.3)
        searcher.add_evaluated_point({"x": 0.6, "y": 0.5}, 0.3, error=True)
        assert len(ask_and_tell(searcher, square, self.trials, first=2)) == self.trials

    def test_a_seed_says_what_is_suggested(self) -> None:
        import numpy as np

        np.random.seed(1)
        first = ask_and_tell(self.make(PLANE), square, self.trials)
        np.random.seed(2)
        before = np.random.get_state()[1].tolist()
        assert ask_and_tell(self.make(PLANE), square, self.trials) == first
        assert np.random.get_state()[1].tolist() == before
        assert ask_and_tell(self.make(PLANE, seed=4), square, self.trials) != first
        other = self.make(None, **{self.seed: None})
        other.set_search_properties(None, None, PLANE, num_samples=self.trials, seed=3)
        if not self.arguments:
            assert ask_and_tell(other, square, self.trials)[0] == first[0]

    def test_the_largest_is_minus_the_smallest(self) -> None:
        smallest = ask_and_tell(self.make(PLANE), square, self.trials)
        largest = ask_and_tell(self.make(PLANE, mode="max"), lambda config: -square(config), self.trials)
        assert smallest == largest

    def test_failures_do_not_stop_the_search(self) -> None:
        values = iter([None, math.nan, None, math.inf, 1.0, None, math.nan, *([0.5] * self.trials)])
        configs = ask_and_tell(self.make(PLANE), lambda config: next(values), self.trials)
        assert len({config["x"] for config in configs}) > self.trials / 2
        failing = self.make(PLANE)
        assert len(ask_and_tell(failing, lambda config: None, self.trials)) == self.trials

    def test_what_was_told_again_leads_to_the_same(self) -> None:
        searcher = self.make(PLANE)
        configs = ask_and_tell(searcher, square, self.trials)
        resumed = self.make(PLANE)
        half = self.trials - 4
        for number, config in enumerate(configs[:half]):
            resumed.on_suggestion_replayed(f"t{number}", config)
            resumed.on_trial_complete(f"t{number}", {"loss": square(config)})
        assert ask_and_tell(resumed, square, 4, first=half) == configs[half:]

    def test_what_was_recorded_counts_though_the_library_says_otherwise(self) -> None:
        searcher = self.make(PLANE)
        for number in range(self.trials - 2):
            config = {"x": number / self.trials, "y": 0.5}
            searcher.on_suggestion_replayed(f"t{number}", config)
            assert searcher._pending[f"t{number}"] == pytest.approx(config)
            searcher.on_trial_complete(f"t{number}", {"loss": square(config)})
        assert len(ask_and_tell(searcher, square, 4, first=self.trials - 2)) == 4

    def test_a_saved_state_goes_on(self, tmp_path: Path) -> None:
        searcher = self.make(PLANE)
        ask_and_tell(searcher, square, self.trials - 3)
        searcher.save(tmp_path / "state")
        expected = ask_and_tell(searcher, square, 3, first=self.trials)
        restored = self.make(PLANE)
        restored.restore(tmp_path / "state")
        assert ask_and_tell(restored, square, 3, first=self.trials) == expected

    def test_an_experiment_that_is_killed_ends_the_same(self, tmp_path: Path) -> None:
        ends = []
        for name, kill_every in (("whole", None), ("killed", 5)):
            searcher = self.make(None, **({"budget": self.trials} if self.space == "dim_dict" else {}))
            experiment = Experiment(tmp_path / name, searcher, PLANE, square, self.trials, at_a_time=3)
            if kill_every:
                experiment.bind = lambda num_samples, seed, e=experiment: _fresh(self, e, num_samples, seed)  # type: ignore[method-assign, misc]
                experiment.sim.setup.bind_search = experiment.bind
            ends.append(experiment.run(kill_every))
        assert len(ends[0]) == self.trials
        assert ends[0] == ends[1]


def _fresh(contract: SearcherContract, experiment: Experiment, num_samples: int, seed: int) -> Any:
    """A new process has a new searcher."""
    experiment.searcher = contract.make(None, **({"budget": contract.trials} if contract.space == "dim_dict" else {}))
    return Experiment.bind(experiment, num_samples, seed)

"""The policies behind the search port: random and grid search, and user-made searchers."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import hpctune.search as search
import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search import EXHAUSTED, WAIT, BasicVariantGenerator, Searcher, SearchGenerator, SearchPolicy, Suggestion
from hpctune.search.create import HOMES, searcher_class
from hpctune.search.variant_generator import format_vars, generate_variants, has_unresolved_values, parse_spec_vars

SPACE = {"x": s.uniform(0, 1), "g": s.grid_search([1, 2]), "k": 3}


class Scripted(Searcher):
    """Suggests what it is given, and writes down what it is told."""

    def __init__(self, answers: list[Any], accepts: bool = True) -> None:
        super().__init__()
        self.answers, self.accepts, self.log = list(answers), accepts, list[Any]()

    def set_search_properties(self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any) -> bool:
        super().set_search_properties(metric, mode, config)
        self.log.append((metric, mode, dict(config), spec))
        return self.accepts

    def suggest(self, trial_id: str) -> Any:
        return self.answers.pop(0)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.log.append(("result", trial_id, result))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.log.append(("complete", trial_id, result, error))

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        self.log.append(("replayed", trial_id, config))


def used_by(policy: search.SearcherPolicy) -> Scripted:
    """The copy of the searcher that the policy asks."""
    assert isinstance(policy.searcher, Scripted)
    return policy.searcher


def policy_of(searcher: Searcher, num_samples: int = 10, space: dict[str, Any] | None = None) -> search.SearcherPolicy:
    return SearchGenerator(searcher).bind(space or {}, num_samples, 0, metric="m", mode="min")


def test_the_singletons_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps([WAIT, EXHAUSTED])) == [WAIT, EXHAUSTED]
    assert pickle.loads(pickle.dumps(WAIT)) is WAIT
    assert repr([WAIT, EXHAUSTED]) == "[WAIT, EXHAUSTED]"


def test_basic_variants_by_number_until_exhausted() -> None:
    policy: SearchPolicy = BasicVariantGenerator().bind(SPACE, 2, seed=5)
    assert policy.total == 4
    suggestions = [policy.suggest(i, f"t{i}") for i in range(5)]
    assert suggestions.pop() is EXHAUSTED
    assert [a.config["g"] for a in suggestions if isinstance(a, Suggestion)] == [1, 2, 1, 2]
    last = suggestions[3]
    assert isinstance(last, Suggestion)
    assert last.evaluated == {"x": last.config["x"], "g": 2}
    resumed = BasicVariantGenerator().bind(SPACE, 2, seed=5)
    for index, tried in enumerate(suggestions[:3]):
        assert isinstance(tried, Suggestion)
        resumed.replay(index, f"t{index}", tried.config)
    assert resumed.suggest(3, "t3") == last


def test_basic_variants_without_end() -> None:
    policy = BasicVariantGenerator().bind(SPACE, -1, seed=5)
    assert policy.total is None
    assert isinstance(policy.suggest(10**6, "t"), Suggestion)


@pytest.mark.parametrize("make", [lambda: 7, lambda: np.random.default_rng(7), lambda: np.random.RandomState(7)])
def test_random_state_overrides_the_seed_of_the_experiment(make: Any) -> None:
    policies = [BasicVariantGenerator(random_state=make()).bind(SPACE, 1, seed) for seed in (1, 2)]
    assert policies[0].suggest(0, "t") == policies[1].suggest(0, "t")
    assert policies[0].suggest(0, "t") != BasicVariantGenerator().bind(SPACE, 1, 1).suggest(0, "t")


def test_options_of_basic_variants() -> None:
    generator = BasicVariantGenerator(points_to_evaluate=[{"x": 0.5}], constant_grid_search=True)
    policy = generator.bind(SPACE, 2, 0)
    configs = [a.config for i in range(4) if isinstance(a := policy.suggest(i, str(i)), Suggestion)]
    assert [c["x"] for c in configs[:2]] == [0.5, 0.5]
    assert configs[2]["x"] == configs[3]["x"] != 0.5


def test_max_concurrent_of_basic_variants_counts_replayed_trials() -> None:
    policy = BasicVariantGenerator(max_concurrent=2).bind(SPACE, 5, 0)
    policy.replay(0, "a", {})
    assert isinstance(policy.suggest(1, "b"), Suggestion)
    assert policy.suggest(2, "c") is WAIT
    policy.on_result("a", {"m": 1})
    assert policy.suggest(2, "c") is WAIT
    policy.on_complete("a", None, True)
    assert isinstance(policy.suggest(2, "c"), Suggestion)
    for bad in (-1, 1.5, True):
        with pytest.raises(UsageError, match="max_concurrent"):
            BasicVariantGenerator(max_concurrent=bad)


def test_a_searcher_is_told_what_to_search_and_completed_with_constants() -> None:
    space = {"x": s.uniform(0, 1), "n": {"y": s.randint(0, 2), "k": [1]}}
    policy = policy_of(Scripted([{"x": 0.5, "n": {"y": 1}, "new": 2}]), 3, space)
    searcher = used_by(policy)
    assert searcher.log == [("m", "min", space, {"num_samples": 3, "seed": 0})]
    assert (searcher.metric, searcher.mode, policy.total) == ("m", "min", 3)
    answer = policy.suggest(0, "t0")
    assert isinstance(answer, Suggestion)
    assert answer.config == {"x": 0.5, "n": {"y": 1, "k": [1]}, "new": 2}
    assert answer.evaluated == {"x": 0.5, "n/y": 1, "new": 2}
    answer.config["n"]["k"].append(5)
    assert space["n"]["k"] == [1]


def test_a_searcher_waits_finishes_and_is_limited() -> None:
    policy = policy_of(Scripted([None, Searcher.FINISHED, {}, {}]), 2)
    assert policy.suggest(0, "a") is WAIT
    assert policy.suggest(0, "a") is EXHAUSTED
    assert isinstance(policy.suggest(1, "a"), Suggestion)
    assert policy.suggest(2, "a") is EXHAUSTED
    assert policy_of(Scripted([]), -1).total is None
    with pytest.raises(UsageError, match="num_samples"):
        policy_of(Scripted([]), 0)


def test_results_reach_the_searcher_for_its_own_trials_once() -> None:
    policy = policy_of(Scripted([{"x": 1}]))
    searcher = used_by(policy)
    searcher.log.clear()
    policy.suggest(0, "a")
    for trial in ("a", "stranger"):
        policy.on_result(trial, {"m": 1})
        policy.on_complete(trial, None, True)
        policy.on_complete(trial, {"m": 1}, False)
    assert searcher.log == [("result", "a", {"m": 1}), ("complete", "a", None, True)]


def test_replay_never_asks_the_searcher() -> None:
    policy = policy_of(Scripted([]))
    searcher = used_by(policy)
    policy.replay(0, "a", {"x": 1})
    policy.on_complete("a", {"m": 2}, False)
    assert searcher.log[1:] == [("replayed", "a", {"x": 1}), ("complete", "a", {"m": 2}, False)]


def test_wrong_answers_of_a_searcher_are_named() -> None:
    with pytest.raises(UsageError, match=r"Scripted.suggest returned 5"):
        policy_of(Scripted([5])).suggest(0, "a")
    space = {"x": s.uniform(0, 1), "n": {"y": s.uniform(0, 1)}, "g": s.grid_search([1])}
    with pytest.raises(SearchSpaceError, match=r"no value for 'n/y', 'g'"):
        policy_of(Scripted([{"x": 5}]), 1, space).suggest(0, "a")
    with pytest.raises(SearchSpaceError, match=r"Scripted does not search .* chooses 'x', 'g'"):
        policy_of(Scripted([], accepts=False), 1, SPACE)
    assert policy_of(Scripted([{}], accepts=False), 1, {"k": 1}).suggest(0, "a") == Suggestion({"k": 1}, {})
    with pytest.raises(UsageError, match="instance of a Searcher"):
        SearchGenerator(Scripted)


def test_set_search_properties_may_lack_further_keywords() -> None:
    class Old(Scripted):
        def set_search_properties(self, metric: Any, mode: Any, config: Any) -> bool:
            return super().set_search_properties(metric, mode, config)

    policy = policy_of(search.ConcurrencyLimiter(Old([]), 1), 1, SPACE)
    assert isinstance(policy.searcher, search.ConcurrencyLimiter)
    assert policy.searcher.searcher.log == [("m", "min", SPACE, {})]  # type: ignore[attr-defined]


def test_every_driver_asks_a_copy_and_the_last_one_is_kept() -> None:
    inner = Scripted([{"x": 1}, {"x": 2}])
    given = search.ConcurrencyLimiter(inner, 5)
    assert given.used is given
    for _ in range(2):
        policy = policy_of(given)
        answer = policy.suggest(0, "a")
        assert isinstance(answer, Suggestion)
        assert answer.config == {"x": 1}
    assert inner.log == []
    assert given.used is policy.searcher
    assert inner.used is policy.searcher.searcher  # type: ignore[attr-defined]
    assert given.used._used is None
    assert pickle.loads(pickle.dumps(given)).used.suggest("a") == {"x": 1}
    stuck = Scripted([])
    stuck.log.append(i for i in ())
    with pytest.raises(UsageError, match=r"Scripted cannot be copied.*generator"):
        policy_of(stuck)


def test_searchers_by_name(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("random", "grid", "variant_generator"):
        made = search.create_searcher(name, max_concurrent=3, metric="m", mode="max")
        assert isinstance(made, BasicVariantGenerator)
        assert made.max_concurrent == 3
    with pytest.raises(UsageError, match=r'"optun".*"variant_generator", "random", "grid".*"optuna"'):
        search.create_searcher("optun")
    assert isinstance(search.create_searcher("random", seed=1), BasicVariantGenerator)
    assert "has no argument 'seed', which is ignored. It has: points_to_evaluate" in caplog.text


@pytest.mark.parametrize("name", ["optuna", "hyperopt", "bohb", "tpe"])
def test_searchers_on_models_by_name(name: str) -> None:
    made = search.create_searcher(name, metric="m", mode="max", space={"x": s.uniform(0, 1)})
    assert isinstance(made, Searcher)
    assert (made.metric, made.mode) == ("m", "max")
    assert set(made.suggest("t")) == {"x"}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_name_has_a_class_that_loads_without_its_package(name: str) -> None:
    assert issubclass(searcher_class(name), (Searcher, search.SearchAlgorithm))


def test_what_search_alg_may_be() -> None:
    assert isinstance(search.as_search_algorithm(None), BasicVariantGenerator)
    assert isinstance(search.as_search_algorithm("grid"), BasicVariantGenerator)
    given = BasicVariantGenerator()
    assert search.as_search_algorithm(given) is given
    assert isinstance(search.as_search_algorithm(Scripted([])), SearchGenerator)
    told = Scripted([])
    search.Searcher.__init__(told, max_concurrent=2)
    limited = search.as_search_algorithm(told)
    assert isinstance(limited, SearchGenerator)
    assert isinstance(limited.searcher, search.ConcurrencyLimiter)
    assert limited.searcher.max_concurrent == 2
    with pytest.raises(UsageError, match="use_early_stopped_trials=False"):
        search.Searcher(use_early_stopped_trials=False)
    with pytest.raises(UsageError, match="search_alg takes"):
        search.as_search_algorithm(5)


def test_every_public_name_exists() -> None:
    for name in search.__all__:
        assert getattr(search, name) is not None
        assert name in dir(search)
    with pytest.raises(AttributeError, match="PetunaSearch"):
        search.PetunaSearch  # noqa: B018


def test_generate_variants_of_a_space_and_of_a_whole_spec() -> None:
    config = {"a": s.grid_search([1, 2]), "b": [s.sample_from(lambda spec: spec.config.a * 10)]}
    resolved, plain = list(generate_variants(config))[1]
    assert (resolved, plain) == ({("a",): 2, ("b", 0): 20}, {"a": 2, "b": [20]})
    resolved, spec = list(generate_variants({"config": config, "stop": {"n": 1}}))[1]
    assert resolved == {("config", "a"): 2, ("config", "b", 0): 20}
    assert spec == {"config": {"a": 2, "b": [20]}, "stop": {"n": 1}}
    assert format_vars(resolved) == "a=2,b_0=20"
    drawn = [[p["x"] for _, p in generate_variants(SPACE, random_state=seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({p["x"] for _, p in generate_variants(SPACE, constant_grid_search=True)}) == 1


def test_parse_spec_vars() -> None:
    constants, domains, axes = parse_spec_vars(SPACE)
    assert constants == [(("k",), 3)]
    assert domains == [(("x",), SPACE["x"])]
    assert axes == [(("g",), [1, 2])]
    assert has_unresolved_values(SPACE)
    assert not has_unresolved_values({"k": [3]})

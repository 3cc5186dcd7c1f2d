"""The Searcher base class and the searchers that wrap others."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpctune.errors import UsageError
from hpctune.search import ConcurrencyLimiter, Repeater, Searcher
from hpctune.search.repeater import TRIAL_INDEX


class Counting(Searcher):
    """Suggests 0, 1, 2 ... and writes down what it is told."""

    def __init__(self, metric: Any = "m", last: int = 10**9) -> None:
        super().__init__(metric, "min" if isinstance(metric, str) else ["min"] * len(metric))
        self.count, self.last, self.told = 0, last, list[Any]()

    def suggest(self, trial_id: str) -> Any:
        if self.count == self.last:
            return Searcher.FINISHED
        self.count += 1
        return {"n": self.count - 1, "deep": {"list": []}}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append((trial_id, result, error))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append((trial_id, result))

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        self.told.append((trial_id, config))

    def add_evaluated_point(self, parameters: Any, value: Any, error: bool = False, *rest: Any) -> None:
        self.told.append((parameters, value, error))


def test_the_base_class_leaves_only_suggest_to_define() -> None:
    searcher = Searcher()
    assert searcher.set_search_properties("m", "max", {}) is False
    assert (searcher.metric, searcher.mode) == ("m", "max")
    searcher.set_search_properties("other", "min", {})
    assert (searcher.metric, searcher.mode) == ("m", "max")
    searcher.on_trial_result("t", {})
    searcher.on_trial_complete("t", {}, error=False)
    searcher.on_suggestion_replayed("t", {})
    assert searcher.set_max_concurrency(3) is False
    with pytest.raises(NotImplementedError, match="suggest"):
        searcher.suggest("t")
    with pytest.raises(NotImplementedError, match="elsewhere"):
        searcher.add_evaluated_point({}, 1)


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("m", "best"), (["a", "b"], ["min", "x"]), (["a"], ["min", "max"]), (["a"], "min"), ("a", ["min"])],
)
def test_objectives_are_checked(metric: Any, mode: Any) -> None:
    with pytest.raises(UsageError, match="mode"):
        Searcher(metric, mode)
    with pytest.raises(UsageError, match="mode"):
        Searcher().set_search_properties(metric, mode, {})


def test_state_survives_a_file(tmp_path: Path) -> None:
    searcher = ConcurrencyLimiter(Repeater(Counting(), 2), 3)
    assert [searcher.suggest(t)["n"] for t in "abc"] == [0, 0, 1]
    searcher.save(tmp_path / "state.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["state.pkl"]
    again = ConcurrencyLimiter(Repeater(Counting(), 2), 3)
    again.restore(tmp_path / "state.pkl")
    assert again.suggest("d") is None
    again.on_trial_complete("a", {"m": 1})
    assert again.suggest("d")["n"] == 1
    with pytest.raises(UsageError, match="no searcher state"):
        again.restore(tmp_path / "other")


def test_the_newest_state_of_a_directory_is_restored(tmp_path: Path) -> None:
    searcher = Counting()
    with pytest.raises(UsageError, match="holds no searcher state"):
        searcher.restore_from_dir(tmp_path)
    for session, count, age in (("a", 5, 1), ("b", 7, 3), ("c", 6, 2)):
        searcher.count = count
        searcher.save_to_dir(tmp_path, session)
        os.utime(tmp_path / Searcher.CKPT_FILE_TMPL.format(session), (age, age))
    again = Counting()
    again.restore_from_dir(tmp_path)
    assert again.count == 7


def test_learning_from_finished_trials() -> None:
    searcher = Counting()
    trials = [
        SimpleNamespace(config={"x": 1}, last_result={"m": 3}, status="TERMINATED"),
        SimpleNamespace(config={"x": 2}, last_result={"m": 4}, status="ERROR"),
        SimpleNamespace(config={"x": 3}, last_result={}, status="ERROR"),
    ]
    searcher.add_evaluated_trials(SimpleNamespace(trials=trials), "m")
    searcher.add_evaluated_trials([SimpleNamespace(config={"x": 4}, metrics={"m": 5}, error=None)], "m")
    searcher.add_evaluated_trials(trials[0], "m")
    assert searcher.told == [({"x": 1}, 3, False), ({"x": 2}, 4, True), ({"x": 4}, 5, False), ({"x": 1}, 3, False)]
    with pytest.raises(UsageError, match="'loss'"):
        searcher.add_evaluated_trials(trials, "loss")


def test_a_limiter_lets_so_many_run() -> None:
    inner = Counting()
    limiter = ConcurrencyLimiter(inner, 2)
    assert [bool(limiter.suggest(t)) for t in "abc"] == [True, True, False]
    limiter.on_trial_complete("stranger", {})
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", {"m": 1}, error=False)
    limiter.on_trial_complete("a", {"m": 1}, error=False)
    assert inner.told == [("a", {"m": 1}, False)]
    assert limiter.suggest("c")
    assert limiter.set_max_concurrency(3) is True
    assert limiter.suggest("d")
    assert (limiter.metric, limiter.mode) == ("m", "min")


def test_a_limiter_counts_replayed_trials_but_no_refusals() -> None:
    inner = Counting(last=1)
    limiter = ConcurrencyLimiter(inner, 2)
    limiter.on_suggestion_replayed("a", {"n": 0})
    assert inner.told == [("a", {"n": 0})]
    assert limiter.suggest("b")
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", None, error=True)
    assert [limiter.suggest("c"), limiter.suggest("d")] == [Searcher.FINISHED] * 2


def test_a_searcher_that_keeps_limits_is_told_the_limit() -> None:
    class Own(Counting):
        limit = 0

        def set_max_concurrency(self, max_concurrent: int) -> bool:
            self.limit = max_concurrent
            return True

    inner = Own()
    limiter = ConcurrencyLimiter(inner, 1)
    assert inner.limit == 1
    assert limiter.suggest("a")
    assert limiter.suggest("b")
    limiter.on_trial_complete("b", {"m": 1})
    assert inner.told == [("b", {"m": 1}, False)]
    batched = ConcurrencyLimiter(Own(), 1, batch=True)
    assert batched.suggest("a")
    assert batched.suggest("b") is None


def test_a_batch_is_complete_before_the_next() -> None:
    inner = Counting()
    limiter = ConcurrencyLimiter(inner, 2, batch=True)
    assert limiter.suggest("a")
    assert limiter.suggest("b")
    limiter.on_trial_complete("b", {"m": 2})
    assert (limiter.suggest("c"), inner.told) == (None, [])
    limiter.on_trial_complete("a", None, error=True)
    assert inner.told == [("b", {"m": 2}, False), ("a", None, True)]
    assert limiter.suggest("c")


def test_a_batch_is_full_even_if_its_trials_run_one_after_another() -> None:
    inner = Counting()
    limiter = ConcurrencyLimiter(inner, 3, batch=True)
    for trial in "abc":
        assert inner.told == []
        assert limiter.suggest(trial)
        limiter.on_trial_complete(trial, {"m": 1})
    assert [told[0] for told in inner.told] == ["a", "b", "c"]


def test_a_searcher_that_waits_for_results_gets_those_that_are_held_back() -> None:
    class Waiting(Counting):
        def suggest(self, trial_id: str) -> Any:
            return None if self.count > len(self.told) else super().suggest(trial_id)

    inner = Waiting()
    limiter = ConcurrencyLimiter(inner, 3, batch=True)
    assert limiter.suggest("a")
    assert limiter.suggest("b") is None
    limiter.on_trial_complete("a", {"m": 1})
    assert inner.told == []
    assert limiter.suggest("b")
    assert inner.told == [("a", {"m": 1}, False)]


def test_a_repeater_repeats_and_averages() -> None:
    inner = Counting()
    repeater = Repeater(inner, 3)
    configs = [repeater.suggest(t) for t in "abcd"]
    assert [c["n"] for c in configs] == [0, 0, 0, 1]
    assert [c[TRIAL_INDEX] for c in configs] == [0, 1, 2, 0]
    configs[0]["deep"]["list"].append(1)
    assert configs[1]["deep"]["list"] == []
    repeater.on_trial_result("a", {"m": 100})
    repeater.on_trial_complete("b", {"m": 3, "t": 7})
    repeater.on_trial_complete("a", {"m": 5, "t": 8})
    assert inner.told == []
    repeater.on_trial_complete("c", {"m": float("nan"), "t": 9})
    repeater.on_trial_complete("c", {"m": 1})
    assert inner.told == [("a", {"m": 4.0, "t": 9}, False)]


def test_a_suggestion_all_of_whose_repetitions_failed_has_failed() -> None:
    inner = Counting()
    repeater = Repeater(inner, 2, set_index=False)
    assert [repeater.suggest(t) for t in "ab"] == [{"n": 0, "deep": {"list": []}}] * 2
    repeater.on_trial_complete("a", {"m": 3}, error=True)
    repeater.on_trial_complete("b", None)
    assert inner.told == [("a", None, True)]


def test_a_repeater_averages_every_metric_and_passes_the_end_on() -> None:
    inner = Counting(metric=["m", "n"], last=1)
    repeater = Repeater(inner, 2)
    repeater.suggest("a")
    repeater.suggest("b")
    assert repeater.suggest("c") == Searcher.FINISHED
    repeater.on_trial_complete("a", {"m": 1, "n": 10})
    repeater.on_trial_complete("b", {"m": 3, "n": 30})
    assert inner.told == [("a", {"m": 2.0, "n": 20.0}, False)]


def test_a_replayed_repeater_goes_on_within_its_group() -> None:
    inner = Counting()
    repeater = Repeater(inner, 2)
    for number, trial in enumerate("abc"):
        repeater.on_suggestion_replayed(trial, {"n": 40 + number // 2, TRIAL_INDEX: number % 2})
    assert inner.told == [("a", {"n": 40}), ("c", {"n": 41})]
    assert repeater.suggest("d") == {"n": 41, TRIAL_INDEX: 1}
    assert repeater.suggest("e")["n"] == 0


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_wrappers_check_their_arguments(number: Any) -> None:
    with pytest.raises(UsageError, match="max_concurrent"):
        ConcurrencyLimiter(Counting(), number)
    with pytest.raises(UsageError, match="repeat"):
        Repeater(Counting(), number)
    with pytest.raises(UsageError, match="takes a Searcher"):
        Repeater(number, 2)

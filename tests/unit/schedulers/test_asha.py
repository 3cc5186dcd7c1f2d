"""ASHA against Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, and by hand."""

from __future__ import annotations

import importlib
import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hpctune.errors import MetricError
from hpctune.model.decisions import Continue, Decision, Stop
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial
from hpctune.schedulers import ASHAScheduler
from hpctune.schedulers.async_hyperband import quantile, rung_levels, softmax

NAN = float("nan")


def trial(index: int) -> Trial:
    return Trial(f"t{index}", index, f"t{index}", f"t{index}", "", {}, {}, Resources(), 0.0)


def made(n: int = 10, **arguments: Any) -> ASHAScheduler:
    """A scheduler that minimizes ``loss`` and knows ``n`` trials."""
    scheduler = ASHAScheduler(**{"metric": "loss", "mode": "min", "max_t": 81, "reduction_factor": 3, **arguments})
    for index in range(n):
        scheduler.on_trial_add(trial(index))
    return scheduler


def tell(scheduler: ASHAScheduler, index: int, time: float, loss: float | None) -> Decision:
    row: dict[str, Any] = {"training_iteration": time}
    return scheduler.on_trial_result(trial(index), row if loss is None else {**row, "loss": loss})


def stopped(decision: Decision) -> bool:
    assert isinstance(decision, (Stop, Continue))
    return isinstance(decision, Stop)


# -- rungs and brackets -----------------------------------------------------------------------------------------------


def test_rungs_are_those_of_table_1() -> None:
    """Section 3.1, figure 1: r = 1, R = 9, eta = 3: rungs 1, 3, 9 in bracket 0, from 3 in bracket 1."""
    assert rung_levels(1, 9, 3) == [1, 3, 9]
    assert rung_levels(1, 81, 3) == [1, 3, 9, 27, 81]
    assert rung_levels(1, 100, 4) == [1, 4, 16, 64]
    assert rung_levels(5, 40, 2.5) == [5, 12.5, 31.25]
    assert rung_levels(1, 1000, 10) == [1, 10, 100, 1000]
    brackets = made(max_t=9, brackets=3)._brackets
    assert [[rung.level for rung in bracket.rungs] for bracket in brackets] == [[1, 3, 9], [3, 9], [9]]


def test_brackets_are_drawn_by_softmax_from_the_seed_alone() -> None:
    """Section 3.3 runs brackets side by side; the shares are Ray's: softmax of the numbers of rungs."""
    assert softmax([5, 4, 3]) == pytest.approx([0.66524, 0.24473, 0.09003], abs=1e-5)
    drawn = made(3000, brackets=3)
    counts = [sum(b is bracket for b in drawn._bracket_of.values()) for bracket in drawn._brackets]
    assert [count / 3000 for count in counts] == pytest.approx([0.665, 0.245, 0.09], abs=0.03)

    def brackets(scheduler: ASHAScheduler, order: list[int]) -> list[int]:
        for index in order:
            scheduler.on_trial_add(trial(index))
        return [scheduler._brackets.index(scheduler._bracket_of[f"t{i}"]) for i in range(50)]

    ordered = brackets(made(0, brackets=3), list(range(50)))
    assert brackets(made(0, brackets=3), list(range(50))[::-1]) == ordered
    assert brackets(made(0, brackets=3, seed=1), list(range(50))) != ordered


# -- cutoffs ----------------------------------------------------------------------------------------------------------


def test_cutoffs_by_hand() -> None:
    """Algorithm 2, get_job: the top 1/eta of a rung goes on. Between values the cutoff is interpolated."""
    assert quantile([5.0], 2 / 3) == 5.0
    assert quantile([1.0, 2.0], 2 / 3) == pytest.approx(1 + 2 / 3)
    assert quantile([1.0, 2.0, 3.0, 4.0], 2 / 3) == 3.0
    assert quantile([1.0, 2.0, 3.0, 4.0, 5.0], 0.75) == 4.0
    assert quantile([-math.inf, 0.0], 0.5) == 0.0
    assert quantile([-math.inf, -math.inf], 0.5) == -math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(1.1, 9))
def test_cutoffs_are_percentiles(values: list[float], eta: float) -> None:
    numpy = importlib.import_module("numpy")
    expected = float(numpy.percentile(values, 100 * (1 - 1 / eta)))
    assert quantile(sorted(values), 1 - 1 / eta) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_rung_by_hand() -> None:
    """The first goes on for want of others; then each is compared with those that came before it alone."""
    scheduler = made()
    assert not stopped(tell(scheduler, 0, 1, 5.0))  # nobody before it
    assert not stopped(tell(scheduler, 1, 1, 4.0))  # cutoff 5
    decision = tell(scheduler, 2, 1, 6.0)  # cutoff 4 + 1/3
    assert decision == Stop("rung 1: loss=6 is worse than the cutoff 4.333")
    assert not stopped(tell(scheduler, 3, 1, 4.2))  # of 6, 5, 4: 1/3 of the way from 5 to 4: 4.667
    assert stopped(tell(scheduler, 4, 1, 4.6))  # of 6, 5, 4.2, 4: 4.2
    assert scheduler.debug_string() == (
        "Using AsyncHyperBand: num_stopped=2\n"
        "Bracket: Iter 81.000 (0): None | Iter 27.000 (0): None | Iter 9.000 (0): None | Iter 3.000 (0): None | "
        "Iter 1.000 (5): 4.33333"
    )


def test_equal_values_go_on() -> None:
    scheduler = made()
    assert not any(stopped(tell(scheduler, index, 1, 1.0)) for index in range(10))


def test_mode_max_mirrors_mode_min() -> None:
    low, high = made(), made(mode="max")
    rng = random.Random(5)
    for _ in range(200):
        index, time, loss = rng.randrange(10), rng.randrange(1, 30), rng.random()
        assert stopped(tell(low, index, time, loss)) == stopped(tell(high, index, time, -loss))


@given(st.permutations(list(range(40))), st.sampled_from([2.0, 3.0, 4.0]))
def test_a_survivor_is_near_the_top(order: list[int], eta: float) -> None:
    """Whoever goes on has at most 1 + (n - 1) / eta better ones among the n before it."""
    scheduler = made(40, reduction_factor=eta)
    for n, value in enumerate(order):
        if not stopped(tell(scheduler, value, 1, value)):
            better = sum(earlier < value for earlier in order[:n])
            assert better <= 1 + max(n - 1, 0) / eta


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_about_one_in_eta_survives(eta: int) -> None:
    """In random order the survivors are 1/eta, and some more of the first."""
    scheduler, values = made(1000, reduction_factor=eta), list(range(1000))
    random.Random(eta).shuffle(values)
    survivors = sum(not stopped(tell(scheduler, i, 1, value)) for i, value in enumerate(values))
    assert 1 / eta - 0.05 < survivors / 1000 < 1 / eta + 0.05


# -- time -------------------------------------------------------------------------------------------------------------


def test_max_t_ends_a_trial_whatever_its_value() -> None:
    assert tell(made(), 0, 81, None) == Stop("training_iteration has reached max_t=81")
    assert not stopped(tell(made(stop_last_trials=False), 0, 81, 1.0))


def test_between_rungs_nothing_is_decided() -> None:
    scheduler = made()
    for time in (1, 3):
        tell(scheduler, 0, time, 1.0)
    assert not stopped(tell(scheduler, 1, 1, 1.0))
    assert not stopped(tell(scheduler, 1, 2, 99.0))
    assert stopped(tell(scheduler, 1, 3, 99.0))


def test_the_grace_period_is_respected() -> None:
    scheduler = made(grace_period=9)
    tell(scheduler, 0, 9, 0.0)
    assert not stopped(tell(scheduler, 1, 8, 9.0))
    assert stopped(tell(scheduler, 1, 9, 9.0))


def test_a_trial_counts_once_at_a_rung() -> None:
    """Also where it comes by again after a restart from a checkpoint."""
    scheduler = made()
    for _ in range(3):
        tell(scheduler, 0, 1, 1.0)
    assert scheduler._brackets[0].rungs[0].ranked == [-1.0]
    assert scheduler.milestone(trial(0)) == 3


def test_skipped_rungs() -> None:
    """As with Ray: first the highest that was reached, with the next results those that were left out."""
    scheduler = made()
    tell(scheduler, 0, 10, 1.0)
    reached = [[rung.level for rung in scheduler._brackets[0].rungs if rung.has("t0")]]
    tell(scheduler, 0, 11, 1.0)
    reached.append([rung.level for rung in scheduler._brackets[0].rungs if rung.has("t0")])
    assert reached == [[9], [3, 9]]
    keeps = made(stop_last_trials=False)
    for time in (10, 11):
        tell(keeps, 0, time, 1.0)
    assert [rung.level for rung in keeps._brackets[0].rungs if rung.has("t0")] == [9]


def test_milestones_are_the_rungs_and_max_t() -> None:
    scheduler, seen = made(max_t=50), []
    for time in range(1, 50):
        seen.append(scheduler.milestone(trial(0)))
        tell(scheduler, 0, time, 1.0)
    assert sorted({value for value in seen if value}) == [1, 3, 9, 27, 50]
    assert all(value is not None and value >= time for time, value in enumerate(seen, start=1))
    assert made(time_attr="epoch").milestone(trial(0)) == 1
    assert made(max_t=2, reduction_factor=3, stop_last_trials=False).milestone(trial(0)) == 1


def test_other_measures_of_time() -> None:
    scheduler = made(time_attr="info/samples")
    for index, loss in enumerate((1.0, 2.0)):
        row = {"training_iteration": 1, "info": {"samples": 3.5}, "loss": loss}
        assert stopped(scheduler.on_trial_result(trial(index), row)) == (loss == 2.0)


# -- values that are missing or no numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_the_worst(mode: str) -> None:
    scheduler = made(mode=mode)
    assert not stopped(tell(scheduler, 0, 1, 1.0))
    assert stopped(tell(scheduler, 1, 1, NAN))
    worst = math.inf if mode == "min" else -math.inf
    assert stopped(tell(scheduler, 2, 1, worst))
    assert not stopped(tell(scheduler, 3, 1, 1.0))


def test_a_result_without_the_metric_leaves_the_rung_open() -> None:
    scheduler = made()
    tell(scheduler, 0, 3, 1.0)
    tell(scheduler, 1, 1, 1.0)
    assert not stopped(tell(scheduler, 1, 3, None))
    assert stopped(tell(scheduler, 1, 4, 2.0))
    assert not stopped(scheduler.on_trial_result(trial(2), {"loss": 9.0}))
    assert not stopped(scheduler.on_trial_result(trial(2), {"loss": 9.0, "training_iteration": NAN}))


def test_what_is_never_reported_is_told() -> None:
    row = {"training_iteration": 4, "score": 1.0}
    scheduler = made()
    scheduler.on_trial_result(trial(0), row)
    with pytest.raises(MetricError, match=r"metric of AsyncHyperBandScheduler 'loss' was never reported.*score"):
        scheduler.on_trial_complete(trial(0), row)
    epochs = made(time_attr="epoch")
    epochs.on_trial_result(trial(0), {**row, "loss": 1.0})
    with pytest.raises(MetricError, match="time_attr of AsyncHyperBandScheduler 'epoch'"):
        epochs.on_trial_complete(trial(0), row)
    epochs.on_trial_complete(trial(1), {})  # it reported nothing at all
    tell(scheduler, 1, 1, 1.0)
    scheduler.on_trial_complete(trial(0), row)  # another trial has reported it


# -- replay -----------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 90), st.floats(allow_infinity=True, allow_nan=True)), max_size=80
    ),
    st.integers(1, 3),
)
def test_told_the_same_it_decides_the_same(rows: list[tuple[int, int, float]], brackets: int) -> None:
    """Also from the pickle of a fresh one, and from a used one made fresh."""
    scheduler = made(0, brackets=brackets)
    pickled = pickle.dumps(scheduler)

    def decisions(one: ASHAScheduler) -> list[object]:
        for index in range(10):
            one.on_trial_add(trial(index))
        return [(tell(one, *row), one.milestone(trial(row[0]))) for row in rows] + [one.debug_string()]

    first = decisions(scheduler)
    assert decisions(pickle.loads(pickled)) == first
    assert decisions(scheduler.fresh()) == first

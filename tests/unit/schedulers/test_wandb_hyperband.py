"""W&B's early stopping: the bands and who is stopped at them."""

from __future__ import annotations

import random

import pytest

from hpctune.errors import UsageError
from hpctune.model.decisions import Stop
from hpctune.schedulers.wandb_hyperband import WandbHyperband
from tests.support.scheduler_lab import trial


def by_the_rule(bands: list[int], eta: float, strict: bool, histories: dict[int, list[float]], index: int) -> bool:
    """Whether W&B's rule, written as in its documentation, stops a trial now; smaller is better."""
    own = histories[index]
    reached = [band for band in bands if band <= len(own)]
    if not reached:
        return False
    at_band = sorted(history[reached[-1] - 1] for history in histories.values() if len(history) >= reached[-1])
    limit = at_band[int(len(at_band) / eta)]
    return (own[reached[-1] - 1] if strict else min(own)) > limit


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("options", "bands"),
    [
        ({"min_iter": 2, "eta": 2}, [2, 4, 8, 16]),
        ({"min_iter": 1}, [1, 3, 9, 27]),
        ({"max_iter": 27, "s": 2, "strict": False}, [3, 9]),
        ({"max_iter": 10, "s": 5, "eta": 2}, [1, 2, 5]),
    ],
)
def test_the_rule(options: dict[str, float], bands: list[int], mode: str) -> None:
    scheduler = WandbHyperband(**options, metric="loss", mode=mode)  # type: ignore[arg-type]
    assert scheduler.bands[:4] == bands
    sign = 1 if mode == "min" else -1
    rng = random.Random(3)
    histories: dict[int, list[float]] = {n: [] for n in range(12)}
    over: set[int] = set()
    for _ in range(250):
        index = rng.choice([n for n in histories if n not in over] or [0])
        if index in over:
            break
        histories[index].append(round(rng.random(), 2))
        row = {"loss": sign * histories[index][-1], "training_iteration": len(histories[index])}
        decision = scheduler.on_trial_result(trial(index), row)
        known = {n: history for n, history in histories.items() if history}
        expected = by_the_rule(scheduler.bands, scheduler.eta, scheduler.strict, known, index)
        assert isinstance(decision, Stop) is expected
        if expected:
            over.add(index)
    assert over


def test_a_trial_waits_at_its_bands_and_is_judged_once_the_others_come() -> None:
    scheduler = WandbHyperband(min_iter=2, eta=2, metric="loss", mode="min")
    assert scheduler.milestone(trial(0)) == 2
    for index, loss in ((0, 1.0), (1, 2.0)):
        scheduler.on_trial_result(trial(index), {"other": 1, "training_iteration": 1})
        scheduler.on_trial_result(trial(index), {"loss": loss, "training_iteration": 2})
    assert scheduler.milestone(trial(0)) == 4
    assert not isinstance(scheduler.on_trial_result(trial(2), {"loss": 1.5, "training_iteration": 2}), Stop)
    decision = scheduler.on_trial_result(trial(1), {"loss": 0.1, "training_iteration": 3})  # at band 2 it had 2
    assert isinstance(decision, Stop)
    assert "band 2" in decision.reason
    again = scheduler.on_trial_result(trial(0), {"loss": 9.0, "training_iteration": 2})  # it begins again after a loss
    assert not isinstance(again, Stop)
    assert "num_stopped=1" in scheduler.debug_string()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Give min_iter, or max_iter and s"),
        ({"max_iter": 27}, "needs s"),
        ({"max_iter": 2, "s": 2}, "no band"),
        ({"min_iter": 0}, "min_iter must be"),
        ({"min_iter": 1, "eta": 1}, "eta must be"),
    ],
)
def test_bad_arguments(options: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        WandbHyperband(**options)  # type: ignore[arg-type]

"""ASHA with promotion against Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, and PASHA
against Bohdal et al., "PASHA: Efficient HPO and NAS with Progressive Resource Allocation", ICLR 2023; and by hand."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hpctune.errors import MetricError, UsageError
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers import ASHAPromotionScheduler, PASHAScheduler, create_scheduler
from hpctune.schedulers.pasha import overtakes_twice, same_ranking
from tests.support.scheduler_lab import World, rows, trial

LEVELS = [random.Random(index).random() for index in range(200)]


def made(n: int = 0, kind: type[ASHAPromotionScheduler] = ASHAPromotionScheduler, **arguments: Any) -> Any:
    scheduler = kind(**{"metric": "loss", "mode": "min", "max_t": 9, **arguments})
    for index in range(n):
        scheduler.on_trial_add(trial(index))
    return scheduler


def tell(scheduler: ASHAPromotionScheduler, index: int, time: float, loss: float | None) -> Decision:
    return scheduler.on_trial_result(trial(index), rows(time, loss))


def chosen(scheduler: ASHAPromotionScheduler, *paused: int, idle: bool = False) -> str | None:
    return scheduler.choose([trial(index, Phase.PAUSED) for index in paused], idle=idle)


def test_promotion_by_hand() -> None:
    """Algorithm 2, get_job, lines 12 to 17: the top |rung| / eta of a rung, those that have not been promoted yet, from
    the highest rung down; else a new configuration at the lowest (line 18)."""
    scheduler = made(9)
    assert tell(scheduler, 0, 1, 5.0) == Pause("rung 1: loss=5 is number 1 of 1")  # floor(1 / 3) = 0
    assert tell(scheduler, 1, 1, 6.0) == Pause("rung 1: loss=6 is number 2 of 2")
    assert chosen(scheduler, 0, 1) is None
    assert tell(scheduler, 2, 1, 7.0) == Pause("rung 1: loss=7 is number 3 of 3")
    assert chosen(scheduler, 0, 1, 2) == "t0"  # floor(3 / 3) = 1
    assert chosen(scheduler, 1, 2) is None  # it has been
    assert tell(scheduler, 0, 2, 9.0) == CONTINUE
    assert tell(scheduler, 3, 1, 4.0) == CONTINUE  # the best of four now: it goes on in its job
    assert isinstance(tell(scheduler, 4, 1, 4.5), Pause)  # number two of five
    assert isinstance(tell(scheduler, 5, 1, 8.0), Pause)
    assert chosen(scheduler, 1, 2, 4, 5) == "t4"  # floor(6 / 3) = 2
    for index, loss in ((0, 3.0), (3, 2.0), (4, 2.5)):
        assert isinstance(tell(scheduler, index, 3, loss), Pause)
    assert chosen(scheduler, 0, 1, 2, 3, 4, 5) == "t3"  # from rung 3 before any from rung 1
    assert tell(scheduler, 3, 9, 1.0) == Stop("training_iteration has reached max_t=9")
    scheduler.on_trial_complete(trial(3), rows(9, 1.0))
    assert chosen(scheduler, 0, 1, 2, 4, 5) is None  # what has ended is ranked still
    assert scheduler.debug_string() == (
        "Using ASHAPromotionScheduler: Iter 9: 1 (0 waiting) | Iter 3: 3 (2 waiting) | Iter 1: 6 (3 waiting)"
    )


def test_rungs_end_at_max_t() -> None:
    scheduler = made(1, max_t=50)
    seen = []
    for time in (1, 3, 9, 27):
        seen.append(scheduler.milestone(trial(0)))
        tell(scheduler, 0, time, 1.0)
    assert [*seen, scheduler.milestone(trial(0))] == [1, 3, 9, 27, 50]


def test_results_without_the_metric_and_nan() -> None:
    scheduler = made(9)
    assert tell(scheduler, 0, 1, None) == CONTINUE
    assert isinstance(tell(scheduler, 0, 2, math.nan), Pause)
    for index in (1, 2):
        tell(scheduler, index, 1, 1e9)
    assert chosen(scheduler, 0, 1, 2) == "t1"
    assert tell(scheduler, 5, 9, None) == Stop("training_iteration has reached max_t=9")
    lost = made(1, metric="lss")
    tell(lost, 0, 1, 1.0)
    with pytest.raises(MetricError, match="metric of ASHAPromotionScheduler 'lss'"):
        lost.on_trial_complete(trial(0), rows(1, 1.0))


def test_a_trial_that_left_by_itself_goes_on() -> None:
    scheduler = made(4)
    for index in range(3):
        tell(scheduler, index, 1, 1.0 * index)
    tell(scheduler, 0, 2, 1.0)
    assert chosen(scheduler, 0, 1) == "t0"
    assert chosen(scheduler, 1, 3) == "t3"  # it has never reported
    assert scheduler.choose([trial(1), trial(2, Phase.PENDING)], idle=False) == "t2"  # resumed, and its job was lost


def test_where_all_wait_and_no_trial_comes_the_best_goes_on() -> None:
    scheduler = made(2)
    tell(scheduler, 0, 1, 2.0)
    assert chosen(scheduler, 0, idle=True) is None
    tell(scheduler, 1, 1, 1.0)
    assert chosen(scheduler, 0, 1) is None
    assert chosen(scheduler, 0, 1, idle=True) == "t1"
    scheduler.on_search_exhausted()
    assert chosen(scheduler, 0, 1, idle=True) is None
    scheduler.on_trial_add(trial(2))
    tell(scheduler, 2, 1, 3.0)
    assert chosen(scheduler, 1, 2) == "t1"


# -- PASHA ------------------------------------------------------------------------------------------------------------


def ranked(*entries: tuple[str, float]) -> list[tuple[float, int, str]]:
    return [(value, 0, name) for name, value in entries]


def test_soft_ranking() -> None:
    """A ranking is stable while everybody stays within epsilon of whoever had its place before."""
    before = ranked(("a", 1.0), ("b", 1.1), ("c", 2.0))
    assert same_ranking(["a", "b", "c"], before, 0.0)
    assert not same_ranking(["b", "a", "c"], before, 0.0)
    assert same_ranking(["b", "a", "c"], before, 0.11)
    assert not same_ranking(["a", "c", "b"], before, 0.11)
    assert same_ranking([], [], 0.0)
    assert same_ranking(["b", "a"], ranked(("a", math.inf), ("b", math.inf)), 0.0)


def test_overtaking_twice_is_noise() -> None:
    """Once is learning; there and back is noise."""
    flat = dict.fromkeys(range(1, 5), 0.5)
    assert not overtakes_twice(flat, {1: 0.1, 2: 0.2, 3: 0.9, 4: 0.9})
    assert overtakes_twice(flat, {1: 0.1, 2: 0.9, 3: 0.4, 4: 0.4})
    assert not overtakes_twice(flat, {1: 0.1, 2: 0.9})
    assert not overtakes_twice(flat, {1: 0.1, 2: 0.5, 3: 0.1, 4: 0.5})
    assert not overtakes_twice(flat, {7: 0.1})


def test_the_top_rung_moves_while_rankings_change() -> None:
    """Algorithm 1: from two rungs upwards, one more each time that the two topmost disagree."""
    stable, unstable = made(6, PASHAScheduler, max_t=81), made(6, PASHAScheduler, max_t=81)
    for scheduler in (stable, unstable):
        for index in range(6):
            tell(scheduler, index, 1, 1.0 + index)
        assert chosen(scheduler, *range(6)) == "t0"
    assert isinstance(tell(stable, 0, 3, 0.5), Pause)
    assert isinstance(tell(stable, 1, 3, 0.6), Pause)
    assert stable.debug_string().endswith("the top is 3, epsilon=0")
    assert stable.milestone(trial(0)) == 9
    assert isinstance(tell(unstable, 0, 3, 0.6), Pause)
    assert isinstance(tell(unstable, 1, 3, 0.5), Pause)
    assert unstable.debug_string().endswith("the top is 9, epsilon=0")
    assert chosen(unstable, *range(6)) is None  # floor(2 / 3) = 0 at rung 3, and both of rung 1 are there
    for scheduler in (stable, unstable):
        scheduler.on_trial_add(trial(6))
        for index in (2, 6):
            tell(scheduler, index, 3, 0.9 + index)
    assert chosen(stable, *range(7)) is None  # nobody goes past the top
    assert chosen(unstable, *range(7)) == "t1"


def test_noise_is_forgiven() -> None:
    """Two that overtake one another at each step, a hair apart, do not move the top rung; two far apart do."""

    def top(gap: float) -> str:
        scheduler = made(7, PASHAScheduler, max_t=81, grace_period=3)
        for index in (6, 5, 4, 3, 2):
            tell(scheduler, index, 3, 9.0 + index)
        for time in range(1, 10):
            for index in (0, 1):
                tell(scheduler, index, time, (1.0 if time < 4 else 0.5) + gap * ((time + index) % 2))
        return str(scheduler.debug_string()).split("the top is ")[1]

    assert top(0.001) == "9, epsilon=0.001"
    scheduler = made(7, PASHAScheduler, max_t=81, grace_period=3)
    for index, start, end in ((0, 1.0, 2.0), (1, 2.0, 1.0)):
        tell(scheduler, index, 3, start)
        tell(scheduler, index, 9, end)
    assert scheduler.debug_string().endswith("the top is 27, epsilon=0")


def test_it_saves_time_where_rankings_are_stable() -> None:
    """The point of it: curves that never cross are not run to their end; those that do are run farther."""
    never = lambda index, iteration: LEVELS[index] + 1.0 / iteration  # noqa: E731
    late = lambda index, iteration: LEVELS[index] * (1 if iteration < 9 else -1) + 1.0 / iteration  # noqa: E731
    spent, best = {}, {}
    for name, kind in (("asha", ASHAPromotionScheduler), ("pasha", PASHAScheduler)):
        world = World(made(kind=kind, max_t=81), 150, 8, never).run()
        assert world.over
        spent[name], best[name] = sum(world.lengths()), max(world.trials.values(), key=lambda t: t.last_iteration)
    assert spent["pasha"] < 0.6 * spent["asha"]
    assert best["pasha"].last_iteration == 3
    crossing = World(made(kind=PASHAScheduler, max_t=81), 150, 8, late).run()
    assert max(crossing.lengths()) == 3  # 1 and 3 agree: what comes later is never seen
    early = lambda index, iteration: LEVELS[index] * (1 if iteration < 3 else -1)  # noqa: E731
    assert max(World(made(kind=PASHAScheduler, max_t=81), 150, 8, early).run().lengths()) > 3


# -- arguments and worlds ---------------------------------------------------------------------------------------------

WRONG = [
    (ASHAPromotionScheduler, {"max_t": 0}, "max_t must be a number greater than 0"),
    (ASHAPromotionScheduler, {"max_t": math.inf}, "max_t and reduction_factor must be finite"),
    (ASHAPromotionScheduler, {"grace_period": 5, "max_t": 4}, "grace_period must not be greater than max_t: 5 > 4"),
    (PASHAScheduler, {"noise_percentile": 101}, "100 - noise_percentile must be a number of at least 0, not -1"),
    (PASHAScheduler, {"noise_percentile": "x"}, "noise_percentile must be a number"),
]


@pytest.mark.parametrize(("kind", "arguments", "says"), WRONG)
def test_wrong_arguments(kind: type[ASHAPromotionScheduler], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        kind(**arguments)


@pytest.mark.parametrize(("name", "kind"), [("asha_promotion", ASHAPromotionScheduler), ("PASHA", PASHAScheduler)])
def test_by_name(name: str, kind: type[ASHAPromotionScheduler]) -> None:
    assert type(create_scheduler(name, max_t=27, metric="loss", mode="min")) is kind


chances = st.sampled_from([0.0, 0.02, 0.3])


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([ASHAPromotionScheduler, PASHAScheduler]),
    st.integers(1, 50),
    st.integers(1, 12),
    st.sampled_from([(9, 3), (16, 2), (10, 4), (1, 3)]),
    st.fixed_dictionaries({"fails": chances, "ends": chances, "preempted": chances, "alone": chances}),
    st.integers(1, 50),
    st.integers(0, 10**6),
)
def test_it_never_gets_stuck(
    kind: type[ASHAPromotionScheduler],
    trials: int,
    slots: int,
    shape: tuple[int, int],
    chance: dict[str, float],
    limit: int,
    seed: int,
) -> None:
    max_t, eta = shape
    scheduler = made(kind=kind, max_t=max_t, reduction_factor=eta)
    noise = random.Random(seed)
    world = World(
        scheduler, trials, slots, lambda i, t: LEVELS[i] + noise.gauss(0.0, 0.2), seed, limit=limit, **chance
    ).run()
    assert world.over, {t.trial_id: t.phase.value for t in world.trials.values() if not t.phase.final}
    assert len(world.trials) == trials
    assert max(world.lengths()) <= max_t
    again = pickle.loads(pickle.dumps(scheduler)).fresh()
    noise = random.Random(seed)
    repeated = World(again, trials, slots, lambda i, t: LEVELS[i] + noise.gauss(0.0, 0.2), seed, limit=limit, **chance)
    assert repeated.run().reasons == world.reasons


class Watching(World):
    """Notes which paused trials the scheduler says that it never resumes, and that it keeps its word."""

    def __init__(self, *arguments: Any, **chances: Any) -> None:
        super().__init__(*arguments, **chances)
        self.lost: dict[str, int] = {}
        self.steps = 0

    def step(self, trial: Trial) -> None:
        super().step(trial)
        self.steps += 1
        active = self.in_phase(Phase.PENDING, Phase.RUNNING, Phase.PAUSED)
        named = self.scheduler.never_resumed(active)
        assert not named or self.exhausted
        assert {self.trials[trial_id].phase for trial_id in named} <= {Phase.PAUSED}
        for trial_id in named:
            self.lost.setdefault(trial_id, self.steps)
        assert {i for i in self.lost if self.trials[i].phase in (Phase.RUNNING, Phase.PENDING)} == set()


@pytest.mark.parametrize("kind", [ASHAPromotionScheduler, PASHAScheduler])
@pytest.mark.parametrize("seed", range(15))
def test_who_is_said_to_be_never_resumed_is_not(kind: type[ASHAPromotionScheduler], seed: int) -> None:
    def loss(trial: int, iteration: int) -> float:
        return math.sin(7.0 * trial + seed) + 1.0 / iteration

    scheduler = kind(metric="loss", mode="min", max_t=27)
    world = Watching(scheduler, 40, 4, loss, seed, fails=0.02 * (seed % 3), preempted=0.02 * (seed % 2)).run()
    stranded = {trial_id for trial_id, reason in world.reasons.items() if reason == "stranded"}
    assert set(world.lost) <= stranded
    early = [trial_id for trial_id, at in world.lost.items() if at < world.steps]
    assert len(early) > len(stranded) / 2, "most are known before the end"

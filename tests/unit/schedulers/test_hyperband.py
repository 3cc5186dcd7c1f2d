"""HyperBand against Li et al., "Hyperband", JMLR 2018, by hand, and in random worlds."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hpctune.errors import MetricError, UsageError
from hpctune.model.decisions import Continue, Decision, Pause, Stop
from hpctune.model.trial import Phase
from hpctune.schedulers import HyperBandForBOHB, HyperBandScheduler, as_scheduler, create_scheduler
from hpctune.schedulers.hyperband import bracket_table
from tests.support.scheduler_lab import World, rows, trial


def made(n: int = 0, kind: type[HyperBandScheduler] = HyperBandScheduler, **arguments: Any) -> HyperBandScheduler:
    """A scheduler that minimizes ``loss`` and knows ``n`` trials; no more will come."""
    scheduler = kind(**{"metric": "loss", "mode": "min", **arguments})
    for index in range(n):
        scheduler.on_trial_add(trial(index))
    if n:
        scheduler.on_search_exhausted()
    return scheduler


def tell(scheduler: HyperBandScheduler, index: int, time: float, loss: float | None) -> Decision:
    return scheduler.on_trial_result(trial(index), rows(time, loss))


def words(scheduler: HyperBandScheduler, index: int, time: float, loss: float | None) -> tuple[str, dict[str, str]]:
    """The decision, and those on others."""
    decision = tell(scheduler, index, time, loss)
    others = {trial_id: type(other).__name__ for trial_id, other in scheduler.decisions_on_others()}
    return type(decision).__name__, others


def chosen(scheduler: HyperBandScheduler, *paused: int, idle: bool = False) -> str | None:
    return scheduler.choose([trial(index, Phase.PAUSED) for index in paused], idle=idle)


# -- brackets ---------------------------------------------------------------------------------------------------------

PAPER = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}
"""Table 1 of the paper: R = 81, eta = 3; n_i trials run to r_i."""


def test_brackets_are_those_of_table_1() -> None:
    """Algorithm 1, lines 3 and 4: the n and r with which each bracket begins. Each rung has a third of the trials of
    the one before; what is left over is rounded up here, and down in line 6."""
    table = bracket_table(81, 3)
    assert [tuple(rungs[0]) for rungs in table] == [PAPER[s][0] for s in range(5)]
    assert [[rung.level for rung in rungs] for rungs in table] == [[r for _, r in PAPER[s]] for s in range(5)]
    assert [tuple(rung) for rung in table[4]] == PAPER[4]
    assert [[rung.trials for rung in rungs] for rungs in table[:4]] == [[5], [8, 3], [15, 5, 2], [34, 12, 4, 2]]
    for s, rungs in enumerate(table):
        assert all(0 <= rung.trials - n <= 1 for rung, (n, _) in zip(rungs, PAPER[s], strict=True))


def test_brackets_of_other_sizes() -> None:
    assert [[tuple(rung) for rung in rungs] for rungs in bracket_table(16, 4)] == [
        [(3, 16)], [(6, 4), (2, 16)], [(16, 1), (4, 4), (1, 16)],
    ]  # fmt: skip
    assert [rungs[0].level for rungs in bracket_table(729, 3)] == [729, 243, 81, 27, 9, 3, 1]  # 3**-6 * 729 < 1
    assert [rungs[0].level for rungs in bracket_table(50, 3)] == [50, 16, 5, 1]  # s = 4 would begin below 1
    assert [rung.level for rung in bracket_table(100, 3)[4]] == [1, 3, 11, 33, 100]
    assert [rung.level for rung in bracket_table(20, 1.5)[7]] == [1, 1, 2, 3, 5, 8, 13, 20]
    assert bracket_table(1, 3) == [[(1, 1)]]


def test_trials_fill_the_smallest_bracket_first() -> None:
    scheduler = made(70, max_t=9)  # brackets of 3, 5 and 9: 17 in a round
    assert [(len(b.rungs), b.added) for b in scheduler._brackets[:4]] == [(1, 3), (2, 5), (3, 9), (1, 3)]
    assert sum(bracket.added for bracket in scheduler._brackets) == 70
    bohb = made(70, HyperBandForBOHB, max_t=9)
    assert [(len(b.rungs), b.added) for b in bohb._brackets[:4]] == [(3, 9), (2, 5), (1, 3), (3, 9)]


# -- halving by hand --------------------------------------------------------------------------------------------------


def one_bracket(**arguments: Any) -> HyperBandScheduler:
    """Nine trials: three go from 1 to 3, one from 3 to 9."""
    return made(9, HyperBandForBOHB, max_t=9, **arguments)


def test_a_bracket_by_hand() -> None:
    """Algorithm 1, lines 5 to 10: run all to r_i, keep the top n_i / eta."""
    scheduler = one_bracket()
    for index in range(8):
        assert words(scheduler, index, 1, 10.0 - index) == ("Pause", {})
        assert chosen(scheduler, *range(index + 1)) is None
    assert words(scheduler, 8, 1, 2.5) == ("Continue", {f"t{i}": "Stop" for i in range(6)})  # 7: 3.0, 6: 4.0
    assert chosen(scheduler, *range(6)) is None
    assert chosen(scheduler, *range(8)) == "t6"
    assert words(scheduler, 8, 2, 9.0) == ("Continue", {})
    assert words(scheduler, 8, 3, 2.0) == ("Pause", {})
    assert chosen(scheduler, 7, 8) == "t7"
    assert words(scheduler, 7, 3, 1.0) == ("Pause", {})
    assert tell(scheduler, 6, 3, 3.0) == Stop("rung 3: loss=3 is not among the best one")
    assert [trial_id for trial_id, _ in scheduler.decisions_on_others()] == ["t8"]
    assert chosen(scheduler, 7) == "t7"
    assert words(scheduler, 7, 8, 5.0) == ("Continue", {})
    assert tell(scheduler, 7, 9, 5.0) == Stop("training_iteration has reached 9, the last rung")
    assert scheduler.debug_string() == (
        "Using HyperBand: num_stopped=8 total_brackets=1\nRound #0:\n"
        "  Bracket(Max Size (n)=1, Milestone (r)=9): 0 of 9 trials left, 0 there"
    )


def test_milestones_are_the_rungs() -> None:
    scheduler = one_bracket()
    assert scheduler.milestone(trial(0)) == 1
    tell(scheduler, 0, 1, 0.0)
    assert scheduler.milestone(trial(0)) == 3
    for index in range(1, 9):
        tell(scheduler, index, 1, 1.0 * index)
    assert scheduler.milestone(trial(0)) == 3
    tell(scheduler, 0, 2, 1.0)
    assert scheduler.milestone(trial(0)) == 3
    assert made(3, max_t=9).milestone(trial(0)) == 9
    assert made(3, max_t=9, stop_last_trials=False).milestone(trial(0)) is None


def test_who_ends_early_is_waited_for_no_longer() -> None:
    """Its place stays empty: three of those that are left go on."""
    scheduler = one_bracket()
    for index in range(7):
        tell(scheduler, index, 1, 10.0 - index)
    scheduler.on_trial_error(trial(7))
    assert scheduler.decisions_on_others() == []
    scheduler.on_trial_complete(trial(8), {})
    assert [trial_id for trial_id, _ in scheduler.decisions_on_others()] == ["t0", "t1", "t2", "t3"]
    assert scheduler.decisions_on_others() == []
    assert chosen(scheduler, *range(7)) == "t4"


def test_trials_that_are_ahead_wait_at_the_next_rung_at_once() -> None:
    scheduler = one_bracket(time_attr="training_iteration")
    for index in range(8):
        tell(scheduler, index, 4, 10.0 - index)
    assert words(scheduler, 8, 1, 2.5)[0] == "Continue"
    assert chosen(scheduler, 6, 7) is None  # both are beyond 3
    assert words(scheduler, 8, 3, 2.5) == ("Continue", {"t6": "Stop", "t7": "Stop"})
    far = one_bracket()
    for index in range(8):
        assert words(far, index, 20, 10.0 - index) == ("Pause", {})
    # All are past every rung: halved three times, and the best is over as well.
    decision, others = words(far, 8, 20, 2.5)
    assert (decision, sorted(others)) == ("Stop", [f"t{i}" for i in range(8)])


def test_the_last_rung_without_stopping() -> None:
    scheduler = one_bracket(stop_last_trials=False)
    for index in range(9):
        tell(scheduler, index, 1, 1.0 * index)
    for index in range(3):
        tell(scheduler, index, 3, 1.0 * index)
    assert len(scheduler.decisions_on_others()) == 6  # and two were told themselves
    assert [words(scheduler, 0, time, 1.0) for time in (8, 9, 100)] == [("Continue", {})] * 3
    assert chosen(scheduler, 0) == "t0"
    assert scheduler.milestone(trial(0)) is None


def test_an_open_bracket_waits_for_more() -> None:
    scheduler = made(kind=HyperBandForBOHB, max_t=9)
    for index in range(4):
        scheduler.on_trial_add(trial(index))
        assert words(scheduler, index, 1, 1.0 * index) == ("Pause", {})
    assert chosen(scheduler, *range(4)) is None
    assert "4 of 4 trials left, 4 there, 5 to come" in scheduler.debug_string()
    scheduler.on_search_exhausted()
    assert [trial_id for trial_id, _ in scheduler.decisions_on_others()] == ["t3"]
    assert chosen(scheduler, *range(4)) == "t0"
    scheduler.on_trial_add(trial(4))  # the experiment goes on with more trials: they begin another bracket
    assert [bracket.added for bracket in scheduler._brackets] == [4, 1]


def test_where_all_wait_and_no_trial_comes_the_best_go_on() -> None:
    """A searcher that waits for results before it suggests more. The first result says that the bracket is closed."""
    scheduler = made(kind=HyperBandForBOHB, max_t=9)
    for index in range(4):
        scheduler.on_trial_add(trial(index))
    for index in range(3):
        tell(scheduler, index, 1, 3.0 - index)
    assert chosen(scheduler, *range(3), idle=True) is None  # trial 3 is on its way
    tell(scheduler, 3, 1, 9.0)
    assert chosen(scheduler, *range(4), idle=True) == "t2"
    assert chosen(scheduler, 0, 1, 3, idle=True) == "t1"
    assert chosen(scheduler, 0, 3, idle=True) == "t0"
    assert chosen(scheduler, 3, idle=True) is None
    assert words(scheduler, 2, 2, 1.0) == ("Continue", {"t3": "Stop"})
    assert words(scheduler, 2, 3, 1.0) == ("Pause", {})
    assert chosen(scheduler, 0) == "t0"


def test_a_trial_that_left_by_itself_goes_on() -> None:
    """It waited for an answer that came too late; or its job was lost."""
    scheduler = one_bracket()
    tell(scheduler, 0, 1, 0.0)
    assert chosen(scheduler, 0, 1) == "t1"
    for index in range(1, 9):
        tell(scheduler, index, 1, 1.0 * index)
    tell(scheduler, 0, 2, 0.0)
    assert chosen(scheduler, 0) == "t0"
    assert scheduler.choose([trial(0, Phase.PENDING)], idle=False) == "t0"


def test_a_trial_that_is_opened_again_comes_back() -> None:
    scheduler = one_bracket()
    scheduler.on_trial_error(trial(0))
    for index in range(1, 8):
        tell(scheduler, index, 1, 1.0 * index)
    assert words(scheduler, 0, 1, 0.0) == ("Pause", {})
    assert words(scheduler, 8, 1, 8.0)[1].keys() == {"t3", "t4", "t5", "t6", "t7"}


# -- values that are missing or no numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_the_worst(mode: str) -> None:
    scheduler = one_bracket(mode=mode)
    for index in range(6):
        tell(scheduler, index, 1, math.nan)
    for index in range(6, 8):
        tell(scheduler, index, 1, 1.0)
    assert words(scheduler, 8, 1, 1.0) == ("Continue", {f"t{i}": "Stop" for i in range(6)})


def test_a_result_without_the_metric_leaves_the_rung_open() -> None:
    scheduler = one_bracket()
    assert words(scheduler, 0, 1, None) == ("Continue", {})
    assert words(scheduler, 0, 2, 1.0) == ("Pause", {})
    assert scheduler.on_trial_result(trial(1), {"loss": 1.0}) == Continue()
    lost = made(3, metric="lss")
    lost.on_trial_result(trial(0), rows(1, 1.0))
    with pytest.raises(MetricError, match="metric of HyperBandScheduler 'lss'"):
        lost.on_trial_complete(trial(0), rows(1, 1.0))


WRONG = [
    ({"max_t": 0.5}, "max_t must be a number of at least 1, not 0.5"),
    ({"max_t": math.inf}, "max_t and reduction_factor must be finite"),
    ({"reduction_factor": 1}, "reduction_factor must be a number greater than 1"),
    ({"mode": "avg"}, "mode must be"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        HyperBandScheduler(**arguments)


@pytest.mark.parametrize(("name", "kind"), [("hyperband", HyperBandScheduler), ("HB_BOHB", HyperBandForBOHB)])
def test_by_name(name: str, kind: type[HyperBandScheduler]) -> None:
    scheduler = as_scheduler(create_scheduler(name, max_t=27), "loss", "min")
    assert type(scheduler) is kind
    assert (scheduler.max_t, scheduler.metric, scheduler.synchronous) == (27, "loss", True)


# -- worlds -----------------------------------------------------------------------------------------------------------


LEVELS = [random.Random(index).random() for index in range(200)]


def hyperbola(index: int, iteration: int) -> float:
    return LEVELS[index] + 1.0 / iteration


@pytest.mark.parametrize("kind", [HyperBandScheduler, HyperBandForBOHB])
@pytest.mark.parametrize("slots", [1, 7, 1000])
def test_a_whole_round(kind: type[HyperBandScheduler], slots: int) -> None:
    """143 trials: all five brackets of table 1, with as many at each rung as it says (here rounded up), however many
    run at a time."""
    world = World(made(kind=kind), 143, slots, hyperbola).run()
    assert world.over
    lengths = world.lengths()
    table = bracket_table(81, 3)
    at_least = [sum(length >= level for length in lengths) for level in (1, 3, 9, 27, 81)]
    per_level = {level: [r.trials for rungs in table for r in rungs if r.level == level] for level in (1, 3, 9, 27, 81)}
    assert at_least[4] == sum(per_level[81])  # 5 + 3 + 2 + 2 + 1
    assert sorted(set(lengths)) == [1, 3, 9, 27, 81]
    assert sum(length == 1 for length in lengths) == 81 - 27
    assert sum(length == 27 for length in lengths) == (3 - 1) + (4 - 2) + (5 - 2) + (8 - 3)
    assert at_least[0] == 143


def test_the_best_of_a_bracket_wins() -> None:
    world = World(made(kind=HyperBandForBOHB), 81, 10, hyperbola).run()
    best = min(range(81), key=lambda index: hyperbola(index, 81))
    assert world.trials[f"t{best}"].last_iteration == 81
    assert sum(world.lengths()) == 54 + 18 * 3 + 6 * 9 + 2 * 27 + 81
    assert world.pauses <= 81 + 27 + 9 + 3


chances = st.sampled_from([0.0, 0.02, 0.3])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([HyperBandScheduler, HyperBandForBOHB]),
    st.integers(1, 60),
    st.integers(1, 12),
    st.sampled_from([(9, 3), (16, 2), (10, 4), (1, 3), (20, 1.5), (7.5, 2)]),
    st.fixed_dictionaries({"fails": chances, "ends": chances, "preempted": chances, "alone": chances}),
    st.integers(1, 60),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_it_never_gets_stuck(
    kind: type[HyperBandScheduler],
    trials: int,
    slots: int,
    shape: tuple[float, float],
    chance: dict[str, float],
    limit: int,
    seed: int,
    nan: bool,
) -> None:
    """Whatever fails, ends or is lost, in any order, with any number of places, and with a searcher that waits."""
    max_t, eta = shape
    scheduler = made(kind=kind, max_t=max_t, reduction_factor=eta)
    loss = (lambda index, iteration: math.nan) if nan else hyperbola
    world = World(scheduler, trials, slots, loss, seed, limit=limit, **chance).run()
    assert world.over, {t.trial_id: t.phase.value for t in world.trials.values() if not t.phase.final}
    assert len(world.trials) == trials
    assert "stranded" not in world.reasons.values()
    assert max(world.lengths()) <= math.ceil(max_t)
    for bracket in scheduler._brackets:
        assert bracket.added <= bracket.rungs[0].trials
        assert not bracket.members


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 10**6), st.integers(1, 40))
def test_told_the_same_it_decides_the_same(trials: int, slots: int, seed: int, limit: int) -> None:
    """Also from the pickle of a fresh one, and from a used one made fresh."""
    first = made(max_t=9)
    pickled = pickle.dumps(first)
    runs = []
    for scheduler in (first, pickle.loads(pickled), first.fresh()):
        world = World(scheduler, trials, slots, hyperbola, seed, limit=limit, fails=0.05).run()
        runs.append((world.lengths(), world.reasons, world.scheduler.debug_string()))  # type: ignore[attr-defined]
    assert runs[0] == runs[1] == runs[2]


def test_pauses_say_how_many_are_there() -> None:
    scheduler = one_bracket()
    assert tell(scheduler, 0, 1, 1.0) == Pause("rung 1: 1 of 9 trials are there")
